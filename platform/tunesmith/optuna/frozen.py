"""Rows of trials as Optuna's frozen trials, with real choices; what is equal in many trials is one object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, json_to_distribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tunesmith.domain import Experiment, TrialState
from tunesmith.optuna.distributions import covering

OURS = "tunesmith:"
"""What the names of our own system attributes begin with; Optuna does not see them."""
DISTRIBUTIONS = OURS + "distributions"
"""System attribute: parameter -> its distribution as Optuna's JSON."""
CHOICES = OURS + "choices"
"""System attribute: parameter -> its choices, where the distribution there is over their indices."""
INTERNAL = OURS + "internal"
"""System attribute: parameter -> Optuna's internal value, where the real one is no JSON scalar."""
CONSTRAINT = "constraints:"
"""What the names of the system attributes begin with that Optuna reads as constraints."""

STATES = {
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
OPTUNA_STATES: Mapping[str, OptunaState] = {ours.value: theirs for ours, theirs in STATES.items()}
OUR_STATES = {theirs: ours for ours, theirs in STATES.items()}

Distributions = dict[str, BaseDistribution]
Curves = Mapping[int, dict[int, float]]
"""Trial number -> step -> intermediate value of the first objective."""


class Row(NamedTuple):
    """The columns of a trial that Optuna knows, in the order in which `reading` asks for them."""

    id: int
    number: int
    state: str
    params: dict[str, Any]
    values: list[float | str] | None
    metrics: Mapping[str, float] | None
    """Read only where the experiment has constraints."""
    user_attrs: str | None
    """As JSON text, for many trials have the same."""
    system_attrs: str | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What a trial's system attributes say."""

    distributions: Distributions
    internal: Mapping[str, float]
    visible: Mapping[str, Any]
    """Those that are Optuna's own."""


NOTHING = Noted({}, {}, {})


class Freezer:
    """Makes frozen trials of an experiment's rows. They share distributions, so nobody may change those."""

    def __init__(self, experiment: Experiment) -> None:
        self._constraints = experiment.spec.constraints
        self._space = {parameter.name: parameter for parameter in experiment.spec.space}
        self._texts: dict[str, Noted] = {}
        self._noted: dict[tuple[Any, ...], Distributions] = {}
        self._declared: Distributions = {}
        self._shared: dict[tuple[str, ...], Distributions] = {}

    def freeze(self, rows: Sequence[Row], curves: Curves) -> list[FrozenTrial]:
        """The trials, in the order of the rows.

        A parameter without a distribution of its own has the space's, widened to the values that it has here: those
        of older trials may lie outside of a space that was narrowed since.
        """
        noted = [NOTHING if row.system_attrs is None else self._read(row.system_attrs) for row in rows]
        self._declare(zip(rows, noted, strict=True))
        return [self._frozen(row, there, curves) for row, there in zip(rows, noted, strict=True)]

    def _frozen(self, row: Row, noted: Noted, curves: Curves) -> FrozenTrial:
        state = OPTUNA_STATES[row.state]
        distributions = self._distributions(row.params, noted)
        for name, value in noted.internal.items():
            row.params[name] = distributions[name].to_external_repr(value)
        failed = state is OptunaState.FAIL or row.values is None
        started, ended = local(row.started_at), local(row.ended_at)
        attrs = dict(noted.visible)
        if self._constraints and state.is_finished():
            attrs |= self._violations(state, row.metrics or {})
        return FrozenTrial(
            number=row.number,
            state=state,
            value=None,
            values=None if failed else [float(value) for value in row.values or ()],
            # A trial that failed before it began has a beginning for Optuna nonetheless.
            datetime_start=started or (ended if state.is_finished() else None),
            datetime_complete=(ended or started) if state.is_finished() else None,
            params=row.params,
            distributions=distributions,
            user_attrs={} if row.user_attrs is None else json.loads(row.user_attrs),
            system_attrs=attrs,
            intermediate_values=curves.get(row.number) or {},
            trial_id=row.id,
        )

    def _read(self, text: str) -> Noted:
        if text in self._texts:
            return self._texts[text]
        attrs: dict[str, Any] = json.loads(text)
        noted = Noted(
            self._parsed(attrs.get(DISTRIBUTIONS, {}), attrs.get(CHOICES, {})),
            attrs.get(INTERNAL, {}),
            {name: value for name, value in attrs.items() if not name.startswith(OURS)},
        )
        if not noted.visible:  # else every trial may have a text of its own, and all would be kept
            self._texts[text] = noted
        return noted

    def _parsed(self, texts: Mapping[str, str], choices: Mapping[str, Any]) -> Distributions:
        key = (*texts.items(), json.dumps(choices) if choices else "")
        if key not in self._noted:
            self._noted[key] = {
                name: CategoricalDistribution(choices[name]) if name in choices else json_to_distribution(text)
                for name, text in texts.items()
            }
        return self._noted[key]

    def _declare(self, rows: Iterable[tuple[Row, Noted]]) -> None:
        values: dict[str, list[Any]] = {}
        for row, noted in rows:
            if row.params.keys() != noted.distributions.keys():
                for name in row.params.keys() - noted.distributions.keys():
                    values.setdefault(name, []).append(row.params[name])
        widened = {
            name: covering(self._space.get(name), here, self._declared.get(name)) for name, here in values.items()
        }
        if any(self._declared.get(name) is not distribution for name, distribution in widened.items()):
            self._declared |= widened
            self._shared = {}

    def _distributions(self, params: Mapping[str, Any], noted: Noted) -> Distributions:
        if params.keys() == noted.distributions.keys():
            return noted.distributions
        if noted.distributions:
            known = self._declared | noted.distributions
            return {name: known[name] for name in params}
        names = tuple(params)
        if names not in self._shared:
            self._shared[names] = {name: self._declared[name] for name in names}
        return self._shared[names]

    def _violations(self, state: OptunaState, metrics: Mapping[str, float]) -> dict[str, float]:
        """As models need them: a number for every constraint of a complete trial; one nobody knows is just kept."""
        known = {
            f"{CONSTRAINT}{constraint.metric}#{index}": constraint.violation(metrics[constraint.metric])
            if constraint.metric in metrics
            else None
            for index, constraint in enumerate(self._constraints)
        }
        if state is OptunaState.COMPLETE:
            return {name: violation or 0.0 for name, violation in known.items()}
        return {name: violation for name, violation in known.items() if violation is not None}


def local(moment: datetime | None) -> datetime | None:
    """Optuna's form of a moment: local time without a zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)


def aware(moment: datetime | None) -> datetime | None:
    """Our form of it: aware, in UTC."""
    return None if moment is None else moment.astimezone(UTC)


def copied(trial: FrozenTrial) -> FrozenTrial:
    """A copy that its owner may change; only distributions, which nobody changes, are the same objects."""
    copy = object.__new__(FrozenTrial)
    vars(copy).update(vars(trial))
    vars(copy).update(
        _values=trial._values and list(trial._values),
        _params=dict(trial._params),
        _distributions=dict(trial._distributions),
        _user_attrs=_unshared(trial._user_attrs),
        _system_attrs=_unshared(trial._system_attrs),
        intermediate_values=dict(trial.intermediate_values),
    )
    return copy


def _unshared(attrs: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of what came from JSON, and so can go there."""
    copy: dict[str, Any] = json.loads(json.dumps(attrs)) if attrs else {}
    return copy
