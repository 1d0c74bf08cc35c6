"""Candidates drawn from the density of a few good trials, the same as Optuna draws, and their densities.

Optuna reckons the truncated masses of the kernels for every draw; here they are kept as long as the good trials are the
same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from tuners.tpe.bandwidths import Floats, Rows
from tuners.tpe.kernels import Factors, Smooth, Stepped, axis_of, log_sum
from tuners.tpe.parzen import features


class Draws:
    """The density of the good trials, from Optuna's estimator of it."""

    def __init__(self, space: Mapping[str, BaseDistribution], estimator: _ParzenEstimator) -> None:
        self.estimator = estimator
        """Optuna's own."""
        self._space = space
        self._weights, kernels = estimator._mixture_distribution
        self._kernels: dict[str, Any] = dict(zip(space, kernels, strict=True))
        shares = np.cumsum(self._weights)
        self._shares = shares / shares[-1]
        self._numeric = [name for name in space if not isinstance(space[name], CategoricalDistribution)]
        self._quantiles = Quantiles([self._kernels[name] for name in self._numeric])
        self._axes = {name: axis_of(distribution) for name, distribution in space.items()}
        self._smooth = {name: axis for name, axis in self._axes.items() if isinstance(axis, Smooth)}
        self._matrix = np.zeros((len(self._weights), 2 * len(self._smooth) + 1))
        for place, (name, axis) in enumerate(self._smooth.items()):
            kernel = self._kernels[name]
            self._matrix[:, 2 * place], self._matrix[:, 2 * place + 1], constant = axis.exponents(
                kernel.mu, kernel.sigma
            )
            self._matrix[:, -1] += constant

    def sample(self, rng: np.random.RandomState, count: int) -> dict[str, Floats]:
        """Candidates in internal representation; takes from the generator what Optuna takes, in the same order."""
        chosen = self._shares.searchsorted(rng.random_sample(count), side="right")
        drawn = {name: self._choices(name, chosen, rng) for name in self._space if name not in self._numeric}
        if self._numeric:
            values = self._quantiles.at(rng.random_sample((len(self._numeric), count)), chosen)
            drawn |= {name: _on_grid(row, self._space[name]) for name, row in zip(self._numeric, values, strict=True)}
        return {name: drawn[name] for name in self._space}

    def log_pdf(self, samples: Mapping[str, Floats]) -> Floats | None:
        """The log density at each of the samples; None where doubles do not reach."""
        factors = [self._factors(name, samples[name]) for name in self._space if name not in self._smooth]
        logarithm = log_sum(self._weights, self._matrix, features(self._smooth, samples), factors)
        return None if logarithm is None else logarithm + sum(axis.log_unit for axis in self._smooth.values())

    def _choices(self, name: str, chosen: Rows, rng: np.random.RandomState) -> Floats:
        shares = np.cumsum(self._kernels[name].weights, axis=1)[chosen, :-1]
        below = shares < rng.random_sample(len(chosen))[:, None]
        return np.asarray(np.count_nonzero(below, axis=1), dtype=np.float64)

    def _factors(self, name: str, candidates: Floats) -> Factors:
        axis, kernel, own = self._axes[name], self._kernels[name], np.arange(len(self._weights))
        if isinstance(axis, Stepped):
            return axis.factors(own, kernel.mu, kernel.sigma, candidates)
        return Factors(own, kernel.weights[:, candidates.astype(np.intp)], np.zeros(len(candidates)))


class Quantiles:
    """Quantiles of truncated normal kernels of several parameters, with what does not depend on the quantile kept.

    The tail in which Optuna solves for the quantile is the left one, but right of the lower limit.
    """

    def __init__(self, kernels: list[Any]) -> None:
        """`kernels`: of each parameter, as Optuna has them."""
        shape = (len(kernels), -1) if kernels else (0, 0)
        self._mu = np.array([kernel.mu for kernel in kernels]).reshape(shape)
        self._sigma = np.array([kernel.sigma for kernel in kernels]).reshape(shape)
        low = (np.array([[kernel.adapted_low] for kernel in kernels]).reshape(-1, 1) - self._mu) / self._sigma
        high = (np.array([[kernel.adapted_high] for kernel in kernels]).reshape(-1, 1) - self._mu) / self._sigma
        self._left = low < 0
        self._log_mass = _truncnorm._log_gauss_mass(low, high)
        self._log_tail = _truncnorm._log_ndtr(np.where(self._left, low, -high))

    def at(self, quantiles: Floats, chosen: Rows) -> Floats:
        """`quantiles`: 0 ... 1, by parameter and candidate; `chosen`: the kernel of each candidate."""
        left = self._left[:, chosen]
        log_share = np.where(left, np.log(quantiles), np.log1p(-quantiles))
        log_probability = np.logaddexp(self._log_tail[:, chosen], log_share + self._log_mass[:, chosen])
        z = np.empty_like(quantiles)
        for side, sign in ((left, 1), (~left, -1)):
            if side.any():
                z[side] = sign * _truncnorm._ndtri_exp(log_probability[side])
        return np.asarray(z * self._sigma[:, chosen] + self._mu[:, chosen])


def _on_grid(values: Floats, distribution: Any) -> Floats:
    if distribution.log:
        values = np.exp(values)
    if distribution.step is None:
        return values
    low, high, step = distribution.low, distribution.high, distribution.step
    return np.asarray(np.clip(low + np.round((values - low) / step) * step, low, high))
