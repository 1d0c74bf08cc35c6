"""How points are chosen: the sampler, the pruner, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tunesmith.domain.space import Space
from tunesmith.domain.value import Finite, Scalar, Value, check_text


class Pruner(Value):
    """How hopeless trials are ended early."""

    type: str
    """A pruner of the platform: `median`, `percentile`, `successive_halving`, `hyperband`, `threshold`, ..."""
    options: Mapping[str, Any] = {}
    """The pruner's own options."""


class Search(Value):
    """How a job searches: the sampler, how long, and when to stop."""

    type: str = "bayesopt"
    """The sampler's name."""
    options: Mapping[str, Any] = {}
    """The sampler's own options."""
    n_init: int | None = Field(default=None, ge=0)
    """Random points before the model-based ones (bayesopt)."""
    n_iter: int | None = Field(default=None, ge=0)
    """Trials to run (after `n_init` for bayesopt)."""
    num_configs_per_param: int | tuple[int, ...] | None = None
    """Grid points per parameter: one number for all, or one per parameter."""
    budget_s: Finite | None = Field(default=None, gt=0)
    """Seconds of running time after which no new trial starts."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at once, at most."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Seed of every random choice; drawn and recorded when unset."""
    converge_steps: int | None = Field(default=None, ge=1)
    """Stop after this many finished trials without improvement."""
    converge_thres: Finite | None = Field(default=None, ge=0)
    """An improvement smaller than this, in the objective's unit, does not count."""
    pruner: Pruner | None = None
    """How hopeless trials are ended early."""
    max_failed_trials: int | None = Field(default=None, ge=1)
    """The job fails when this many of its trials failed."""
    enqueue: tuple[Mapping[str, Scalar], ...] = Field(default=(), max_length=10_000)
    """Points to try first."""
    fixed: Mapping[str, Scalar] = {}
    """Parameters that are held at one value."""
    goal: Finite | Mapping[str, Finite] | None = None
    """Stop when a feasible trial is at least this good: metric -> value, or the first objective's value."""
    max_cost: Finite | None = Field(default=None, gt=0)
    """Money after which no new trial starts, in the currency of `TUNESMITH_PRICES`."""
    asked_before: int | None = None
    """Ask and tell: trials that workers had been given before points were chosen in this way."""
    space: Space | None = None
    """The space that it searches, where its experiment's was changed after it was queued."""
    chosen: Pruner | None = None
    """auto: the sampler that was chosen for this job, with its options."""
    code: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the function that was shipped for this job."""

    @model_validator(mode="after")
    def _storable(self) -> Search:
        check_text(self)
        return self
