"""What a sampler is to the platform: its name, what it can do, its options, and how Optuna's object is built."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from tuners.samplers.options import Options
from tunesmith.domain import Experiment, Search

CHEAP = 100
"""How often a sampler whose points cost little draws again where parameter constraints refuse one."""
DEAR = 5
"""The same for one that asks its model for each point: a repaired one lies near where the model wants it."""


PUT_BACK = "tunesmith:put_back"
"""System attribute of a failed trial in a study whose evaluation was interrupted: its point is to be tried again."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler of the platform."""

    name: str
    """What `optimizer.type` says."""
    description: str
    """One sentence."""
    options: type[BaseModel] = Options
    """Its own options."""
    build: Callable[[Any, int], Any] | None = None
    """(options, seed) -> Optuna's sampler; None: its points follow from the space and the seed alone."""
    fields: frozenset[str] = frozenset({"n_iter"})
    """Which of n_init, n_iter, num_configs_per_param it takes."""
    required: tuple[str, ...] = ()
    """Which of these it cannot do without."""
    multi_objective: bool = True
    """Whether it takes several objectives."""
    constraints: bool = False
    """Whether outcome constraints steer it."""
    mixed_spaces: bool = True
    """Whether it searches categorical parameters as it does numbers; otherwise they are drawn at random."""
    conditional_spaces: bool = True
    """Whether it searches parameters with `when` as it does others; otherwise they are drawn at random."""
    define_by_run: bool = True
    """Whether trials may ask for their parameters while they run."""
    learns: bool = True
    """Whether its points depend on the trials before them."""
    alone: bool = False
    """Whether trials of other jobs mean nothing to it."""
    population: bool = False
    """Whether its trials are segments of a training that goes on from checkpoints (`tuners.pbt`)."""
    finite: bool = False
    """Whether it goes through a list of points, and ends with it."""
    redraws: int = DEAR
    """How many points it draws, at most, until one satisfies the parameter constraints; then the last is repaired."""
    requires: Mapping[str, str] = field(default_factory=dict)
    """Modules that it needs -> how they are installed."""
    check: Callable[[Experiment, Search], None] | None = None
    """Raises InvalidOptimizer where it cannot run this search, beyond what the fields above say."""

    @property
    def missing(self) -> str | None:
        """How to install what it needs and is not there; None when it can run."""
        return next((remedy for module, remedy in self.requires.items() if not _installed(module)), None)

    @property
    def available(self) -> bool:
        """Whether everything that it needs is installed."""
        return self.missing is None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
