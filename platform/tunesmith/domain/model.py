"""Trained models: what AutoML was asked to train, and where that stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from tunesmith.domain.job import JobState
from tunesmith.domain.value import Time, Value


class TrainedModel(Value):
    """A model that was trained, or is to be: it stands where its job stands."""

    id: str
    """A UUID."""
    template: str
    """The template that it is trained from."""
    config: Mapping[str, JsonValue]
    """The whole configuration."""
    searched: bool
    """Whether the best of many trials becomes the model."""
    experiment_id: int
    """The experiment that the training is: of one point, or a search."""
    job_id: str
    """The training."""
    state: JobState
    """The training's state."""
    progress: int
    """Percent of it that is done; it never goes back."""
    message: str | None = None
    """What it is doing, in a sentence."""
    error: str | None = None
    """Why it failed."""
    trial_number: int | None = None
    """The trial whose model this is: of a search the best so far, else its only one."""
    trained: bool = False
    """Whether that trial is complete, so that there is a model."""
    metrics: Mapping[str, float] = {}
    """What that trial measured."""
    params: Mapping[str, Any] = {}
    """The searched values of that trial."""
    finished: int = 0
    """Trials that ended."""
    failed: int = 0
    """Of these, failed ones."""
    submitted_by: str | None = None
    """Who asked for it."""
    created_at: Time
    """When it was asked for."""
    started_at: Time | None = None
    """When it began."""
    ended_at: Time | None = None
    """When it ended."""
