"""Optuna's CMA-ES, with the optimizer in memory: after a restart it is told the recorded generations again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cmaes  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

GENERATION = "cma:generation"
"""The system attribute of a trial: the generation that it is of; trials of other samplers have none."""
TOLD = "cma:told"
"""The system attribute under which CMA-ES with margin notes the point that it drew, before it was made discrete."""


class CmaEs(optuna.samplers.CmaEsSampler):
    """Covariance matrix adaptation (Hansen 2016), also separable, with margin, or with adapted learning rates.

    Optuna pickles the optimizer into the trials. Here a trial has only the number of its generation, and what the
    optimizer knows follows from the complete trials: of each generation, the first as many as it has individuals.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_startup_trials: int = 1,
        popsize: int | None = None,
        sigma0: float | None = None,
        use_separable_cma: bool = False,
        with_margin: bool = False,
        lr_adapt: bool = False,
    ) -> None:
        super().__init__(seed=seed, n_startup_trials=n_startup_trials, popsize=popsize, warn_independent_sampling=False)
        # Set here, as Optuna warns each time that they may change: `warnings` cannot be silenced in one thread alone.
        self._sigma0, self._lr_adapt = sigma0, lr_adapt
        self._separable, self._with_margin = use_separable_cma, with_margin
        self._optimizer: Any = None
        self._names: tuple[str, ...] = ()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The numbers of a point of the present generation; none before there are enough complete trials."""
        self._raise_error_if_multi_objective(study)
        complete = [t for t in study._get_trials(deepcopy=False, use_cache=True) if t.state == TrialState.COMPLETE]
        if not search_space or len(complete) < self._n_startup_trials:
            return {}
        seed = self._cma_rng.rng.randint(2**32, dtype=np.uint32)  # before a new optimizer takes one
        transform = _SearchSpaceTransform(search_space, transform_step=not self._with_margin, transform_0_1=True)
        if self._optimizer is None or self._names != tuple(search_space):
            self._use_separable_cma = self._separable and len(search_space) > 1  # of one, there is nothing to separate
            self._optimizer = self._init_optimizer(transform, study.direction)
            self._names = tuple(search_space)
        self._tell(complete, transform, study.direction)
        self._optimizer._rng.seed(seed)
        return self._ask(study, trial, transform)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: Optuna warns here of constraints that have no effect, and the job's plan has said so."""

    def _ask(self, study: optuna.Study, trial: FrozenTrial, transform: _SearchSpaceTransform) -> dict[str, Any]:
        """A point of the present generation, which is noted in the trial."""
        point = self._optimizer.ask()
        if isinstance(self._optimizer, cmaes.CMAwM):
            point, told = point
            study._storage.set_trial_system_attr(trial._trial_id, TOLD, told.tolist())
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION, self._optimizer.generation)
        return transform.untransform(point)

    def _tell(
        self, complete: Sequence[FrozenTrial], transform: _SearchSpaceTransform, direction: StudyDirection
    ) -> None:
        """Tell the optimizer every generation, from its own on, that has enough complete trials."""
        sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        generations = defaultdict[int, list[FrozenTrial]](list)
        for trial in complete:
            generations[trial.system_attrs.get(GENERATION, -1)].append(trial)
        size = self._optimizer.population_size
        while len(members := generations[self._optimizer.generation]) >= size:
            points = [(trial, self._point(trial, transform)) for trial in members]
            told = [(x, sign * trial.values[0]) for trial, x in points if len(x) == len(transform.bounds)]
            if len(told) < size:
                return
            self._optimizer.tell(told[:size])

    def _point(self, trial: FrozenTrial, transform: _SearchSpaceTransform) -> npt.NDArray[np.float64]:
        if isinstance(self._optimizer, cmaes.CMAwM):
            return np.array(trial.system_attrs.get(TOLD, ()))
        return transform.transform(trial.params)
