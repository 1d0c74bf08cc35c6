"""Rows to domain values: the one conversion, and it stays in the store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, Table, bindparam

from tunesmith.domain import (
    Event,
    Experiment,
    Job,
    Measurement,
    TrainingJob,
    Trial,
    TrialState,
)
from tunesmith.store.tables import experiments, jobs, training_jobs, trials

COUNTERS = {state: f"n_{state.value}" for state in TrialState}
"""Trial state -> its counter column in `experiments`."""
MORE: dict[str, Any] = {
    column: experiments.c[column] + bindparam(f"more_{state}") for state, column in COUNTERS.items()
}
"""Values of an update that adds to the counters."""
# A list of a thousand takes half the time when rows come in the order of the fields and are validated as a whole.
JOB_FIELDS = tuple(Job.model_fields)
JOB_COLUMNS = tuple(jobs.c[name] for name in JOB_FIELDS)
TRAINING_FIELDS = tuple(TrainingJob.model_fields)
TRAINING_COLUMNS = tuple(training_jobs.c[name] for name in TRAINING_FIELDS)
TRIAL_FIELDS = tuple(Trial.model_fields)
TRIAL_COLUMNS = tuple(trials.c[name] for name in TRIAL_FIELDS)


def given(table: Table, names: Iterable[str]) -> dict[str, Any]:
    """Values of an update that is built once: column -> a parameter `new_<column>` of its type."""
    return {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in sorted(names)}


def new(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of such an update."""
    return {f"new_{name}": value for name, value in columns.items()}


def experiment_of(row: Row[Any]) -> Experiment:
    """A row of `experiments`."""
    return Experiment(
        id=row.id,
        workspace_id=row.workspace_id,
        spec=row.spec,
        name=row.name,
        tags=tuple(row.tags),
        archived=row.archived,
        created_at=row.created_at,
        counts={state: getattr(row, column) for state, column in COUNTERS.items()},
        asking=row.asking,
        user_attrs=row.user_attrs,
        system_attrs=row.system_attrs,
    )


def job_of(row: Iterable[Any]) -> Job:
    """A row that begins with JOB_COLUMNS."""
    return Job.model_validate(dict(zip(JOB_FIELDS, row, strict=False)))


def training_of(row: Iterable[Any]) -> TrainingJob:
    """A row that begins with TRAINING_COLUMNS."""
    return TrainingJob.model_validate(dict(zip(TRAINING_FIELDS, row, strict=False)))


def trial_of(row: Iterable[Any]) -> Trial:
    """A row of TRIAL_COLUMNS."""
    return Trial.model_validate(dict(zip(TRIAL_FIELDS, row, strict=True)))


def trial_row(trial: Trial, signs: tuple[float, ...]) -> dict[str, Any]:
    """The columns of a trial, `signs` being +1 (minimize) or -1 (maximize) per objective. Raises ValueError."""
    _check(trial, len(signs))
    value = trial.values[0] if trial.values and trial.state is TrialState.COMPLETE else None
    return {
        "experiment_id": trial.experiment_id,
        "number": trial.number,
        "job_id": trial.job_id,
        "run_number": trial.run_number,
        "state": trial.state.value,
        "params": dict(trial.params),
        "values": None if trial.values is None else [v if math.isfinite(v) else str(v) for v in trial.values],
        "metrics": dict(trial.metrics),
        "value": value,
        "score": value * signs[0] if value is not None and trial.feasible else None,
        "front": False,
        "violation": trial.violation,
        "error": trial.error,
        "attempt": trial.attempt,
        "worker": trial.worker,
        "log": trial.log,
        "system_attrs": trial.system_attrs,
        "user_attrs": trial.user_attrs,
        "lease_token": trial.lease_token,
        "lease_expires_at": trial.lease_expires_at,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
    }


def _check(trial: Trial, objectives: int) -> None:
    # Trials of a runner are not validated on their way, and a NaN that got in would make every list of them fail.
    numbers = [*(trial.values or ()), trial.violation or 0.0]  # studies know infinite values
    possible = math.isfinite if trial.job_id is not None else lambda number: not math.isnan(number)
    if not (all(map(possible, numbers)) and all(map(math.isfinite, trial.metrics.values()))):
        raise ValueError(f"trial {trial.number} has a number that is not finite: {numbers}, {dict(trial.metrics)}")
    if trial.values is None and trial.state is TrialState.COMPLETE:
        raise ValueError(f"trial {trial.number} is complete without values")
    if trial.values is not None and len(trial.values) != objectives:
        raise ValueError(f"trial {trial.number} has {len(trial.values)} values for {objectives} objectives")


def event_of(row: Row[Any]) -> Event:
    """A row of `events`."""
    return Event(job_id=row.job_id, seq=row.seq, kind=row.kind, data=row.data, at=row.at)


def measurement_of(row: Row[Any]) -> Measurement:
    """A row of `measurements`."""
    return Measurement.model_construct(
        experiment_id=row.experiment_id, number=row.number, metric=row.metric, step=row.step, value=row.value
    )
