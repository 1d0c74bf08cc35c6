"""How many there are of everything, told without counting rows of what can be many."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, Connection, func, select

from tunesmith.domain import JobState, TrialState
from tunesmith.domain.notification import NotificationState
from tunesmith.store.queries import Queries
from tunesmith.store.rows import COUNTERS
from tunesmith.store.tables import experiments, jobs, notifications

SUMS = select(*(func.sum(experiments.c[column]) for column in COUNTERS.values()))


class TotalQueries(Queries):
    """Queries on the whole platform."""

    def trial_totals(self) -> dict[TrialState, int]:
        """State -> trials of all experiments."""
        row = self.connection.execute(SUMS).one()
        return {state: int(count or 0) for state, count in zip(COUNTERS, row, strict=True)}

    def job_totals(self, states: Collection[JobState]) -> dict[JobState, int]:
        """State -> jobs in it, for states that few jobs are in at a time."""
        return {state: _count(self.connection, jobs.c.state, state.value) for state in states}

    def notification_totals(self, states: Collection[NotificationState]) -> dict[NotificationState, int]:
        """State -> notifications in it."""
        return {state: _count(self.connection, notifications.c.state, state.value) for state in states}


def _count(connection: Connection, column: Column[str], value: str) -> int:
    return int(connection.scalar(select(func.count()).where(column == value)) or 0)
