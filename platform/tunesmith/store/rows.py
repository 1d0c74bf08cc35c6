"""Rows to domain values: the one conversion, and it stays in the store."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row

from tunesmith.domain import (
    Event,
    Experiment,
    ExperimentSpec,
    Job,
    JobState,
    Measurement,
    Progress,
    Pruner,
    Search,
    Trial,
    TrialState,
)
from tunesmith.store.tables import jobs, trials

COUNTERS = {state: f"n_{state.value}" for state in TrialState}
"""Trial state -> its counter column in `experiments`."""
TUPLES = ("num_configs_per_param", "enqueue")
"""Fields of a search that JSON knows as lists."""
# In the order of the fields: pairing a row with names is several times faster than asking it for each.
JOB_COLUMNS = tuple(jobs.c[name] for name in Job.model_fields)
TRIAL_COLUMNS = tuple(trials.c[name] for name in Trial.model_fields)


def experiment_of(row: Row[Any]) -> Experiment:
    """A row of `experiments`."""
    return Experiment(
        id=row.id,
        workspace_id=row.workspace_id,
        spec=ExperimentSpec.model_validate(row.spec),
        name=row.name,
        tags=tuple(row.tags),
        archived=row.archived,
        created_at=row.created_at,
        counts={state: getattr(row, column) for state, column in COUNTERS.items()},
    )


def job_of(row: Iterable[Any]) -> Job:
    """A row that begins with JOB_COLUMNS; what the database holds was validated when it came in."""
    fields = dict(zip(Job.model_fields, row, strict=False))
    fields["state"] = JobState(fields["state"])
    fields["search"] = _search_of(fields["search"])
    fields["progress"] = Progress.model_validate(fields["progress"])
    return Job.model_construct(**fields)


def _search_of(stored: dict[str, Any]) -> Search:
    # Not validated again: a list of jobs would take twice as long.
    fields = dict(stored)
    for name in TUPLES:
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    if "pruner" in fields:
        fields["pruner"] = Pruner.model_construct(**fields["pruner"])
    return Search.model_construct(**fields)


def trial_of(row: Row[Any]) -> Trial:
    """A row of TRIAL_COLUMNS; what the database holds was validated when it came in."""
    fields = dict(zip(Trial.model_fields, row, strict=True))
    fields["state"] = TrialState(fields["state"])
    if fields["values"] is not None:
        fields["values"] = tuple(fields["values"])
    return Trial.model_construct(**fields)


def trial_row(trial: Trial, signs: tuple[float, ...]) -> dict[str, Any]:
    """The columns of a trial, `signs` being +1 (minimize) or -1 (maximize) per objective. Raises ValueError."""
    _check(trial, len(signs))
    value = trial.values[0] if trial.values else None
    return {
        "experiment_id": trial.experiment_id,
        "number": trial.number,
        "job_id": trial.job_id,
        "run_number": trial.run_number,
        "state": trial.state.value,
        "params": dict(trial.params),
        "values": None if trial.values is None else list(trial.values),
        "metrics": dict(trial.metrics),
        "value": value,
        "score": value * signs[0] if value is not None and trial.feasible else None,
        "front": False,
        "violation": trial.violation,
        "error": trial.error,
        "attempt": trial.attempt,
        "worker": trial.worker,
        "log": trial.log,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
    }


def _check(trial: Trial, objectives: int) -> None:
    # Trials of a runner are not validated on their way, and a NaN that got in would make every list of them fail.
    numbers = [*(trial.values or ()), *trial.metrics.values()]
    if not all(map(math.isfinite, numbers)) or (trial.violation is not None and math.isnan(trial.violation)):
        raise ValueError(f"trial {trial.number} has a number that is not finite: {numbers}, {trial.violation}")
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
