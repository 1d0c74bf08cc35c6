"""The logarithm of expected improvement, which has a slope even where improvement is next to impossible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special  # type: ignore[import-untyped]

from tuners.trego.gaussian import GaussianProcess, Matrix, Vector

DENSITY = 1 / np.sqrt(2 * np.pi)
"""The standard normal density at 0."""
FAR = 5.0
"""From so many deviations below the best value, the improvement is computed as it is defined."""
STARTS = 4
"""Local searches for the highest expected improvement."""


def log_improvement(z: npt.ArrayLike) -> tuple[Vector, Vector, Vector]:
    """log h(z), Phi(z) / h(z) and phi(z) / h(z), where h(z) = phi(z) + z Phi(z) is the improvement per deviation.

    Ament et al. 2023, "Unexpected improvements to expected improvement": below, with erfcx, nothing underflows.
    """
    z = np.asarray(z, dtype=float)
    low, high = np.clip(z, -1e5, FAR), np.maximum(z, FAR)
    tail = 0.5 * special.erfcx(-low / np.sqrt(2))  # Phi(z) exp(z^2 / 2)
    level = np.maximum(DENSITY + low * tail, 0.5 * DENSITY / (low**2 + 10))
    direct = DENSITY * np.exp(-0.5 * np.minimum(high, 37.0) ** 2) + high * special.ndtr(high)
    near = z <= FAR
    return (
        np.where(near, np.log(level) - 0.5 * np.minimum(z, FAR) ** 2, np.log(direct)),
        np.where(near, tail / level, special.ndtr(high) / direct),
        np.where(near, DENSITY / level, DENSITY * np.exp(-0.5 * np.minimum(high, 37.0) ** 2) / direct),
    )


def ranked(
    process: GaussianProcess, centre: Vector, low: Vector, high: Vector, count: int, rng: np.random.RandomState
) -> Matrix:
    """Points in the box [low, high], the one with the highest expected improvement first, then in no certain order.

    Of `count` uniform points, and a quarter as many about `centre` (at scales from 1e-4 of the box to a fifth), the
    best few are the starts of local searches.
    """
    d = len(low)
    spread = rng.normal(size=(count // 4, d)) * 10.0 ** rng.uniform(-4, -0.7, (count // 4, 1)) * (high - low)
    points = np.vstack([rng.uniform(low, high, (count, d)), np.clip(centre + spread, low, high)])
    mean, deviation = process.posterior(points)
    worth = log_improvement((process.best - mean) / deviation)[0] + np.log(deviation)
    points = points[np.argsort(-worth, kind="stable")]
    found = [_climbed(process, start, low, high) for start in points[:STARTS]]
    found.sort(key=lambda pair: pair[0])
    return np.vstack([*(point for _, point in found), points])


def _climbed(process: GaussianProcess, start: Vector, low: Vector, high: Vector) -> tuple[float, Vector]:
    """A local minimum of the negative log expected improvement, and where."""
    found = optimize.minimize(
        _loss,
        start,
        args=(process,),
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack([low, high]),
        options={"maxiter": 40, "maxfun": 60},
    )
    return float(found.fun), np.asarray(found.x)


def _loss(point: Vector, process: GaussianProcess) -> tuple[float, Vector]:
    mean, deviation, mean_slope, deviation_slope = process.posterior_slope(point)
    level, chance, density = log_improvement((process.best - mean) / deviation)
    slope = (float(chance) * mean_slope - float(density) * deviation_slope) / deviation
    return -float(level) - float(np.log(deviation)), slope
