"""The body of the list of samplers."""

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
    """Whether it takes categorical parameters among numbers."""
    conditional_spaces: bool
    """Whether it takes parameters with `when`."""


class SamplersAnswer(Answer):
    """Every sampler of the platform."""

    samplers: tuple[SamplerAnswer, ...]
    """In the order to try them."""
