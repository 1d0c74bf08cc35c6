"""What follows from the state of a training job's firing: written in the same transaction, so that it is never lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, update

from tunesmith.domain import TRAINING_WORDS, Job, JobState, utcnow
from tunesmith.domain.notification import StatusChange
from tunesmith.store.events import EventQueries
from tunesmith.store.notifications import NotificationQueries, status_change
from tunesmith.store.rows import given, new
from tunesmith.store.tables import training_jobs, trials
from tunesmith.store.tallies import TallyQueries, observed, tallied

FOLLOWED = (
    *("status", "latest_run", "retry_count", "started_at", "completed_at"),
    *("error_message", "message", "updated_at"),
)
"""What of a training job is its latest firing's."""
LATEST = select(training_jobs.c.id, training_jobs.c.latest_run, training_jobs.c.status, training_jobs.c.name).where(
    training_jobs.c.id.in_(bindparam("trainings", expanding=True))
)
FOLLOW = update(training_jobs).where(training_jobs.c.id == bindparam("training")).values(given(training_jobs, FOLLOWED))
ATTEMPT_WORDS = {
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.RETRY_WAIT: "failed",
    JobState.CANCELLED: "cancelled",
}
"""How an attempt ended, by what its job became; by anything else it was interrupted."""
ATTEMPTS = (
    select(trials.c.job_id, func.max(trials.c.attempt))
    .where(trials.c.job_id.in_(bindparam("jobs", expanding=True)))
    .group_by(trials.c.job_id)
)


class FollowingQueries(EventQueries, TallyQueries, NotificationQueries):
    """What a job's new state means for its training job."""

    def follow_jobs(self, before: Sequence[JobState], after: Sequence[Job]) -> None:
        """Let training jobs follow jobs that changed their state."""
        moved = [(old, job) for old, job in zip(before, after, strict=True) if job.training_id is not None]
        if not moved:
            return
        self._show(moved)
        # Last, for every runner writes these few rows, and holds them to the end of its transaction.
        self._count_attempts([job for old, job in moved if old is JobState.RUNNING])

    def _show(self, moved: Sequence[tuple[JobState, Job]]) -> None:
        rows = self.connection.execute(LATEST, {"trainings": [job.training_id for _old, job in moved]})
        latest = {row.id: row for row in rows}
        shown = [job for old, job in moved if _is_latest(old, job, latest[job.training_id].latest_run)]
        if not shown:
            return
        self.connection.execute(FOLLOW, [_followed(job) for job in shown])
        moved_on = [job for job in shown if TRAINING_WORDS[job.state].value != latest[job.training_id].status]
        if moved_on:
            rows = self.connection.execute(ATTEMPTS, {"jobs": [job.id for job in moved_on]})
            attempts = {row[0]: row[1] for row in rows}
            self.notify_all([_change(job, latest[job.training_id], attempts.get(job.id, 1)) for job in moved_on])

    def _count_attempts(self, ended: Sequence[Job]) -> None:
        """Attempts ended, or were interrupted."""
        more: Counter[tuple[str, str]] = Counter()
        now = utcnow()
        for job in ended:
            more.update({tallied("attempts", status=ATTEMPT_WORDS.get(job.state, "interrupted")): 1})
            if job.state is JobState.RETRY_WAIT:
                more.update({tallied("retries"): 1})
            if job.claimed_at is not None and (job.state.ended or job.state is JobState.RETRY_WAIT):
                more.update(observed("attempt_seconds", (now - job.claimed_at).total_seconds()))
        self.add_tallies(more)


def _is_latest(old: JobState, job: Job, latest_run: int) -> bool:
    """Whether the training job stands where this firing stands: it began last, and is none that waits behind it."""
    if job.state is JobState.CREATED or job.run_number < latest_run:
        return False
    return not (old is JobState.CREATED and job.state.ended and latest_run > 0)  # it never began


def _followed(job: Job) -> dict[str, Any]:
    values = (
        *(TRAINING_WORDS[job.state].value, job.run_number, job.retries, job.started_at, job.ended_at),
        *(job.error, job.message, utcnow()),
    )
    return {"training": job.training_id, **new(dict(zip(FOLLOWED, values, strict=True)))}


def _change(job: Job, training: Any, attempt: int) -> StatusChange:
    """What is told of a job's new state; the newest attempt is the next one where it waits for that."""
    return status_change(
        training.id, training.name, TRAINING_WORDS[job.state], job, attempt - (job.state is JobState.RETRY_WAIT)
    )
