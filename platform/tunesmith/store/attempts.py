"""Attempts: the trials of a job of one point, one after the other; each keeps its own row and log."""

from __future__ import annotations

from sqlalchemy import select

from tunesmith.domain import Experiment, Job, JobState, Trial, TrialState, utcnow
from tunesmith.errors import StateForbids
from tunesmith.store.experiments import ExperimentQueries
from tunesmith.store.jobs import JobQueries
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.rows import TRIAL_COLUMNS, trial_of
from tunesmith.store.tables import trials


class AttemptQueries(JobQueries, RecordingQueries, ExperimentQueries):
    """Queries on the attempts of jobs."""

    def first_attempt(self, job: Job, experiment: Experiment) -> None:
        """Add the one trial of a job of one point, waiting."""
        self._add_attempt(experiment, job, attempt=1)

    def repeat_trial(self, job: Job, error: str | None = None) -> bool:
        """Let a job that goes on evaluate anew what it failed at; whether there was anything.

        A job of one point gets another trial, the next attempt; one that is unfinished fails with `error` (without one
        it stays). A search evaluates its failed trials again.
        """
        experiment = self.experiment(job.experiment_id)
        if len(experiment.spec.space) > 0:
            return self.requeue_trials(job, {TrialState.FAILED} if error is None else {TrialState.RUNNING}) > 0
        last = self.last_attempt(job)
        if last is None or last.state is TrialState.WAITING:
            return False
        if last.state is TrialState.RUNNING and error is not None:
            self.write_trials(experiment, [last.evolve(state=TrialState.FAILED, error=error, ended_at=utcnow())])
        self._add_attempt(experiment, job, last.attempt + 1)
        return True

    def retry_firing(self, job: Job) -> Job:
        """Queue a failed or cancelled firing again, as if it had not failed before; it goes on from its checkpoint.

        Raises:
            StateForbids: it did not fail.
            JobActive: another firing is active.
        """
        job = self.lock_job(job.id)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise StateForbids(f"The job is {job.state}; only a failed one can go on", state=job.state.value)
        self.repeat_trial(job)
        return self.set_job_state(
            job, JobState.QUEUED, retries=0, error=None, ended_at=None, available_at=None, queued_at=utcnow()
        )

    def last_attempt(self, job: Job) -> Trial | None:
        """The job's newest trial."""
        query = select(*TRIAL_COLUMNS).where(trials.c.job_id == job.id).order_by(trials.c.number.desc()).limit(1)
        row = self.connection.execute(query).first()
        return None if row is None else trial_of(row)

    def _add_attempt(self, experiment: Experiment, job: Job, attempt: int) -> None:
        trial = Trial(
            experiment_id=experiment.id,
            number=self.reserve_numbers(experiment.id, 1),
            job_id=job.id,
            run_number=job.run_number,
            state=TrialState.WAITING,
            params={},
            attempt=attempt,
            created_at=utcnow(),
        )
        self.write_trials(experiment, [trial], known={})
