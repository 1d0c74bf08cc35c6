"""Training jobs: a program on a schedule, with retries; each firing is a job of its experiment."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import Field

from tunesmith.domain.backoff import MAX_BACKOFF_S
from tunesmith.domain.job import JobState, Priority
from tunesmith.domain.notification import Rule
from tunesmith.domain.search import Search
from tunesmith.domain.value import Time, Value


class TrainingStatus(StrEnum):
    """Where a training job stands: its latest firing, in the words of its surface."""

    #: waiting for its first firing, for its turn, or for what it depends on
    PENDING = "pending"
    #: a runner holds it
    RUNNING = "running"
    #: held back by a person
    PAUSED = "paused"
    #: failed, and waiting for its next attempt
    RETRYING = "retrying"
    #: its latest firing ended well
    COMPLETED = "completed"
    #: its latest firing ended badly
    FAILED = "failed"
    #: its latest firing was stopped by a person
    CANCELLED = "cancelled"


TRAINING_WORDS: Mapping[JobState, TrainingStatus] = {
    JobState.CREATED: TrainingStatus.PENDING,
    JobState.QUEUED: TrainingStatus.PENDING,
    JobState.RUNNING: TrainingStatus.RUNNING,
    JobState.PAUSED: TrainingStatus.PAUSED,
    JobState.RETRY_WAIT: TrainingStatus.RETRYING,
    JobState.SUCCEEDED: TrainingStatus.COMPLETED,
    JobState.FAILED: TrainingStatus.FAILED,
    JobState.CANCELLED: TrainingStatus.CANCELLED,
}
"""The state of a job in the words of this surface."""


class TrainingPlan(Value):
    """When a training job fires, and what becomes of a firing that fails. What it runs is its experiment's business."""

    schedule: str | None = None
    """Cron expression or macro; None: once, at once, or when the jobs that it depends on have completed."""
    timezone: str = "UTC"
    """IANA name of the zone that the schedule is meant in."""
    max_retries: int = Field(default=3, ge=0, le=10)
    """Further attempts after a failed one."""
    retry_backoff_s: float = Field(default=60, ge=0, le=MAX_BACKOFF_S)
    """Seconds before the first retry; twice as many before each further one, an hour at most."""
    catch_up: Literal["skip", "once", "all"] = "once"
    """What becomes of firings that were missed while the service was down."""
    overlap: Literal["skip", "queue"] = "skip"
    """What becomes of a firing while the one before it has not ended."""
    priority: int = int(Priority.NORMAL)
    """Higher goes first."""
    notify: tuple[Rule, ...] = Field(default=(), max_length=20)
    """Who is told of which changes of its status."""
    search: Search | None = None
    """How a scheduled search chooses its points; None: there is one point."""
    total: int | None = None
    """Trials of a scheduled search, when known."""


class TrainingJob(Value):
    """A training job as it is kept."""

    id: str
    """`train-` and 8 hexadecimal digits."""
    workspace_id: str
    """The workspace it belongs to."""
    name: str
    """Unique in its workspace."""
    experiment_id: int
    """What it runs: one point, or a search."""
    plan: TrainingPlan
    """When, and how often."""
    status: TrainingStatus
    """Where its latest firing stands."""
    latest_run: int = 0
    """The number of its latest firing that was queued; 0 before the first one."""
    retry_count: int = 0
    """How often that one was begun anew."""
    started_at: Time | None = None
    """When that one began."""
    completed_at: Time | None = None
    """When that one ended."""
    error_message: str | None = None
    """Why its last attempt failed."""
    message: str | None = None
    """What it waits for, or what became of its last firing, in a sentence."""
    paused: bool = False
    """Whether its schedule is held back."""
    next_run_at: Time | None = None
    """When it fires next."""
    fired_at: Time | None = None
    """When it fired last."""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When a person or its latest firing changed it last."""

    @property
    def shown(self) -> TrainingStatus:
        """Where it stands, as people see it."""
        return shown_status(self.status, self.paused)


def shown_status(status: TrainingStatus, paused: bool) -> TrainingStatus:
    """Held back by a person it is paused, whatever came of its latest firing, unless that one still runs."""
    return TrainingStatus.PAUSED if paused and status is not TrainingStatus.RUNNING else status
