"""The density of many observations as Optuna's Parzen estimator reckons it, kept while observations come and go.

A kernel is a product over the parameters. Of 24 candidates and n kernels, the exponents of all continuous parameters
are one matrix product; parameters with steps and choices bring a factor per distinct kernel. What a new trial changes,
and not more, is reckoned anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.sampler import default_weights

from tuners.tpe.bandwidths import Bandwidths, Floats, Rows
from tuners.tpe.kernels import Choice, Factors, Smooth, Stepped, axis_of, log_sum

Flags = npt.NDArray[np.bool_]


class Parzen:
    """A mixture of product kernels over the parameters of one search space, for a hundred observations or more.

    Row 0 is the prior; then come the observations, ascending by trial number. The oldest weigh less (Optuna's
    `default_weights`), those out of use nothing.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._axes = {name: axis_of(distribution) for name, distribution in space.items()}
        self._smooth = {name: axis for name, axis in self._axes.items() if isinstance(axis, Smooth)}
        self._numeric = {name: axis for name, axis in self._axes.items() if not isinstance(axis, Choice)}
        self._bandwidths = {name: Bandwidths(axis.low, axis.high) for name, axis in self._numeric.items()}
        choices = {name: axis for name, axis in self._axes.items() if isinstance(axis, Choice)}
        self._codes = {name: np.full(64, axis.count) for name, axis in choices.items()}
        self._numbers = np.empty(0, dtype=np.intp)
        self._used = np.zeros(0, dtype=np.bool_)
        self._kernels = 1
        self._weights = np.ones(1)
        self._matrix = np.zeros((64, 2 * len(self._smooth) + 1))
        self._constants = np.zeros((64, len(self._smooth)))
        for place in range(len(self._smooth)):
            self._write(place, np.zeros(1, dtype=np.intp))

    def update(self, columns: Mapping[str, Floats], there: Flags, used: Flags) -> bool:
        """Follow the observations; False when they do not continue those of last time: then start a new estimator.

        By trial number: `columns` the parameters in internal representation, `there` which trials have all of them,
        `used` which of these count.
        """
        start = int(self._numbers[-1]) + 1 if len(self._numbers) else 0
        fresh = np.flatnonzero(there[start:]) + start
        if len(fresh):
            self._extend(columns, fresh)
        wanted = used[self._numbers]
        if np.count_nonzero(wanted) != np.count_nonzero(used):
            return False
        changed = np.flatnonzero(wanted != self._used)
        self._used = wanted
        rows = np.flatnonzero(wanted) + 1
        added, removed = changed[wanted[changed]] + 1, changed[~wanted[changed]] + 1
        touched = {name: widths.change(rows, added, removed) for name, widths in self._bandwidths.items()}
        for place, name in enumerate(self._smooth):
            self._write(place, touched[name])
        self._weigh(rows)
        return True

    def log_pdf(self, samples: Mapping[str, Floats]) -> Floats | None:
        """The log density at each of the samples (internal representation); None where doubles do not reach."""
        factors = [self._factors(name, samples[name]) for name in self._axes if name not in self._smooth]
        logarithm = log_sum(self._weights, self._matrix, features(self._smooth, samples), factors)
        return None if logarithm is None else logarithm + sum(axis.log_unit for axis in self._smooth.values())

    def _factors(self, name: str, candidates: Floats) -> Factors:
        axis, size = self._axes[name], len(self._weights)
        if isinstance(axis, Choice):
            return axis.factors(self._codes[name][:size], self._kernels, candidates)
        assert isinstance(axis, Stepped)
        return axis.factors(*self._bandwidths[name].distinct(size), candidates)

    def _write(self, place: int, rows: Rows) -> None:
        """The exponents of these rows, of the smooth parameter at this place."""
        name = list(self._smooth)[place]
        widths = self._bandwidths[name]
        square, linear, constant = self._smooth[name].exponents(widths.centre[rows], widths.sigma[rows])
        self._matrix[rows, 2 * place], self._matrix[rows, 2 * place + 1] = square, linear
        self._constants[rows, place] = constant
        self._matrix[rows, -1] = self._constants[rows].sum(axis=1)

    def _extend(self, columns: Mapping[str, Floats], numbers: Rows) -> None:
        start, stop = len(self._numbers) + 1, len(self._numbers) + 1 + len(numbers)
        for name, widths in self._bandwidths.items():
            values = columns[name][numbers]
            widths.extend(start, np.log(values) if self._numeric[name].log else values)
        for name in self._codes:
            self._codes[name] = _with_room(self._codes[name], stop)
            self._codes[name][start:stop] = columns[name][numbers]
        self._matrix, self._constants = _with_room(self._matrix, stop), _with_room(self._constants, stop)
        self._numbers = np.concatenate([self._numbers, numbers])
        self._used = np.concatenate([self._used, np.zeros(len(numbers), dtype=np.bool_)])

    def _weigh(self, rows: Rows) -> None:
        self._kernels = len(rows) + 1
        self._weights = np.zeros(len(self._numbers) + 1)
        self._weights[0] = 1.0
        self._weights[rows] = default_weights(len(rows))
        self._weights /= self._weights.sum()


def features(axes: Mapping[str, Smooth], samples: Mapping[str, Floats]) -> Floats:
    """What the columns of the exponents' matrix are multiplied with: two rows per smooth parameter, and ones."""
    rows = [row for name, axis in axes.items() for row in axis.features(samples[name])]
    return np.array([*rows, np.ones(len(next(iter(samples.values()))))])


def _with_room(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if size <= len(array):
        return array
    extra = np.zeros((max(size, 2 * len(array)) - len(array), *array.shape[1:]), dtype=array.dtype)
    return np.concatenate([array, extra])
