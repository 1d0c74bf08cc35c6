"""The bodies of the lists of samplers and pruners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.schemas.base import Answer


class SamplerAnswer(Answer):
    """A sampler that a job can search with."""

    name: str
    """What `optimizer.type` says."""
    description: str
    """One sentence."""
    fields: tuple[str, ...]
    """Which of n_init, n_iter and num_configs_per_param it takes."""
    options: Mapping[str, Any]
    """Its own options: name -> JSON schema, with the default."""
    multi_objective: bool
    """Whether it takes several objectives."""
    constraints: bool
    """Whether bounds on metrics steer it."""
    mixed_spaces: bool
    """Whether it searches categorical parameters among numbers; otherwise it draws them at random."""
    conditional_spaces: bool
    """Whether it searches parameters with `when`; otherwise it draws them at random."""
    define_by_run: bool = True
    """Whether it takes functions that ask for their parameters while they run."""
    available: bool = True
    """Whether everything that it needs is installed."""
    remedy: str | None = None
    """How to install what is missing."""


class SamplersAnswer(Answer):
    """Every sampler of the platform."""

    samplers: tuple[SamplerAnswer, ...]
    """In the order to try them."""


class PrunerAnswer(Answer):
    """A pruner that ends hopeless trials early."""

    name: str
    """What `optimizer.pruner` says."""
    description: str
    """One sentence."""
    options: Mapping[str, Any]
    """Its own options: name -> JSON schema, with the default; one without a default is required."""
    multi_objective: bool
    """Whether it judges trials with several objectives."""


class PrunersAnswer(Answer):
    """Every pruner of the platform."""

    pruners: tuple[PrunerAnswer, ...]
    """The simplest first."""
