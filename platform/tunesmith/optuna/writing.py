"""Optuna's trials as rows of ours."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from pydantic import ValidationError

from tunesmith.domain import (
    Experiment,
    ExperimentSpec,
    ExternalTool,
    Objective,
    Space,
    Trial,
    TrialState,
    finite_only,
)
from tunesmith.errors import BadRequest
from tunesmith.optuna.frozen import CHOICES, DISTRIBUTIONS, INTERNAL, OUR_STATES, OURS, aware
from tunesmith.store.rows import trial_row

Texts = Mapping[str, tuple[object, str]]
"""Parameter -> the distribution that a study has for it, and its JSON."""
REWRITTEN = (DISTRIBUTIONS, CHOICES, INTERNAL)
"""Our own system attributes that Optuna's writing makes anew."""


def spec_of(study_name: str, directions: Sequence[StudyDirection]) -> ExperimentSpec:
    """The experiment that a study is.

    Raises:
        BadRequest: the name is too long, or there are too many objectives.
    """
    names = ["value"] if len(directions) == 1 else [f"value_{index}" for index in range(len(directions))]
    try:
        return ExperimentSpec(
            tool_name=study_name[:200] or "study",
            tool=ExternalTool(study=study_name),
            space=Space(parameters=()),
            objectives=tuple(
                Objective(metric=name, direction="maximize" if direction is StudyDirection.MAXIMIZE else "minimize")
                for name, direction in zip(names, directions, strict=True)
            ),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"study {study_name[:50]!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


EVALUATOR: ContextVar[str | None] = ContextVar("evaluator", default=None)
"""Who evaluates the trials that are begun now, where it is not this process: a server begins them for its clients."""


WORKSPACE: ContextVar[str | None] = ContextVar("workspace", default=None)
"""The id of the workspace where studies are made and looked for by name, where a server answers somebody of that."""


def worker() -> str:
    """What a trial has as its worker that is begun now."""
    return EVALUATOR.get() or f"{socket.gethostname()}:{os.getpid()}"


def trial_of(experiment: Experiment, trial: FrozenTrial, ours: Mapping[str, Any], texts: Texts = {}) -> Trial:  # noqa: B006
    """An Optuna trial as ours, not validated; `ours`: our own system attributes, which Optuna does not know."""
    state = OUR_STATES[trial.state]
    values = None if trial.values is None or state is TrialState.FAILED else tuple(map(float, trial.values))
    metrics = _metrics(experiment, values) if state is TrialState.COMPLETE and values else {}
    params, internal = _params(trial)
    noted = {name: _text(name, trial, texts) for name in params}
    attrs = {key: value for key, value in ours.items() if key not in REWRITTEN}
    attrs |= {DISTRIBUTIONS: noted} if noted else {}
    attrs |= {INTERNAL: internal} if internal else {}
    return Trial.model_construct(
        experiment_id=experiment.id,
        number=trial.number,
        job_id=None,
        run_number=None,
        state=state,
        params=params,
        values=values,
        metrics=metrics,
        violation=_violation(experiment, trial, metrics) if state is TrialState.COMPLETE else None,
        error=trial.system_attrs.get("fail_reason") if state is TrialState.FAILED else None,
        worker=worker(),
        system_attrs={**trial.system_attrs, **attrs},
        user_attrs=trial.user_attrs,
        created_at=aware(trial.datetime_start),
        started_at=aware(trial.datetime_start),
        ended_at=aware(trial.datetime_complete),
    )


def row_of(experiment: Experiment, trial: Trial) -> dict[str, Any]:
    """The columns of a trial.

    Raises:
        ValueError: it has NaN as a value, or is complete without a value for each objective.
    """
    return trial_row(trial, tuple(objective.sign for objective in experiment.spec.objectives))


def text_of(attrs: Mapping[str, Any] | None) -> str | None:
    """Attributes as they are stored."""
    return json.dumps(attrs, separators=(",", ":")) if attrs else None


def plain(value: Any) -> Any:
    """What is read again after this was stored. Raises TypeError where it cannot be."""
    return value if value is None or type(value) in (str, int, float, bool) else json.loads(json.dumps(value))


def hidden(text: str | None) -> dict[str, Any]:
    """Our own system attributes among those of a row."""
    attrs: dict[str, Any] = {} if text is None else json.loads(text)
    return {key: value for key, value in attrs.items() if key.startswith(OURS)}


def _params(trial: FrozenTrial) -> tuple[dict[str, Any], dict[str, float]]:
    """(values that JSON can hold, internal values of those that it cannot)."""
    params, internal = dict(trial.params), {}
    for name, value in trial.params.items():
        if not (
            value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))
        ):
            params[name] = str(value)
            internal[name] = trial.distributions[name].to_internal_repr(value)
    return params, internal


def _text(name: str, trial: FrozenTrial, texts: Texts) -> str:
    distribution = trial.distributions[name]
    known = texts.get(name)
    return known[1] if known is not None and known[0] is distribution else distribution_to_json(distribution)


def _metrics(experiment: Experiment, values: tuple[float, ...]) -> dict[str, float]:
    return finite_only({o.metric: value for o, value in zip(experiment.spec.objectives, values, strict=False)})


def _violation(experiment: Experiment, trial: FrozenTrial, metrics: Mapping[str, float]) -> float | None:
    theirs = trial.constraints
    ours = [c.violation(metrics[c.metric]) for c in experiment.spec.constraints if c.metric in metrics]
    if not theirs and not experiment.spec.constraints:
        return None
    return min(sum(max(0.0, value) for value in (*theirs.values(), *ours)), sys.float_info.max)
