"""A Gaussian process on numbers: Matern 5/2 with a length scale per dimension, on top of a Bayesian quadratic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize  # type: ignore[import-untyped]

Vector = npt.NDArray[np.float64]
"""One value per point or per dimension."""
Matrix = npt.NDArray[np.float64]
"""Points in rows, dimensions in columns; or points in both."""

potrf, potri = linalg.get_lapack_funcs(("potrf", "potri"), dtype=np.float64)

JITTER = 1e-9
"""Added to the diagonal, so that points that lie close together can be told apart."""
LENGTH, SCALE, QUADRATIC, NOISE = (1e-2, 20.0), (1e-4, 1e2), (1e-8, 1e4), (1e-8, 1e-1)
"""Ranges of the hyperparameters, for values of variance 1 and points in about [-1, 1]^d."""
DEVIATIONS = {"length": 0.8, "scale": 1.5, "quadratic": 3.0, "noise": 3.0}
"""Standard deviations of the log-normal priors."""


class GaussianProcess:
    """The posterior of a function with k(x, z) = s m(|x - z| / lengths) + q (1 + x'z)^2, m Matern's kernel of 5/2.

    The quadratic (Rasmussen and Williams 2006, section 2.7: a polynomial mean whose weights are integrated out) follows
    bowls, rotated ones too, which a kernel with axis-parallel length scales takes many points to learn.
    """

    def __init__(self, points: Matrix, values: Vector, length: float) -> None:
        """Fit the hyperparameters (maximum a posteriori).

        `points`: (n, d); `values`: (n,), any scale; `length`: the median of the prior on the length scales.
        """
        self._points = points
        spread = float(values.std())
        self._values = (values - values.mean()) / (spread if spread > 0 else 1.0)
        self._log_length = np.log(length)
        self._hold(self._fitted())

    @property
    def best(self) -> float:
        """The lowest value, in the process's own (standardized) scale."""
        return float(self._values.min())

    def believe(self, points: Matrix) -> None:
        """Take these points (k, d) as observed, with the values that are expected there."""
        mean, _ = self.posterior(points)
        self._points = np.vstack([self._points, points])
        self._values = np.concatenate([self._values, mean])
        self._factorize()

    def posterior(self, points: Matrix) -> tuple[Vector, Vector]:
        """Mean and standard deviation at points (k, d), in the process's own scale."""
        covariance = self._covariance(points)
        solved = linalg.solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        prior = self._kernel.scale + self._kernel.quadratic * (1 + (points**2).sum(axis=1)) ** 2
        return covariance @ self._weights, np.sqrt(np.maximum(prior - (solved**2).sum(axis=0), 1e-14))

    def posterior_slope(self, point: Vector) -> tuple[float, float, Vector, Vector]:
        """Mean and standard deviation at a point (d,), and the gradients of both."""
        kernel, away = self._kernel, (point - self._points) / self._kernel.lengths
        radius = np.sqrt(5 * (away**2).sum(axis=1))
        decay, inner = np.exp(-radius), 1 + self._points @ point
        covariance = kernel.scale * (1 + radius + radius**2 / 3) * decay + kernel.quadratic * inner**2
        slopes = (-5 / 3 * kernel.scale) * ((1 + radius) * decay)[:, None] * away / kernel.lengths
        slopes += (2 * kernel.quadratic) * inner[:, None] * self._points
        solved = linalg.cho_solve((self._factor, True), covariance, check_finite=False)
        norm = 1 + float(point @ point)
        variance = max(kernel.scale + kernel.quadratic * norm**2 - float(covariance @ solved), 1e-14)
        deviation = float(np.sqrt(variance))
        slope = (2 * kernel.quadratic * norm * point - slopes.T @ solved) / deviation
        return float(covariance @ self._weights), deviation, slopes.T @ self._weights, slope

    def _fitted(self) -> Vector:
        """The logarithms of the hyperparameters: lengths, scale, quadratic, noise."""
        d = self._points.shape[1]
        start = np.concatenate([np.full(d, np.log(0.5 * np.sqrt(d))), np.log([1.0, 0.1, 1e-4])])
        bounds = np.log([*([LENGTH] * d), SCALE, QUADRATIC, NOISE])
        fit = optimize.minimize(
            self._loss,
            np.clip(start, *bounds.T),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 60, "maxfun": 120, "ftol": 1e-6, "gtol": 1e-2},
        )
        return np.asarray(fit.x)

    def _hold(self, logs: Vector) -> None:
        self._kernel = Kernel(np.exp(logs[:-3]), *np.exp(logs[-3:]))
        self._factorize()

    def _factorize(self) -> None:
        covariance, jitter = self._covariance(self._points), JITTER
        covariance.flat[:: len(covariance) + 1] += self._kernel.noise + jitter
        factor, failed = potrf(covariance, lower=1)
        while failed:
            jitter *= 10
            covariance.flat[:: len(covariance) + 1] += jitter
            factor, failed = potrf(covariance, lower=1)
        self._factor = factor
        self._weights = linalg.cho_solve((factor, True), self._values, check_finite=False)

    def _covariance(self, points: Matrix) -> Matrix:
        radius, decay = self._kernel.radii(points, self._points)
        matern = self._kernel.scale * (1 + radius + radius**2 / 3) * decay
        return matern + self._kernel.quadratic * (1 + points @ self._points.T) ** 2

    def _loss(self, logs: Vector) -> tuple[float, Vector]:
        """The negative logarithm of the posterior density of the hyperparameters, and its gradient."""
        kernel, points = Kernel(np.exp(logs[:-3]), *np.exp(logs[-3:])), self._points
        radius, decay = kernel.radii(points, points)
        matern = kernel.scale * (1 + radius + radius**2 / 3) * decay
        quadratic = kernel.quadratic * (1 + points @ points.T) ** 2
        covariance = matern + quadratic
        covariance.flat[:: len(points) + 1] += kernel.noise + JITTER
        factor, failed = potrf(covariance, lower=1)
        if failed:
            return 1e10, np.zeros_like(logs)
        weights = linalg.cho_solve((factor, True), self._values, check_finite=False)
        inverse = np.tril(potri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        change = inverse - np.outer(weights, weights)
        loss = 0.5 * self._values @ weights + np.log(factor.diagonal()).sum()
        pull = change * (5 / 3 * kernel.scale) * (1 + radius) * decay
        lengths = (pull.sum(axis=1) @ points**2 - (points * (pull @ points)).sum(axis=0)) / kernel.lengths**2
        rest = [(change * matern).sum(), (change * quadratic).sum(), kernel.noise * np.trace(change)]
        surplus, slope = self._prior(logs)
        return float(loss + surplus), np.concatenate([lengths, 0.5 * np.array(rest)]) + slope

    def _prior(self, logs: Vector) -> tuple[float, Vector]:
        """The negative logarithm of the prior density, and its gradient."""
        d = len(logs) - 3
        medians = np.concatenate([np.full(d, self._log_length), np.log([1.0, 0.1, 1e-5])])
        deviations = np.array([DEVIATIONS["length"]] * d + [DEVIATIONS[k] for k in ("scale", "quadratic", "noise")])
        z = (logs - medians) / deviations
        return float(0.5 * z @ z), z / deviations


@dataclass(frozen=True)
class Kernel:
    """Hyperparameters."""

    lengths: Vector
    """Distance, per dimension, over which values resemble each other."""
    scale: float
    """Variance of the Matern part."""
    quadratic: float
    """Variance of the quadratic's weights."""
    noise: float
    """Variance of the observations."""

    def radii(self, a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
        """sqrt(5) times the scaled distances of all pairs, and exp of their negatives."""
        left, right = a / self.lengths, b / self.lengths
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
        radius = np.sqrt(5 * np.maximum(squares, 0.0))
        if a is b:
            np.fill_diagonal(radius, 0.0)
        return radius, np.exp(-radius)
