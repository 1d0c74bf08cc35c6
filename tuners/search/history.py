"""Finished trials in Optuna's terms, as far as they fit the space as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial

from tuners.search.translation import distribution_of, index_of, to_optuna
from tunesmith.domain import Experiment, Point, Scalar, Trial, TrialState
from tunesmith.optuna.frozen import CHOICES as CHOICES
from tunesmith.optuna.frozen import DISTRIBUTIONS as DISTRIBUTIONS

STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}

Params = dict[str, Any]
Distributions = dict[str, BaseDistribution]


def violations(experiment: Experiment, trial: Trial) -> dict[str, float]:
    """Constraint -> how far it is broken (0 or less: kept), for those whose metric the trial has."""
    return {
        f"{constraint.metric}#{index}": constraint.violation(trial.metrics[constraint.metric])
        for index, constraint in enumerate(experiment.spec.constraints)
        if constraint.metric in trial.metrics
    }


def learnable_violations(experiment: Experiment, trial: Trial) -> dict[str, float]:
    """The same for models, which need a number for every constraint: one that nobody knows counts as just kept."""
    known = violations(experiment, trial)
    if trial.state is not TrialState.COMPLETE:
        return known
    names = (f"{constraint.metric}#{index}" for index, constraint in enumerate(experiment.spec.constraints))
    return {name: known.get(name, 0.0) for name in names}


class History:
    """Turns an experiment's trials into Optuna's."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._distributions = {p.name: distribution_of(p) for p in experiment.spec.space}
        self._shared: dict[tuple[str, ...], Distributions] = {}

    def frozen(self, trial: Trial, curve: Mapping[int, float]) -> FrozenTrial | None:
        """A finished trial as Optuna's, or None when it does not fit the space any more.

        `curve`: step -> intermediate value of the first objective.
        """
        found = self.internal(trial.params, trial.system_attrs) if trial.state in STATES else None
        if found is None:
            return None
        params, distributions = found
        return optuna.trial.create_trial(
            state=STATES[trial.state],
            values=list(trial.values) if trial.state is TrialState.COMPLETE and trial.values else None,
            params=params,
            distributions=distributions,
            system_attrs=dict(trial.system_attrs or {}),
            constraints=learnable_violations(self._experiment, trial) or None,
            intermediate_values=dict(curve),
        )

    def internal(self, point: Point, attrs: Mapping[str, Any] | None) -> tuple[Params, Distributions] | None:
        """Values and distributions in Optuna's terms; None when they do not fit the space."""
        if self._experiment.spec.define_by_run:
            return asked_for(point, attrs or {})
        space = self._experiment.spec.space
        if space.problems(point):
            return None
        there = [parameter for parameter in space if parameter.name in point]
        names = tuple(parameter.name for parameter in there)
        if names not in self._shared:
            self._shared[names] = {name: self._distributions[name] for name in names}
        return {p.name: to_optuna(p, point[p.name]) for p in there}, self._shared[names]


def asked_for(point: Point, attrs: Mapping[str, Any]) -> tuple[Params, Distributions] | None:
    """The same for a trial that asked for its parameters, from what was noted then; None when nothing was."""
    noted: Mapping[str, str] = attrs.get(DISTRIBUTIONS, {})
    choices: Mapping[str, list[Scalar]] = attrs.get(CHOICES, {})
    if not point.keys() <= noted.keys():
        return None
    params = {name: index_of(choices[name], value) if name in choices else value for name, value in point.items()}
    return params, {name: json_to_distribution(noted[name]) for name in point}
