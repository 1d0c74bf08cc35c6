"""The sampler: each suggestion follows from the complete and running trials and the seed, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuners.samplers.sampler import PUT_BACK
from tuners.trego.gaussian import GaussianProcess, Matrix, Vector
from tuners.trego.improvement import ranked
from tuners.trego.region import TrustRegion, is_local

GLOBAL_POINTS, LOCAL_POINTS = 250, 50
"""How many trials a model is fitted to, at most: a fit costs the cube of it."""
APART = 0.02
"""How far apart the points of the global model lie, in the unit cube."""
CANDIDATES = 1000
"""Points whose expected improvement is looked at in a global step; half as many in a local one."""

ALTERNATIVES = 50
"""Points of the trust region that are tried for one that is new, before the whole space is looked at."""
EXTREME = 1e100
"""Values beyond this count as this, so that their squares are finite."""


class Trego(optuna.samplers.BaseSampler):
    """Global and local steps of efficient global optimization by turns, for one objective and numeric parameters."""

    def __init__(self, *, seed: int | None = None, n_startup_trials: int = 10) -> None:
        """`n_startup_trials`: random points before the first model."""
        self._rng = LazyRandomState(seed)
        self._independent_sampler = optuna.samplers.RandomSampler(seed=seed)
        self._startup = n_startup_trials
        self._space = IntersectionSearchSpace()

    def reseed_rng(self) -> None:
        """Draw new seeds."""
        self._rng.rng.seed()
        self._independent_sampler.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The numeric parameters that all complete trials have."""
        found = self._space.calculate(study)
        return {
            name: distribution
            for name, distribution in found.items()
            if not distribution.single() and not isinstance(distribution, CategoricalDistribution)
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value. Raises ValueError when the study has several objectives."""
        self._raise_error_if_multi_objective(study)
        return self._independent_sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point; none while there are too few complete trials for a model.

        Pruned and failed trials count as bad ones, so that the search turns away from them.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        complete = _with(study, search_space, TrialState.COMPLETE)
        if not search_space or len(complete) < max(self._startup, 1):
            return {}
        running = _with(study, search_space, TrialState.RUNNING)
        tried = {_key(t, search_space) for t in (*complete, *running)}
        fruitless = _with(study, search_space, TrialState.PRUNED, TrialState.FAIL)
        fruitless = [t for t in fruitless if _key(t, search_space) not in tried]  # else it was tried again
        ended = sorted([*complete, *fruitless], key=lambda t: t.number)
        transform = _SearchSpaceTransform(search_space, transform_0_1=True)
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        values = np.array([sign * t.values[0] if t.state == TrialState.COMPLETE else np.inf for t in ended])
        points, pending = (_points(transform, trials, search_space) for trials in (ended, running))
        tried |= {_key(t, search_space) for t in fruitless}
        first: dict[str, Any] = {}
        for point in self._proposals(points, values, pending):
            params = transform.untransform(np.clip(point, 0.0, 1.0))
            if tuple(params[name] for name in search_space) not in tried:
                return params
            first = first or params
        return first

    def _proposals(self, points: Matrix, values: Vector, pending: Matrix) -> Iterator[Vector]:
        """Points of the unit cube, the best first; where a region holds too few values of an int, any others."""
        if is_local(len(points) + len(pending)):
            yield from self._local(points, values, pending)[:ALTERNATIVES]
        yield from self._global(points, values, pending)

    def _global(self, points: Matrix, values: Vector, pending: Matrix) -> Matrix:
        """Steps in the whole space, away from known points, as what lies near the best is the local steps' part.

        Values above the median are compressed, so that bad ones do not blur the good.
        """
        use = _telling(points, values)
        process = GaussianProcess(
            2 * points[use] - 1, _compressed(_finite(values[use])), 0.5 * np.sqrt(points.shape[1] / 2)
        )
        if len(pending):
            process.believe(2 * pending - 1)
        ends = np.ones(points.shape[1])
        centre = 2 * points[np.argmin(values)] - 1
        found = (ranked(process, centre, -ends, ends, CANDIDATES, self._rng.rng) + 1) / 2
        near = np.array([np.abs(points - x).max(axis=1).min() < APART for x in found])
        return np.vstack([found[~near], found[near]])

    def _local(self, points: Matrix, values: Vector, pending: Matrix) -> Matrix:
        """Steps in the trust region, from a model of the points about it, in coordinates where it is [-1, 1]^d."""
        region = TrustRegion.after(points, values, self._startup)
        centre, radius = region.centre, region.radius
        use = region.nearest(points, LOCAL_POINTS)
        process = GaussianProcess((points[use] - centre) / radius, _finite(values[use]), 2.0)
        if len(close := pending[np.abs(pending - centre).max(axis=1) <= 2 * radius]):
            process.believe((close - centre) / radius)
        low, high = np.maximum(-centre / radius, -1.0), np.minimum((1 - centre) / radius, 1.0)
        found = ranked(process, np.zeros(len(centre)), low, high, CANDIDATES // 2, self._rng.rng)
        return np.asarray(centre + radius * found)


def _with(study: optuna.Study, space: dict[str, BaseDistribution], *states: TrialState) -> list[FrozenTrial]:
    """The trials in these states that have all of the space's parameters, but for those that were only put back."""
    trials = study._get_trials(deepcopy=False, states=states, use_cache=False)
    return [trial for trial in trials if space.keys() <= trial.params.keys() and PUT_BACK not in trial.system_attrs]


def _points(
    transform: _SearchSpaceTransform, trials: Sequence[FrozenTrial], space: dict[str, BaseDistribution]
) -> Matrix:
    """The trials' parameters in the unit cube, (n, d)."""
    rows = [transform.transform({name: trial.params[name] for name in space}) for trial in trials]
    return np.array(rows).reshape(len(rows), len(transform.bounds))


def _key(trial: FrozenTrial, space: dict[str, BaseDistribution]) -> tuple[Any, ...]:
    return tuple(trial.params[name] for name in space)


def _finite(values: Vector) -> Vector:
    """Infinite values become the worst and the best of the finite ones."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.clip(values, max(low, -EXTREME), min(high, EXTREME))


def _telling(points: Matrix, values: Vector) -> Any:
    """Indices of the trials that tell of the whole space: of those that lie close together, the best.

    A crowd about one point says little about others, and bends the length scales of the model to its own.
    """
    kept = np.zeros(len(values), dtype=bool)
    for index in np.argsort(values, kind="stable"):
        gaps = np.abs(points[kept] - points[index]).max(axis=1)
        kept[index] = not len(gaps) or gaps.min() >= APART
        if kept.sum() == GLOBAL_POINTS:
            break
    return np.flatnonzero(kept)


def _compressed(values: Vector) -> Vector:
    """The values in units of the median's distance from the best; those above the median on a logarithmic scale."""
    middle = float(np.median(values))
    scaled = (values - middle) / (middle - float(values.min()) or 1.0)
    return np.where(scaled > 0, np.log1p(np.maximum(scaled, 0.0)), scaled)
