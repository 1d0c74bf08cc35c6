"""Claim, work, apply: leases on jobs, their renewal, and what becomes of a job whose runner went silent."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, exists, func, or_, select, true, update
from sqlalchemy.sql.dml import ReturningUpdate

from tunesmith.domain import Job, JobState, backoff_s, utcnow
from tunesmith.errors import LeaseLost
from tunesmith.store.attempts import AttemptQueries
from tunesmith.store.jobs import moving
from tunesmith.store.quotas import within
from tunesmith.store.rows import JOB_COLUMNS, job_of
from tunesmith.store.tables import UTCTime, jobs, training_jobs

MAX_LOSSES = 5
"""A job fails when it took this many runners with it, one after the other, without finishing a trial."""

CLAIM_LOCK = 7_286_110_413
"""PostgreSQL: one claim at a time (`migrate` has the number before)."""


def held_back(training_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a person holds a training job back."""
    return exists().where(training_jobs.c.id == training_id, training_jobs.c.paused.is_(True))


WAITS = (jobs.c.state == JobState.RETRY_WAIT.value) & ~held_back(jobs.c.training_id)
# Built once, as they are asked all the time (see experiments.py).
NOW = bindparam("now", type_=UTCTime)
QUEUED, RUNNING = jobs.c.state == JobState.QUEUED.value, jobs.c.state == JobState.RUNNING.value
DUE = QUEUED & or_(jobs.c.available_at.is_(None), jobs.c.available_at <= NOW)
ANY_DUE = select(jobs.c.id).where(DUE | (RUNNING & (jobs.c.lease_expires_at < NOW))).limit(1)
COUNT_RUNNING = select(func.count()).where(RUNNING)
TURN = (jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id)


def claiming(among: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """The statement that claims the next jobs of those that are due and for which this holds."""
    picked = select(jobs.c.id).where(DUE, among).order_by(*TURN).limit(bindparam("count"))
    once = picked.with_for_update(skip_locked=True).cte("picked")  # so that it is looked for once
    columns = {
        "state": JobState.RUNNING.value,
        "active": 1,
        "message": None,
        "lease_owner": bindparam("owner"),
        "lease_token": bindparam("secret", type_=Text) + jobs.c.id,
        "lease_expires_at": bindparam("until", type_=UTCTime),
        "started_at": func.coalesce(jobs.c.started_at, NOW),
        "claimed_at": NOW,
        "attempt": jobs.c.attempt + 1,
    }
    return moving(jobs.c.id.in_(select(once.c.id)), columns)


CLAIM = claiming(true())
NEXT_RETRY = select(func.min(jobs.c.available_at)).where(WAITS)
OF_TOKENS = jobs.c.lease_token.in_(bindparam("tokens", expanding=True))
HELD = select(*JOB_COLUMNS).where(OF_TOKENS, RUNNING)
RENEW = update(jobs).where(OF_TOKENS, RUNNING).values(lease_expires_at=bindparam("until")).returning(*JOB_COLUMNS)
LEASED = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("id"), jobs.c.lease_token == bindparam("token"))
LEASED = LEASED.with_for_update()
GOES_ON = "its runner was lost; it goes on"
SCRIPT = "tune:"
"""What the owner of a job begins with that a script runs in its own process: no runner could take it over."""


class LeaseQueries(AttemptQueries):
    """Queries on leases."""

    def nothing_to_dispatch(self) -> bool:
        """Whether no job is queued and no lease has run out: a read, so that an idle platform never writes."""
        return self.connection.scalar(ANY_DUE, {"now": utcnow()}) is None

    def claim_jobs(self, owner: str, lease_s: float, max_running: int, limit: int | None = None) -> list[Job]:
        """Take queued jobs, highest priority first, then oldest first, until `max_running` run; at most `limit` now.

        A workspace's quota leaves its further jobs in the queue, whoever comes after them.

        A job comes back with its `lease_token`, which every later write needs.
        """
        if self.connection.dialect.name == "postgresql":  # two claimers at once would each fill all the places
            self.connection.execute(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))
        now = utcnow()
        room = max_running - (self.connection.scalar(COUNT_RUNNING) or 0)
        if room <= 0:
            return []
        values = {
            "now": now,
            "count": room if limit is None else min(limit, room),
            "owner": owner,
            "secret": f"{secrets.token_hex(16)}-",
            "until": now + timedelta(seconds=lease_s),
        }
        room_in = self.room_for_jobs()
        claim = claiming(within(room_in, DUE, TURN)) if room_in else CLAIM
        rows = self.connection.execute(claim, values).all()
        claimed = self.moved(rows, JobState.QUEUED, JobState.RUNNING)
        return sorted(claimed, key=lambda job: (-job.priority, job.queued_at, job.id))

    def wake_retries(self, limit: int = 100) -> list[Job]:
        """Queue failed jobs whose pause is over."""
        query = select(*JOB_COLUMNS).where(WAITS, jobs.c.available_at <= utcnow()).order_by(jobs.c.available_at)
        rows = self.connection.execute(query.limit(limit).with_for_update(skip_locked=True))
        return self.set_job_states(list(map(job_of, rows)), JobState.QUEUED, available_at=None)

    def next_retry(self) -> datetime | None:
        """When the next failed job is to be begun anew."""
        moment: datetime | None = self.connection.scalar(NEXT_RETRY)
        return moment

    def renew_leases(self, tokens: Collection[str], lease_s: float) -> dict[str, Job]:
        """Prolong the leases; returns token -> job for those that still hold, with what people want of them."""
        if not tokens:
            return {}
        expires = utcnow() + timedelta(seconds=lease_s)
        rows = self.connection.execute(RENEW, {"tokens": list(tokens), "until": expires})
        return {str(row.lease_token): job_of(row) for row in rows}

    def held_jobs(self, tokens: Collection[str]) -> dict[str, Job]:
        """Token -> job for the leases that still hold, with what people want of them."""
        rows = self.connection.execute(HELD, {"tokens": list(tokens)})
        return {str(row.lease_token): job_of(row) for row in rows}

    def leased_job(self, job_id: str, token: str) -> Job:
        """The job, if it is still held under the token, its row locked. Raises LeaseLost."""
        row = self.connection.execute(LEASED, {"id": job_id, "token": token}).first()
        if row is None:
            raise LeaseLost(f"The lease on {job_id} is held by another runner, or ended", job_id=job_id)
        return job_of(row)

    def reserve_job_numbers(self, job_id: str, token: str, count: int) -> int:
        """The first of `count` numbers for new trials of a job. Raises LeaseLost."""
        return self.reserve_numbers(self.leased_job(job_id, token).experiment_id, count)

    def end_lease(self, job_id: str, token: str, to: JobState, **changes: Any) -> Job:
        """Give a job back in another state: ended, paused, or queued again; or to try again when it failed.

        Raises:
            LeaseLost: it is held by another runner, or ended.
        """
        job = self.leased_job(job_id, token)
        if to is JobState.FAILED and job.max_retries is not None and job.retries < job.max_retries:
            return self._try_again(job, **changes)
        if to is JobState.QUEUED and job.max_retries is not None:  # its attempt was ended with the platform
            self.repeat_trial(job)
        return self.set_job_state(job, to, **changes)

    def end_leases(self, tokens: Collection[str], to: JobState, **changes: Any) -> list[Job]:
        """The same for many jobs that end alike, without retries; those that are not held any more are left out."""
        return self.move_jobs(OF_TOKENS, {"tokens": list(tokens)}, JobState.RUNNING, to, **changes)

    def recover_jobs(self, owner: str | None = None, everyone: bool = False) -> list[Job]:
        """Free the running jobs whose lease expired, or all of an owner that is known to be dead, or every runner's.

        A job goes back to the queue, its running trials to waiting; what a person asked of it meanwhile is done. A job
        of a script (its owner begins with SCRIPT) waits for the script, paused: no runner has its function. A job that
        took down MAX_LOSSES runners without finishing a trial fails instead of doing it for ever.
        """
        query = select(*JOB_COLUMNS, jobs.c.losses).where(jobs.c.state == JobState.RUNNING.value)
        query = query.with_for_update(skip_locked=True)
        expired = jobs.c.lease_expires_at < utcnow()
        if everyone:
            query = query.where(expired | jobs.c.lease_owner.not_like(f"{SCRIPT}%"))
        else:
            query = query.where(jobs.c.lease_owner == owner if owner is not None else expired)
        return [self._recover(job_of(row), row.losses + 1) for row in self.connection.execute(query).all()]

    def _try_again(self, job: Job, **changes: Any) -> Job:
        """Let a failed job wait for its next attempt."""
        pause = backoff_s(job.retry_backoff_s or 0.0, job.retries)
        self.repeat_trial(job)
        return self.set_job_state(
            job,
            JobState.RETRY_WAIT,
            retries=job.retries + 1,
            available_at=utcnow() + timedelta(seconds=pause),
            message=f"retry {job.retries + 1} of {job.max_retries} begins in {pause:.0f} s",
            **changes,
        )

    def _recover(self, job: Job, losses: int) -> Job:
        if job.wanted is not None:
            return self.set_job_state(job, JobState(job.wanted), losses=0)
        if (job.lease_owner or "").startswith(SCRIPT):
            message = "its script ended before it; start the script again with the same name, and it goes on"
            return self.set_job_state(job, JobState.PAUSED, message=message, losses=0)
        if job.max_retries is not None:
            return self._recover_firing(job, losses)
        if losses >= MAX_LOSSES:
            error = (
                f"The runner died {losses} times in a row while it ran this job, without one finished trial between."
            )
            return self.set_job_state(job, JobState.FAILED, error=error, losses=losses)
        return self.set_job_state(job, JobState.QUEUED, message=GOES_ON, losses=losses)

    def _recover_firing(self, job: Job, losses: int) -> Job:
        """Begin its next attempt, at once and without counting it as a retry, if not too many runners died of it."""
        error = "its runner was lost, and the command was ended with it"
        if not self.repeat_trial(job, error):
            return self.set_job_state(job, JobState.QUEUED, message=GOES_ON)  # nothing of it had begun
        if losses < MAX_LOSSES:
            return self.set_job_state(job, JobState.QUEUED, message=GOES_ON, losses=losses)
        error = f"{error}, {losses} times in a row"
        return self.set_job_state(job, JobState.FAILED, error=error, losses=0)
