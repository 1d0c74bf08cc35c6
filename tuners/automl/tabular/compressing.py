"""Least squares of any number of rows, in the memory of a few: the rows' triangular factor says all that they do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Compressed:
    """Rows of features and a target, as the R of their QR decomposition, a column of ones before them.

    Adding rows keeps it exact, to rounding: QR by blocks is as stable as QR of all rows.
    """

    def __init__(self, offset: float, factor: Array | None = None, rows: int = 0) -> None:
        """`offset`: about the target's mean, taken from it so that few digits are lost."""
        self.offset, self.rows = offset, rows
        self.factor: Array | None = factor

    def add(self, features: Array, target: Array) -> None:
        """Some more rows."""
        block = np.column_stack([np.ones(len(target)), features, target - self.offset])
        self.rows += len(target)
        rows = block if self.factor is None else np.vstack([self.factor, block])
        factor: Any = np.linalg.qr(rows, mode="r")
        self.factor = factor

    @property
    def centred(self) -> tuple[Array, Array]:
        """Few rows with the same inner products as all rows less their means: features and target."""
        assert self.factor is not None
        return self.factor[1:, 1:-1], self.factor[1:, -1]

    @property
    def means(self) -> tuple[Array, float]:
        """Of the features and of the target."""
        assert self.factor is not None
        first = self.factor[0] / self.factor[0, 0]
        return first[1:-1], float(first[-1]) + self.offset

    def fit(self, estimator: Any) -> dict[str, float]:
        """Fit a linear estimator without an intercept, give it one, and say how well it does on all rows."""
        features, target = self.centred
        estimator.fit(features, target)
        centre, mean = self.means
        estimator.intercept_ = mean - float(centre @ estimator.coef_)
        error = float(np.sum((target - features @ estimator.coef_) ** 2))
        found = {"train_loss": error / self.rows, "rmse": float(np.sqrt(error / self.rows))}
        total = float(target @ target)
        return found if total == 0 else {**found, "r2": 1 - error / total}
