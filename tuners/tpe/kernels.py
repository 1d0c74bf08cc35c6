"""The kernels of one parameter in a Parzen estimator: what each says of candidate values, in forms that add up fast.

Rows are kernels, the prior first. Densities are as in Optuna's TPE: truncated normal ones, their integrals over a step,
and probabilities of choices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import _truncnorm
from scipy.special import ndtr  # type: ignore[import-untyped]

from tuners.tpe.bandwidths import NARROWEST, Floats, Rows

FINE = 0.02
"""Steps up to this share of the narrowest bandwidth are integrated by the midpoint rule with its first correction.

At z bandwidths from the centre that is wrong by less than (1 + z^4) / 1000 times the fourth power of the share.
"""


BLOCK = 2048
"""Kernels reckoned at once: 24 candidates times as many doubles stay in a core's cache."""
LEAST = -700.0
"""Exponents are cut off here: nothing to a sum with the prior in it, and `exp` is slow where it underflows."""


class Factors(NamedTuple):
    """What a parameter contributes to each kernel's density at each candidate: `table[codes[row], candidate]`."""

    codes: Rows
    """Which of the distinct kernels each row is."""
    table: Floats
    """By distinct kernel and candidate, as multiples of the prior's."""
    log_prior: Floats
    """The prior's log probability of each candidate."""


class Smooth:
    """Continuous values, or steps too fine to matter: the exponents are quadratic in the candidate."""

    def __init__(self, distribution: Any) -> None:
        self.low, self.high, self.log = *limits(distribution), distribution.log
        self._step = distribution.step or 0.0
        self._middle, self._width = 0.5 * (self.low + self.high), self.high - self.low
        self.log_unit = math.log(self._step or 1.0) - math.log(self._width) - 0.5 * math.log(2 * math.pi)
        """What all kernels' exponents have in common."""

    def features(self, candidates: Floats) -> tuple[Floats, Floats]:
        """What the squares and the linear terms are multiplied with, per candidate.

        -0.5 ... 0.5 over the range, so that the squares cancel little.
        """
        z = ((np.log(candidates) if self.log else candidates) - self._middle) / self._width
        return z * z, z

    def exponents(self, mu: Floats, sigma: Floats) -> tuple[Floats, Floats, Floats]:
        """Per kernel: the factor of the square, of the linear term, and the constant."""
        log_mass = log_normal_mass((self.low - mu) / sigma, (self.high - mu) / sigma)
        centre, sharpness, share = (mu - self._middle) / self._width, self._width / sigma, (self._step / sigma) ** 2
        square = sharpness * sharpness * (1 - share / 12)
        linear = centre * square
        return -0.5 * square, linear, np.log(sharpness) - share / 24 - log_mass - 0.5 * centre * linear


class Stepped:
    """Values with steps: many kernels are the same, and the distinct ones are integrated over the candidates' steps."""

    def __init__(self, distribution: Any) -> None:
        self.low, self.high, self.log = *limits(distribution), distribution.log
        self._half = distribution.step / 2

    def factors(self, codes: Rows, mu: Floats, sigma: Floats, candidates: Floats) -> Factors:
        """`mu`, `sigma`: the distinct kernels, the prior last."""
        values, place = np.unique(candidates, return_inverse=True)
        left, right = values - self._half, values + self._half
        if self.log:
            left, right = np.log(left), np.log(right)
        sharpness = 1 / sigma[:, None]
        mass = normal_mass((left - mu[:, None]) * sharpness, (right - mu[:, None]) * sharpness)
        mass *= np.exp(-log_normal_mass((self.low - mu) / sigma, (self.high - mu) / sigma))[:, None]
        return Factors(codes, (mass / mass[-1])[:, place], np.log(mass[-1])[place])


class Choice:
    """Choices: a kernel gives its own one more than the others, and the fewer kernels there are, the more to others."""

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self.count = len(distribution.choices)

    def factors(self, codes: Rows, kernels: int, candidates: Floats) -> Factors:
        """`codes`: indices of choices, of which there are `count`, and `count` for the prior."""
        own = candidates.astype(np.intp) == np.arange(self.count)[:, None]
        probability = (own + 1 / kernels) / (self.count / kernels + 1)
        table = np.concatenate([probability * self.count, np.ones((1, len(candidates)))])
        return Factors(codes, table, np.full(len(candidates), -math.log(self.count)))


Axis = Smooth | Stepped | Choice


def axis_of(distribution: BaseDistribution) -> Axis:
    """The kernels for a parameter of this distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Choice(distribution)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is None:
        return Smooth(distribution)
    low, high = limits(distribution)
    fine = not distribution.log and distribution.step <= FINE * NARROWEST * (high - low)
    return Smooth(distribution) if fine else Stepped(distribution)


def limits(distribution: Any) -> tuple[float, float]:
    """The range of the kernels: with half a step at both ends, in logarithms where the parameter is."""
    half = (distribution.step or 0.0) / 2
    low, high = distribution.low - half, distribution.high + half
    return (float(np.log(low)), float(np.log(high))) if distribution.log else (low, high)


def normal_mass(low: Floats, high: Floats) -> Floats:
    """The standard normal distribution's probability between the limits, precise in both tails."""
    right = low > 0
    return np.asarray(ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low)))


def log_normal_mass(low: Floats, high: Floats) -> Floats:
    """Its logarithm, also far outside."""
    if (low <= 0).all() and (high > 0).all():
        return np.asarray(np.log1p(-ndtr(low) - ndtr(-high)))
    return _truncnorm._log_gauss_mass(low, high)


def log_sum(weights: Floats, matrix: Floats, features: Floats, factors: Sequence[Factors]) -> Floats | None:
    """The logarithm of the weighted sum over kernels, per candidate; None where doubles do not reach.

    By kernel and candidate a density is `exp(matrix @ features)`, times what the factors say.
    """
    total = np.zeros(features.shape[1])
    for start in range(0, len(weights), BLOCK):
        rows = slice(start, min(start + BLOCK, len(weights)))
        block = matrix[rows] @ features
        np.maximum(block, LEAST, out=block)
        np.exp(block, out=block)
        for factor in factors:
            block *= factor.table.take(factor.codes[rows], axis=0)
        total += weights[rows] @ block
    if not (np.isfinite(total) & (total > 0)).all():
        return None
    logarithm = np.log(total)
    for factor in factors:
        logarithm += factor.log_prior
    return logarithm
