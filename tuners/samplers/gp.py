"""Optuna's Gaussian process, whose suggestions follow from the trials and the seed alone."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial


class Gp(optuna.samplers.GPSampler):
    """Optuna's sampler begins each fit where the last one ended; here, each begins anew.

    What it suggests then does not depend on how often it was asked before, and a search goes on after a restart as if
    nothing had happened.
    """

    def __init__(
        self, *, seed: int | None = None, n_startup_trials: int = 10, deterministic_objective: bool = False
    ) -> None:
        super().__init__(seed=seed, n_startup_trials=n_startup_trials, warn_independent_sampling=False)
        self._deterministic = deterministic_objective  # set here, as Optuna warns each time that it may change

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the highest acquisition value; none before there are enough complete trials."""
        self._gprs_cache_list = None
        self._constraints_gprs_cache_list = None
        return super().sample_relative(study, trial, search_space)
