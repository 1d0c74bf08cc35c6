"""Runs of models: made, read with where their jobs stand, and listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import JsonValue
from sqlalchemy import Text, cast, insert, select

from tunesmith.domain import JobState, ModelRun, Page, RunFilter, utcnow
from tunesmith.errors import RunNotFound
from tunesmith.store.queries import Queries, newest_first, ours, page_of
from tunesmith.store.session_rows import RUN_COLUMNS, run_of
from tunesmith.store.tables import jobs, model_runs, trials

WHOLE = (
    select(*RUN_COLUMNS)
    .join_from(model_runs, jobs, jobs.c.id == model_runs.c.job_id)
    .outerjoin(trials, trials.c.job_id == model_runs.c.job_id)
    .where(ours(model_runs))
)

EVERYTHING = RunFilter()


class ModelRunQueries(Queries):
    """Queries on runs of models."""

    def create_run(
        self,
        run_id: str,
        workspace_id: str,
        model_id: str,
        inputs: Mapping[str, JsonValue],
        experiment_id: int,
        job_id: str,
        submitted_by: str | None = None,
    ) -> ModelRun:
        """Note that a job is the run of a model."""
        row = {
            "id": run_id,
            "workspace_id": workspace_id,
            "model_id": model_id,
            "inputs": dict(inputs),
            "experiment_id": experiment_id,
            "job_id": job_id,
            "submitted_by": submitted_by,
            "created_at": utcnow(),
        }
        self.connection.execute(insert(model_runs), row)
        return self.run(run_id)

    def run(self, run_id: str) -> ModelRun:
        """Read one. Raises RunNotFound."""
        row = self.connection.execute(WHOLE.where(model_runs.c.id == run_id), self.scope).first()
        if row is None:
            raise no_run(run_id)
        return run_of(row)

    def runs(
        self,
        model_id: str | None = None,
        states: Collection[JobState] | None = None,
        submitted_by: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        seen: RunFilter = EVERYTHING,
    ) -> Page[ModelRun]:
        """A page of runs that are seen, newest first: of a model, with jobs in these states, of somebody.

        Raises InvalidCursor.
        """
        query = newest_first(WHOLE, model_runs.c.created_at, model_runs.c.id, cursor, limit)
        if model_id is not None:
            query = query.where(model_runs.c.model_id == model_id)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if submitted_by is not None:
            query = query.where(model_runs.c.submitted_by == submitted_by)
        if seen.closed:
            query = query.where(model_runs.c.model_id.not_in(seen.closed))
        for name, values in seen.attributes.items():
            query = query.where(cast(model_runs.c.inputs[name].as_string(), Text).in_(values))
        found = [run_of(row) for row in self.connection.execute(query, self.scope)]
        return page_of(found, limit, lambda run: (run.created_at, run.id))


def no_run(run_id: str) -> RunNotFound:
    """The refusal of an id that no run has, or none that is seen."""
    return RunNotFound(f"No run has the id {run_id!r}", run_id=run_id)
