"""One state machine, five vocabularies: how each surface calls a job's state."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.domain import JobState

EXPERIMENT_WORDS: Mapping[JobState, str] = {
    JobState.CREATED: "created",
    JobState.QUEUED: "queued",
    JobState.RUNNING: "started",
    JobState.PAUSED: "paused",
    JobState.RETRY_WAIT: "started",
    JobState.SUCCEEDED: "finished",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "stopped",
}
