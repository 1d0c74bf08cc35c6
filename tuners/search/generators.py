"""The random generators inside a sampler, to be seeded anew for each trial."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import optuna
from optuna.samplers._lazy_random_state import LazyRandomState


class Generators:
    """Every generator that a sampler holds, itself or through the samplers and strategies that it holds.

    Optuna can only draw random seeds (`reseed_rng`), and a fresh sampler for each trial would cost a third of TPE's
    speed and forget what the sampler keeps between trials.
    """

    def __init__(self, sampler: Any) -> None:
        self._found: list[Any] = []
        self._collect(sampler, set())

    def seed(self, seed: int) -> None:
        """Seed them all."""
        for generator in self._found:
            if isinstance(generator, LazyRandomState):
                generator.rng.seed(seed)
            elif isinstance(generator, np.random.Generator):
                generator.bit_generator.state = type(generator.bit_generator)(seed).state
            else:
                generator.seed(seed)

    def _collect(self, part: Any, seen: set[int]) -> None:
        seen.add(id(part))
        for value in vars(part).values():
            if id(value) in seen:
                continue
            if isinstance(value, LazyRandomState | np.random.RandomState | np.random.Generator | random.Random):
                seen.add(id(value))
                self._found.append(value)
            elif _may_hold(value) and hasattr(value, "__dict__"):
                self._collect(value, seen)


def _may_hold(value: Any) -> bool:
    return isinstance(value, optuna.samplers.BaseSampler) or type(value).__module__.startswith("optuna.samplers")
