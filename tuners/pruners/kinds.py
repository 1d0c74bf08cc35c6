"""The pruners by name: what each does, its options, Optuna's class for one objective and ours for several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuners.pruners.vector import HalvingVectors, HyperbandVectors, PercentileVectors, VectorPruner

Resource = Annotated[int, Field(ge=1)] | Literal["auto"]
"""A number of steps, or one that is estimated."""
LATEST_RATE = 62
"""min_early_stopping_rate, at most: steps end at 2^63, and a rung is at least twice as late as the one before."""


class Options(BaseModel):
    """Options of a pruner, as in Optuna: unknown ones are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class IntervalOptions(Options):
    """When a trial is looked at."""

    n_warmup_steps: int = Field(default=0, ge=0)
    """Steps of a trial during which it is not pruned; the first step that counts is this one."""
    interval_steps: int = Field(default=1, ge=1)
    """Steps from one look at a trial to the next, counted from n_warmup_steps."""


class MedianOptions(IntervalOptions):
    """Options of the median rule."""

    n_startup_trials: int = Field(default=5, ge=0)
    """Complete trials before any is pruned."""
    n_min_trials: int = Field(default=1, ge=1)
    """Complete trials with a value at the very step, before a trial is judged there."""


class PercentileOptions(MedianOptions):
    """Options of the percentile rule."""

    percentile: float = Field(ge=0, le=100)
    """Percentage of the trials that go on: 25 keeps the best quarter."""


class ThresholdOptions(IntervalOptions):
    """Options of the threshold rule; one of lower and upper is needed."""

    lower: float | None = None
    """A trial whose value lies below this is pruned."""
    upper: float | None = None
    """A trial whose value lies above this is pruned."""


class HalvingOptions(Options):
    """Options of successive halving."""

    min_resource: Resource = "auto"
    """Step of the first rung; auto: a hundredth of the steps of the first trial that completes."""
    reduction_factor: int = Field(default=4, ge=2)
    """One of this many trials goes on from a rung, to the next one that lies this many times later."""
    min_early_stopping_rate: int = Field(default=0, ge=0, le=LATEST_RATE)
    """How many rungs are left out at the start."""
    bootstrap_count: int = Field(default=0, ge=0)
    """Trials that reach a rung before any goes on from it; they end there. Needs a min_resource."""


class HyperbandOptions(Options):
    """Options of Hyperband."""

    min_resource: int = Field(default=1, ge=1)
    """Step of the first bracket's first rung."""
    max_resource: Resource = "auto"
    """Steps of a trial that is not pruned; auto: those of the first trial that completes."""
    reduction_factor: int = Field(default=3, ge=2)
    """One of this many trials goes on from a rung; brackets and rungs lie this many times apart."""
    bootstrap_count: int = Field(default=0, ge=0)
    """Trials that reach a rung before any goes on from it; they end there. Needs a max_resource."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.max_resource != "auto" and self.max_resource < self.min_resource:
            raise ValueError(f"max_resource ({self.max_resource}) lies below min_resource ({self.min_resource})")
        return self


class WilcoxonOptions(Options):
    """Options of the Wilcoxon rule."""

    p_threshold: float = Field(default=0.1, ge=0, le=1)
    """A trial is pruned when it is worse than the best one with a p-value below this; larger prunes more."""
    n_startup_steps: int = Field(default=2, ge=0)
    """Steps in common with the best trial before a trial is judged; at least 2 are needed in any case."""


class PatientOptions(Options):
    """Options of the patient rule, which holds another pruner back."""

    pruner: str | Mapping[str, Any] | None = None
    """The pruner that is asked once patience is over: a name, or `{"type": name, option: value, ...}`; unset: none is
    asked, and the trial is pruned."""
    patience: int = Field(ge=0)
    """Steps in a row without improvement before a trial may be pruned."""
    min_delta: float = Field(default=0.0, ge=0)
    """How much worse the values may become and still count as no worse."""


@dataclass(frozen=True)
class Kind:
    """A pruner of the platform."""

    name: str
    """What `pruner.type` says."""
    description: str
    """One sentence, with the source."""
    options: type[Options]
    """Its own options."""
    optuna: str
    """The name of Optuna's class."""
    vector: Callable[..., VectorPruner] | None = None
    """Takes the options by name; None: it judges one objective only."""

    @property
    def multi_objective(self) -> bool:
        """Whether it may be chosen when there are several objectives."""
        return self.vector is not None or self.name == "none"


def _median(**options: int) -> VectorPruner:
    return PercentileVectors(percentile=50, **options)


HALVING = "Successive halving without waiting: a trial goes on from each rung when it is among the best there"

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("none", "Never prunes.", Options, "NopPruner"),
        Kind(
            "median",
            "Prunes a trial that is worse than the median of the complete ones at the same step "
            "(Golovin et al. 2017, Google Vizier).",
            MedianOptions, "MedianPruner", _median,
        ),
        Kind(
            "percentile",
            "Prunes a trial that is not among the best percentage of the complete ones at the same step "
            "(optuna.pruners.PercentilePruner).",
            PercentileOptions, "PercentilePruner", PercentileVectors,
        ),
        Kind(
            "successive_halving", f"{HALVING} (Li et al. 2020, ASHA).",
            HalvingOptions, "SuccessiveHalvingPruner", HalvingVectors,
        ),
        Kind(
            "asha", f"{HALVING}; the same as successive_halving (Li et al. 2020, ASHA).",
            HalvingOptions, "SuccessiveHalvingPruner", HalvingVectors,
        ),
        Kind(
            "hyperband", "Brackets of successive halving that start early and late (Li et al. 2018).",
            HyperbandOptions, "HyperbandPruner", HyperbandVectors,
        ),
        Kind(
            "threshold", "Prunes a trial whose value leaves fixed limits (optuna.pruners.ThresholdPruner).",
            ThresholdOptions, "ThresholdPruner",
        ),
        Kind(
            "patient",
            "Lets another pruner prune a trial only after steps without improvement (optuna.pruners.PatientPruner).",
            PatientOptions, "PatientPruner",
        ),
        Kind(
            "wilcoxon",
            "Prunes a trial that a signed-rank test finds worse than the best one, step by step "
            "(Wilcoxon 1945; optuna.pruners.WilcoxonPruner).",
            WilcoxonOptions, "WilcoxonPruner",
        ),
    )
}  # fmt: skip
