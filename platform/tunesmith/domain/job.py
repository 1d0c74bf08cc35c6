"""Jobs: one request to run an experiment, and the state machine that all five surfaces share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Literal

from tunesmith.domain.search import Search
from tunesmith.domain.value import Time, Value


class JobState(StrEnum):
    """The canonical states; each surface has its own words for them."""

    #: made, not yet asked to run
    CREATED = "created"
    #: waiting for a runner
    QUEUED = "queued"
    #: held by a runner under a lease
    RUNNING = "running"
    #: held back by a person
    PAUSED = "paused"
    #: failed, and waiting for its next attempt
    RETRY_WAIT = "retry_wait"
    #: ended well
    SUCCEEDED = "succeeded"
    #: ended badly; the error says why
    FAILED = "failed"
    #: stopped by a person
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether only a retry can make it go on."""
        return self in ENDED

    @property
    def active(self) -> bool:
        """Whether it is queued or running, in the experiments surface's sense."""
        return self in ACTIVE


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
ACTIVE = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.PAUSED, JobState.RETRY_WAIT})

NOT_EVALUATED = "not evaluated: its job was "
"""How the error of a trial begins that was open, or cut off, when its job came to an end; the job's state follows."""

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.CREATED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.PAUSED, JobState.RETRY_WAIT, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.RETRY_WAIT: frozenset({JobState.QUEUED, JobState.PAUSED, JobState.CANCELLED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}
"""The state machine: state -> the states that may follow it."""


class Priority(IntEnum):
    """Who goes first; among equals, who came first."""

    LOW = 0
    NORMAL = 10
    HIGH = 20
    CRITICAL = 30


class Progress(Value):
    """How far a job is."""

    finished: int = 0
    """Trials that ended, in any way."""
    failed: int = 0
    """Of these, failed ones."""
    total: int | None = None
    """Trials to run, when known."""
    best: Mapping[str, Any] | None = None
    """The job's best trial so far: number, outcome, params."""
    cost: float | None = None
    """What its trials cost so far, where the prices of their nodes are known."""
    ran_s: float = 0.0
    """Seconds that it ran so far, pauses not counted."""
    percent: int = 0
    """How far the job's only trial is, as the tool itself tells: 0 to 100, never going back while it runs."""


class Job(Value):
    """One request to run an experiment."""

    id: str
    """Opaque, unique, never used again."""
    experiment_id: int
    """The experiment it runs."""
    run_number: int
    """1, 2, 3, ... within the experiment."""
    state: JobState
    """Where it stands."""
    wanted: Literal["cancelled", "paused"] | None = None
    """What a person asked of a running job, until its runner has done it."""
    priority: int = int(Priority.NORMAL)
    """Higher goes first."""
    search: Search
    """How it searches."""
    progress: Progress = Progress()
    """How far it is."""
    message: str | None = None
    """What it is doing or waiting for, in a sentence."""
    note: str | None = None
    """What is to be known about it for good, for instance that it runs elsewhere than asked."""
    error: str | None = None
    """Why it failed, with the stack trace or the first failed trial."""
    attempt: int = 0
    """How often a runner took it up."""
    lease_owner: str | None = None
    """The runner that holds it."""
    lease_token: str | None = None
    """Fences every write of that runner."""
    lease_expires_at: Time | None = None
    """When the lease ends unless renewed."""
    available_at: Time | None = None
    """Not to be taken up before this moment."""
    submitted_by: str | None = None
    """Who asked for it."""
    queued_at: Time
    """When it was last queued."""
    claimed_at: Time | None = None
    """When a runner last took it up."""
    started_at: Time | None = None
    """When a runner first took it up."""
    ended_at: Time | None = None
    """When it ended."""
    training_id: str | None = None
    """The training job whose firing it is."""
    scheduled_at: Time | None = None
    """The instant of that one's schedule."""
    max_retries: int | None = None
    """How often it is begun anew after it failed; None: not, its failed trials stay as they are."""
    retry_backoff_s: float | None = None
    """Seconds until its first retry; twice as many before each further one."""
    retries: int = 0
    """How often it was begun anew."""


class Event(Value):
    """One thing that happened to a job: a state change or a finished trial."""

    job_id: str
    """The job."""
    seq: int
    """1, 2, 3, ... within the job, without gaps: the id of a server-sent event."""
    kind: Literal["state", "trial", "message"]
    """What happened."""
    data: Mapping[str, Any]
    """The details."""
    at: Time
    """When."""
