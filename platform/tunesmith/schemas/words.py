"""One state machine, five vocabularies: how each surface calls a job's state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunesmith.domain import JobState
from tunesmith.errors import StateForbids

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
SCENARIO_WORDS: Mapping[JobState, str] = {
    JobState.CREATED: "created",
    JobState.QUEUED: "queued",
    JobState.RUNNING: "processing",
    JobState.PAUSED: "queued",
    JobState.RETRY_WAIT: "processing",
    JobState.SUCCEEDED: "complete",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
}
RUN_WORDS: Mapping[JobState, str] = {
    JobState.CREATED: "queued",
    JobState.QUEUED: "queued",
    JobState.RUNNING: "running",
    JobState.PAUSED: "queued",
    JobState.RETRY_WAIT: "running",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
}
MODEL_WORDS: Mapping[JobState, str] = {
    JobState.CREATED: "initializing",
    JobState.QUEUED: "initializing",
    JobState.RUNNING: "training",
    JobState.PAUSED: "paused",
    JobState.RETRY_WAIT: "training",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "stopped",
}
CANONICAL = re.compile(rf"\b({'|'.join(JobState)})\b")


def state_in_words(data: Mapping[str, Any], words: Mapping[JobState, str] = EXPERIMENT_WORDS) -> dict[str, Any]:
    """Details or an event's data, with `state` in a surface's word."""
    if data.get("state") not in set(JobState):
        return dict(data)
    return {**data, "state": str(words[JobState(data["state"])])}


def in_words(error: StateForbids, words: Mapping[JobState, str] = EXPERIMENT_WORDS) -> StateForbids:
    """The refusal of a state change in a surface's words: "The job is finished; it cannot become stopped"."""
    message = CANONICAL.sub(lambda found: words[JobState(found[0])], error.message)
    return StateForbids(message, **state_in_words(error.details, words))
