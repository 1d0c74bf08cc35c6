"""Removing experiments that belong to something else, with their jobs, trials and events; their files are left over."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select, update

from tunesmith.domain import Job, JobState
from tunesmith.errors import StateForbids
from tunesmith.storage import experiment_key
from tunesmith.store.jobs import JobQueries
from tunesmith.store.leftovers import LeftoverQueries
from tunesmith.store.queries import chunks
from tunesmith.store.rows import JOB_COLUMNS, job_of
from tunesmith.store.tables import events, experiments, jobs, measurements, trials

WAITING = (JobState.CREATED, JobState.QUEUED, JobState.PAUSED)
HELD = (JobState.RUNNING, JobState.RETRY_WAIT)


class RemovalQueries(JobQueries, LeftoverQueries):
    """Queries that remove experiments."""

    def hold_idle(self, experiment_ids: Sequence[int], message: str) -> None:
        """Hold the jobs of experiments that have not ended, so that none begins to run.

        Raises:
            StateForbids: one of them runs; `message` says what is to be done.
        """
        for part in chunks(sorted(experiment_ids)):
            found = self._open_jobs(part, (*WAITING, *HELD))
            if any(job.state in HELD for job in found):
                raise StateForbids(message, state=JobState.RUNNING.value)

    def retire(self, experiment_ids: Sequence[int]) -> None:
        """Let experiments take no new jobs, as what they need is gone; their waiting jobs are cancelled."""
        for part in chunks(sorted(experiment_ids)):
            self.set_job_states(self._open_jobs(part, WAITING), JobState.CANCELLED)
            self.connection.execute(update(experiments).where(experiments.c.id.in_(part)).values(archived=True))

    def remove_experiments(self, experiment_ids: Collection[int]) -> None:
        """Remove experiments, none of which runs, with all that is theirs."""
        for part in chunks(sorted(experiment_ids)):
            mine = select(jobs.c.id).where(jobs.c.experiment_id.in_(part))
            for query in (
                delete(events).where(events.c.job_id.in_(mine)),
                delete(measurements).where(measurements.c.experiment_id.in_(part)),
                delete(trials).where(trials.c.experiment_id.in_(part)),
                delete(jobs).where(jobs.c.experiment_id.in_(part)),
                delete(experiments).where(experiments.c.id.in_(part)),
            ):
                self.connection.execute(query)
        self.leave([experiment_key(experiment_id) for experiment_id in experiment_ids])

    def _open_jobs(self, experiment_ids: Sequence[int], states: Sequence[JobState]) -> list[Job]:
        here = (jobs.c.experiment_id.in_(experiment_ids), jobs.c.state.in_([state.value for state in states]))
        query = select(*JOB_COLUMNS).where(*here).order_by(jobs.c.id).with_for_update()
        return list(map(job_of, self.connection.execute(query)))
