"""Requests and answers about models and their runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue

from tunesmith.domain import JobState, Time
from tunesmith.domain.session import ModelRun
from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.words import RUN_WORDS

RunWord: TypeAlias = Literal["queued", "running", "succeeded", "failed"]
"""Where a run stands, in the words of this surface."""
EXAMPLE_RUN = {"model_id": "linear_reg", "inputs": {"region": "NA", "year": 2024, "parameter_set": "baseline"}}


class RunRequest(Request):
    """What to run a model on."""

    model_id: str = Field(min_length=1, max_length=200)
    """One of `/api/models`."""
    inputs: Mapping[str, JsonValue]
    """What the model takes; inputs that are left out have the model's defaults."""


class ModelAnswer(Answer):
    """A model that can be run."""

    id: str
    """What `model_id` names."""
    name: str
    """What people call it."""
    params: Mapping[str, tuple[JsonValue, ...]]
    """Its own parameters, each with its choices; they are inputs of a run."""


class ModelsAnswer(Answer):
    """All models."""

    models: tuple[ModelAnswer, ...]
    """Those that ship with the platform, and those of plugins."""


class RunSubmitted(Answer):
    """A run that was submitted."""

    run_id: str
    """A UUID."""
    status: RunWord
    """`queued`."""


class RunStatusAnswer(Answer):
    """Where a run stands."""

    run_id: str
    """A UUID."""
    status: RunWord
    """`queued`, `running`, `succeeded` or `failed`; a cancelled one has failed."""
    progress: int = Field(ge=0, le=100)
    """Percent that is done; it never goes back."""
    message: str | None
    """What it is doing, or why it failed."""
    started_at: Time | None
    """When it began."""
    updated_at: Time
    """When it moved on last."""
    submitted_by: str | None
    """Who asked for it."""

    @classmethod
    def of(cls, run: ModelRun) -> RunStatusAnswer:
        """The answer for a run."""
        return cls.model_construct(**_standing(run))


class RunAnswer(RunStatusAnswer):
    """A run: what was asked for, and where it stands."""

    model_id: str
    """The model."""
    inputs: Mapping[str, JsonValue]
    """All that the model was given."""
    experiment_id: int
    """The experiment of one point that the run is: its log lies there."""
    created_at: Time
    """When it was submitted."""

    @classmethod
    def of(cls, run: ModelRun) -> RunAnswer:
        """The answer for a run."""
        more = run.model_dump(include={"model_id", "inputs", "experiment_id", "created_at"})
        return cls.model_construct(**_standing(run), **more)


class RunPage(Answer):
    """A page of runs."""

    runs: tuple[RunAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class RunResults(Answer):
    """What came of a run."""

    model_config = ConfigDict(ser_json_bytes="base64")

    run_id: str
    """A UUID."""
    summary: Mapping[str, Any]
    """All rows in a few numbers: `rows`, how many there are, and `avg_value`, the mean of their `value`, among them."""
    rows: tuple[Mapping[str, Any], ...]
    """A page of the rows."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


def states_of(word: RunWord | None) -> Collection[JobState] | None:
    """The states that are called so; None: all."""
    return None if word is None else [state for state, called in RUN_WORDS.items() if called == word]


def _standing(run: ModelRun) -> dict[str, Any]:
    shown = run.model_dump(include={"progress", "message", "started_at", "updated_at", "submitted_by"})
    return {"run_id": run.id, "status": RUN_WORDS[run.state], **shown}
