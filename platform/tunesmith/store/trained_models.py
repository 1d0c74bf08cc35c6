"""Trained models: made, read with where their trainings stand, listed, deleted."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import JsonValue
from sqlalchemy import and_, delete, func, insert, select

from tunesmith.domain import JobState, Page, TrainedModel, TrialState, utcnow
from tunesmith.errors import ModelNotFound
from tunesmith.store.queries import newest_first, ours, page_of
from tunesmith.store.removals import RemovalQueries
from tunesmith.store.session_rows import OUTCOME_COLUMNS, error_of, percent_of, shown_state
from tunesmith.store.tables import jobs, trained_models, trials

# Of a search the best trial so far; else the only one, or the last attempt at it.
OWN = trials.c.experiment_id == trained_models.c.experiment_id
BEST = (
    select(trials.c.number).where(OWN, trials.c.score.is_not(None)).order_by(trials.c.score, trials.c.number).limit(1)
)
LAST = select(func.max(trials.c.number)).where(OWN, trained_models.c.searched.is_(False))
NUMBER = func.coalesce(
    BEST.correlate(trained_models).scalar_subquery(), LAST.correlate(trained_models).scalar_subquery()
)
WHOLE = (
    select(*trained_models.c, *OUTCOME_COLUMNS, trials.c.state.label("trial_state"), trials.c.metrics, trials.c.params)
    .join_from(trained_models, jobs, jobs.c.id == trained_models.c.job_id)
    .outerjoin(trials, and_(OWN, trials.c.number == NUMBER))
    .where(ours(trained_models))
)


class TrainedModelQueries(RemovalQueries):
    """Queries on trained models."""

    def create_trained_model(
        self,
        model_id: str,
        workspace_id: str,
        template: str,
        config: Mapping[str, JsonValue],
        searched: bool,
        experiment_id: int,
        job_id: str,
        submitted_by: str | None = None,
    ) -> TrainedModel:
        """Note that a job trains a model."""
        row = {
            "id": model_id,
            "workspace_id": workspace_id,
            "template": template,
            "config": dict(config),
            "searched": searched,
            "experiment_id": experiment_id,
            "job_id": job_id,
            "submitted_by": submitted_by,
            "created_at": utcnow(),
        }
        self.connection.execute(insert(trained_models), row)
        return self.trained_model(model_id)

    def trained_model(self, id: str) -> TrainedModel:  # noqa: A002  # what it is called everywhere
        """Read one by its id, or by that of its job. Raises ModelNotFound."""
        mine = trained_models.c.id == id if _is_uuid(id) else trained_models.c.job_id == id
        row = self.connection.execute(WHOLE.where(mine), self.scope).first()
        if row is None:
            raise ModelNotFound(f"No model or training has the id {id!r}", id=id)
        return trained_model_of(row)

    def trained_models(
        self,
        states: Collection[JobState] | None = None,
        template: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[TrainedModel]:
        """A page, newest first: with trainings in these states, of a template. Raises InvalidCursor."""
        query = newest_first(WHOLE, trained_models.c.created_at, trained_models.c.id, cursor, limit)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if template is not None:
            query = query.where(trained_models.c.template == template)
        found = [trained_model_of(row) for row in self.connection.execute(query, self.scope)]
        return page_of(found, limit, lambda model: (model.created_at, model.id))

    def delete_trained_model(self, model: TrainedModel) -> None:
        """Delete one with its training; their files are left over. Raises StateForbids: it is being trained."""
        self.hold_idle([model.experiment_id], "The model is being trained; stop that before you delete it")
        self.connection.execute(delete(trained_models).where(trained_models.c.id == model.id))
        self.remove_experiments([model.experiment_id])


def trained_model_of(row: Any) -> TrainedModel:
    """A row of WHOLE."""
    state, progress = shown_state(row.state), row.progress
    finished, total = int(progress.get("finished") or 0), progress.get("total") or 0
    trained = row.trial_state == TrialState.COMPLETE.value
    share = round(100 * finished / total) if total else 0
    return TrainedModel(
        id=row.id,
        template=row.template,
        config=row.config,
        searched=row.searched,
        experiment_id=row.experiment_id,
        job_id=row.job_id,
        state=state,
        progress=min(100, share) if row.searched and state is not JobState.SUCCEEDED else percent_of(state, progress),
        message=None if state.ended else row.message,
        error=error_of(state, row),
        trial_number=row.number,
        trained=trained,
        metrics=(row.metrics or {}) if trained else {},
        params=(row.params or {}) if trained else {},
        finished=finished,
        failed=int(progress.get("failed") or 0),
        submitted_by=row.submitted_by,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
