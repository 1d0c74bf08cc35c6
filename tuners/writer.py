"""The runner's way to SQL: results, leases and verdicts, each in one fenced transaction, patient without a database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from tuners.jobrun import JobRun, Unwritten
from tunesmith.domain import AlgorithmTool, Job, JobState, Trial
from tunesmith.errors import DatabaseUnavailable, LeaseLost
from tunesmith.store import Store, Tx

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""Seconds between two tries while the database is away."""


class Writer:
    """Writes what runs found. `healthy` is false while the database is away: nothing new is started then."""

    def __init__(self, store: Store, lease_s: float) -> None:
        self.store, self.lease_s = store, lease_s
        self.healthy = True
        self._not_before = 0.0

    def write(self, run: JobRun) -> None:
        """Write what a run found since the last time. Raises LeaseLost."""
        if not self._may_try():
            return
        unwritten = run.unwritten()
        if unwritten is None:
            return
        try:
            with self.store.write() as tx:
                _record(tx, run, unwritten)
            self._found_healthy()
        except DatabaseUnavailable as error:
            run.write_again(unwritten)
            self._found_away(error)

    def reserve(self, job: Job, count: int) -> int | None:
        """The first of `count` numbers for new trials; None while the database is away. Raises LeaseLost."""
        if not self._may_try():
            return None
        try:
            with self.store.write() as tx:
                first = tx.reserve_job_numbers(job.id, str(job.lease_token), count)
        except DatabaseUnavailable as error:
            self._found_away(error)
            return None
        return first

    def claim(self, run: JobRun, make: Callable[[], list[Trial]]) -> bool:
        """Write the trials that a run makes, in one transaction with a look at what others did, so that nobody chooses
        a point between; false while the database is away. Raises LeaseLost.
        """
        if not self._may_try():
            return False
        try:
            with self.store.write() as tx:
                tx.leased_job(run.job.id, str(run.job.lease_token))
                tx.lock_experiment(run.experiment.id)
                if run.others is not None:
                    run.learn(run.others.changed(tx))
                tx.write_trials(run.experiment, make())
        except DatabaseUnavailable as error:
            self._found_away(error)
            return False
        return True

    def look(self, run: JobRun) -> None:
        """Tell a run's search of what others did since the last look, unless the database is away."""
        if run.others is None or not self._may_try():
            return
        try:
            with run.lock, self.store.read() as tx:
                run.learn(run.others.changed(tx))
        except DatabaseUnavailable as error:
            self._found_away(error)

    def end(self, run: JobRun) -> bool:
        """Write the rest and the verdict, in one transaction; False when it has to be tried again. Raises LeaseLost."""
        return self._end(run, None, 0) is not None

    def relay(self, run: JobRun, owner: str, max_running: int) -> list[Job] | None:
        """The same, and what waited for the run's end in its session is claimed: the jobs that `owner` runs now.

        None when it has to be tried again. `max_running`: see `claim_jobs`. Raises LeaseLost.
        """
        return self._end(run, owner, max_running)

    def _end(self, run: JobRun, owner: str | None, max_running: int) -> list[Job] | None:
        if not self._may_try():
            return None
        unwritten = run.unwritten()
        state, changes = run.verdict()
        changes["progress"] = run.standing.model_dump(mode="json")
        of_plugin, claimed = isinstance(run.experiment.spec.tool, AlgorithmTool), list[Job]()
        try:
            with self.store.write() as tx:
                # The session's row before the job's, as everybody takes them.
                session = tx.session_of_run(run.job.id) if owner is not None and of_plugin else None
                if unwritten is not None:
                    _record(tx, run, unwritten)
                tx.end_lease(run.job.id, str(run.job.lease_token), state, **changes)
                if owner is not None and session is not None and (begun := tx.begin_waiting(session)):
                    claimed = tx.claim_jobs(owner, self.lease_s, max_running, limit=len(begun))
        except DatabaseUnavailable as error:
            if unwritten is not None:
                run.write_again(unwritten)
            self._found_away(error)
            return None
        return claimed

    def fail(self, job: Job, error: str) -> None:
        """Fail a job that could not even be started."""
        try:
            with self.store.write() as tx:
                tx.end_lease(job.id, str(job.lease_token), JobState.FAILED, error=error)
        except (DatabaseUnavailable, LeaseLost):
            log.exception("job %s could not be marked as failed; its lease runs out", job.id)

    def give_back(self, job: Job) -> None:
        """Queue a job again that was claimed and not begun."""
        try:
            with self.store.write() as tx:
                tx.end_lease(job.id, str(job.lease_token), JobState.QUEUED)
        except (DatabaseUnavailable, LeaseLost):
            log.exception("job %s could not be given back; its lease runs out", job.id)

    def renew(self, tokens: Sequence[str]) -> dict[str, Job] | None:
        """Prolong leases: token -> job for those that hold; None while the database is away."""
        return self._held(tokens, self.store.write, lambda tx: tx.renew_leases(tokens, self.lease_s))

    def held(self, tokens: Sequence[str]) -> dict[str, Job] | None:
        """The same without prolonging them: no other writer waits for it."""
        return self._held(tokens, self.store.read, lambda tx: tx.held_jobs(tokens))

    def _held(
        self,
        tokens: Sequence[str],
        transaction: Callable[[], AbstractContextManager[Tx]],
        look: Callable[[Tx], dict[str, Job]],
    ) -> dict[str, Job] | None:
        if not tokens or not self._may_try():
            return {} if not tokens else None
        try:
            with transaction() as tx:
                held = look(tx)
            self._found_healthy()
        except DatabaseUnavailable as error:
            self._found_away(error)
            return None
        return held

    def _may_try(self) -> bool:
        return time.monotonic() >= self._not_before

    def _found_healthy(self) -> None:
        if not self.healthy:
            log.warning("the database is back")
        self.healthy = True

    def _found_away(self, error: DatabaseUnavailable) -> None:
        if self.healthy:
            log.warning("the database is away; results are kept in memory until it is back: %s", error)
        self.healthy = False
        self._not_before = time.monotonic() + PATIENCE_S


def _record(tx: Tx, run: JobRun, unwritten: Unwritten) -> None:
    tx.record(
        run.job.id,
        str(run.job.lease_token),
        run.experiment,
        unwritten.trials,
        unwritten.measurements,
        unwritten.progress,
        unwritten.message,
    )
