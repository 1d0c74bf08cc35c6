"""Rows to domain values: sessions, datasets, and scenarios and model runs, which stand where their jobs stand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, Text, type_coerce

from tunesmith.domain import (
    NOT_EVALUATED,
    Dataset,
    JobState,
    KpiSpec,
    ModelRun,
    Scenario,
    Session,
    Standing,
    utcnow,
)
from tunesmith.store.tables import datasets, experiments, jobs, model_runs, scenarios, sessions, trials

SESSION_FIELDS = tuple(Session.model_fields)
SESSION_COLUMNS = tuple(sessions.c[name] for name in SESSION_FIELDS)
DATASET_FIELDS = tuple(Dataset.model_fields)
DATASET_COLUMNS = tuple(datasets.c[name] for name in DATASET_FIELDS)
STANDING_COLUMNS: tuple[ColumnElement[Any], ...] = (scenarios.c.id, scenarios.c.tag, jobs.c.state, jobs.c.progress)
OUTCOME_COLUMNS = (
    *(jobs.c.state, jobs.c.progress, jobs.c.message, jobs.c.started_at, jobs.c.claimed_at, jobs.c.ended_at),
    *(jobs.c.error.label("job_error"), trials.c.number, trials.c.error.label("trial_error")),
)
"""Of a job and its one trial."""
# As text: a session's scenarios are listed all at once, and to validate a whole spec costs more than the rest of a row.
SPEC = type_coerce(experiments.c.spec, Text).label("spec")
SCENARIO_COLUMNS = (*scenarios.c, datasets.c.key, SPEC, trials.c.metrics, *OUTCOME_COLUMNS)
KPIS = TypeAdapter(tuple[KpiSpec, ...])
RUN_COLUMNS = (*model_runs.c, *OUTCOME_COLUMNS)
CANCELLED = "it was cancelled"
"""Why a run has failed that a person stopped."""


def session_of(row: Iterable[Any]) -> Session:
    """A row of SESSION_COLUMNS."""
    return Session.model_validate(dict(zip(SESSION_FIELDS, row, strict=True)))


def dataset_of(row: Iterable[Any]) -> Dataset:
    """A row of DATASET_COLUMNS."""
    return Dataset.model_validate(dict(zip(DATASET_FIELDS, row, strict=True)))


def standing_of(row: Row[Any]) -> Standing:
    """A row of STANDING_COLUMNS."""
    state = shown_state(row.state)
    return Standing(id=row.id, tag=row.tag, state=state, progress=percent_of(state, row.progress))


def scenario_of(row: Row[Any]) -> Scenario:
    """A row of SCENARIO_COLUMNS."""
    state = shown_state(row.state)
    return Scenario(
        id=row.id,
        session_id=row.session_id,
        tag=row.tag,
        dataset_id=row.dataset_id,
        dataset_key=row.key,
        algorithm=row.algorithm,
        parameters=row.parameters,
        data_parameters=row.data_parameters,
        experiment_id=row.experiment_id,
        job_id=row.job_id,
        state=state,
        waits=row.state == JobState.CREATED.value,
        progress=percent_of(state, row.progress),
        error=error_of(state, row),
        metrics=row.metrics or {},
        kpis=() if row.spec is None else _kpis(json.dumps(json.loads(row.spec)["tool"]["kpis"])),
        trial_number=row.number,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def run_of(row: Row[Any]) -> ModelRun:
    """A row of RUN_COLUMNS."""
    state = shown_state(row.state)
    return ModelRun(
        id=row.id,
        model_id=row.model_id,
        inputs=row.inputs,
        experiment_id=row.experiment_id,
        job_id=row.job_id,
        state=state,
        progress=percent_of(state, row.progress),
        message=None if state is JobState.SUCCEEDED else error_of(state, row) or row.message,
        trial_number=row.number,
        submitted_by=row.submitted_by,
        created_at=row.created_at,
        started_at=row.started_at,
        updated_at=_moved_at(row),
    )


@lru_cache(maxsize=256)
def _kpis(text: str) -> tuple[KpiSpec, ...]:
    return KPIS.validate_json(text)


def shown_state(job_state: str | None) -> JobState:
    """The state of what stands where its job stands; a job that waits for its turn is queued, to people."""
    if job_state is None:
        return JobState.CREATED
    return JobState.QUEUED if job_state == JobState.CREATED.value else JobState(job_state)


def percent_of(state: JobState, progress: Mapping[str, Any] | None) -> int:
    """How far a job of one point is."""
    if state is JobState.SUCCEEDED:
        return 100
    return 0 if progress is None else int(progress.get("percent", 0))


def error_of(state: JobState, row: Row[Any]) -> str | None:
    """Why it failed: what the trial says, unless that only says that its job ended."""
    if state is JobState.CANCELLED:
        return CANCELLED
    if state is not JobState.FAILED:
        return None
    told: str | None = row.trial_error
    return told if told and not told.startswith(NOT_EVALUATED) else row.job_error


def _moved_at(row: Row[Any]) -> datetime:
    """When a run moved on last; while it runs that is when its progress was written, which says how long it ran."""
    moment: datetime = row.ended_at or row.claimed_at or row.created_at
    if row.ended_at is not None or row.claimed_at is None:
        return moment
    began: datetime = row.started_at
    return min(utcnow(), max(moment, began + timedelta(seconds=row.progress.get("ran_s", 0.0))))
