"""The trust region: a cube about the best point, whose size follows from how the steps in it went."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tuners.trego.gaussian import Matrix, Vector

FIRST, LARGEST, SMALLEST = 0.2, 0.5, 1e-7
"""Half of the cube's edge, in the unit cube of the space: at first, at most, and where it starts anew."""
GROWTH, SHRINKAGE, PATIENCE = 1.5, 0.5, 4
"""Factors of the edge after a success, and after so many failures."""


def is_local(before: int) -> bool:
    """Whether the step after so many trials is one in the trust region: every other one is."""
    return before % 2 == 1


class TrustRegion(NamedTuple):
    """Where local steps go."""

    centre: Vector
    """The best point, (d,)."""
    radius: float
    """Half of the cube's edge."""

    @classmethod
    def after(cls, points: Matrix, values: Vector, startup: int) -> TrustRegion:
        """The region after these trials (n, d), of which the first `startup` were no steps of the search.

        A trial counts as a step in the region when it was its turn and it lies there, whoever made it: so a restart,
        trials of an earlier job and parallel ones need no records.
        """
        first = max(startup, 1)
        best, radius, failures = int(np.argmin(values[:first])), FIRST, 0
        for index in range(first, len(values)):
            inside = is_local(index) and float(np.abs(points[index] - points[best]).max()) <= radius * (1 + 1e-9)
            if values[index] < values[best]:
                best = index
                if inside:
                    radius, failures = min(radius * GROWTH, LARGEST), 0
            elif inside:
                failures += 1
                if failures == PATIENCE:
                    radius, failures = radius * SHRINKAGE, 0
            if radius < SMALLEST:
                radius = FIRST
        return cls(points[best], radius)

    def nearest(self, points: Matrix, least: int) -> Any:
        """Indices of the points within twice the region, nearest first; from `least` to twice as many."""
        distance = np.abs(points - self.centre).max(axis=1)
        order = np.argsort(distance, kind="stable")
        within = int((distance <= 2 * self.radius).sum())
        return order[: max(least, min(within, 2 * least))]
