"""How many there are of everything, told without counting rows of what can be many."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Table, func, select

from tunesmith.domain import JobState, TrialState
from tunesmith.domain.notification import NotificationState
from tunesmith.store.queries import Queries, ours
from tunesmith.store.rows import COUNTERS
from tunesmith.store.tables import experiments, jobs, notifications

SUMS = select(*(func.sum(experiments.c[column]) for column in COUNTERS.values())).where(ours(experiments))


class TotalQueries(Queries):
    """Queries on what the transaction sees: a workspace, or the whole platform."""

    def trial_totals(self) -> dict[TrialState, int]:
        """State -> trials of all experiments."""
        row = self.connection.execute(SUMS, self.scope).one()
        return {state: int(count or 0) for state, count in zip(COUNTERS, row, strict=True)}

    def job_totals(self, states: Collection[JobState]) -> dict[JobState, int]:
        """State -> jobs in it, for states that few jobs are in at a time."""
        return {state: self._standing(jobs, state) for state in states}

    def notification_totals(self, states: Collection[NotificationState]) -> dict[NotificationState, int]:
        """State -> notifications in it."""
        return {state: self._standing(notifications, state) for state in states}

    def _standing(self, table: Table, state: JobState | NotificationState) -> int:
        query = select(func.count()).select_from(table).where(table.c.state == state.value, ours(table))
        return int(self.connection.scalar(query, self.scope) or 0)
