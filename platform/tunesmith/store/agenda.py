"""The dispatcher's agenda: what is to be done now, in one read, so that an idle platform costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tunesmith.domain import utcnow
from tunesmith.store.asking import AskQueries
from tunesmith.store.leases import LeaseQueries
from tunesmith.store.scenarios import ScenarioQueries
from tunesmith.store.trainings import TrainingQueries


@dataclass(frozen=True)
class Agenda:
    """What is to be done."""

    expired: Sequence[int]
    """Experiments with trials whose workers went silent."""
    fires: bool
    """Whether a training job is due, or a firing or a scenario that waited can begin."""
    retries: bool
    """Whether a failed job is to be begun anew."""
    dispatches: bool
    """Whether a job is queued, or has lost its runner."""
    next_moment: datetime | None
    """When the next training job is due, or the next retry."""


class AgendaQueries(TrainingQueries, ScenarioQueries, LeaseQueries, AskQueries):
    """Queries for the dispatcher."""

    def agenda(self) -> Agenda:
        """What is to be done now."""
        now = utcnow()
        due, retry = self.next_due(), self.next_retry()
        waited = self.waiting_firings(limit=1) or self.waiting_scenarios()
        return Agenda(
            expired=self.expired_experiments(),
            fires=(due is not None and due <= now) or self.any_ready() or bool(waited),
            retries=retry is not None and retry <= now,
            dispatches=not self.nothing_to_dispatch(),
            next_moment=min(filter(None, (due, retry)), default=None),
        )
