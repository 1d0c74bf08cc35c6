"""Leases of the trials that an Optuna server handed out: who evaluates them, until when, and what became of the rest.

They have no `lease_token`, which Optuna's protocol could not carry: their `worker` begins with REMOTE instead.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import select, update

from tunesmith.domain import Trial, TrialState, utcnow
from tunesmith.store.asking import AskQueries
from tunesmith.store.queries import chunks
from tunesmith.store.rows import TRIAL_COLUMNS, trial_of
from tunesmith.store.study_trials import REMOTE
from tunesmith.store.tables import trials

REMOTELY_HELD = (
    (trials.c.state == TrialState.RUNNING.value) & trials.c.lease_token.is_(None) & trials.c.worker.startswith(REMOTE)
)
HANDED_BACK = (
    (trials.c.state == TrialState.WAITING.value)
    & trials.c.job_id.is_(None)
    & trials.c.lease_token.is_(None)
    & (trials.c.attempt > 1)
)


class StudyLeaseQueries(AskQueries):
    """Queries on the leases of trials by their row's id, as Optuna's protocol names them."""

    def begin_leases(self, lease_s: float) -> None:
        """Give those a lease that have none yet, for their server ended right after it handed them out."""
        query = update(trials).where(REMOTELY_HELD, trials.c.lease_expires_at.is_(None))
        self.connection.execute(query.values(lease_expires_at=utcnow() + timedelta(seconds=lease_s)))

    def prolong_remotely(self, worker: str, ids: Collection[int], lease_s: float) -> set[int]:
        """Let the leases of a worker begin anew; which of the trials it holds still."""
        held: set[int] = set()
        for part in chunks(sorted(ids)):
            query = (
                update(trials)
                .where(trials.c.id.in_(part), REMOTELY_HELD, trials.c.worker == worker)
                .values(lease_expires_at=utcnow() + timedelta(seconds=lease_s))
                .returning(trials.c.id)
            )
            held |= set(self.connection.scalars(query))
        return held

    def remotely_held(self) -> list[tuple[int, str, int]]:
        """Id, worker and attempt of every trial that an Optuna server handed out and that is not finished."""
        query = select(trials.c.id, trials.c.worker, trials.c.attempt)
        return [(id_, worker, attempt) for id_, worker, attempt in self.connection.execute(query.where(REMOTELY_HELD))]

    def handed_back(self) -> set[int]:
        """The ids of the trials that wait for another worker, since the one before went silent."""
        return set(self.connection.scalars(select(trials.c.id).where(HANDED_BACK)))

    def expired_remotely(self) -> dict[int, Trial]:
        """Id -> trial, of those whose worker was not heard of until the lease ended."""
        query = select(trials.c.id, *TRIAL_COLUMNS).where(trials.c.lease_expires_at < utcnow(), REMOTELY_HELD)
        return {row[0]: trial_of(row[1:]) for row in self.connection.execute(query)}
