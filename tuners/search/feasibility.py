"""Parameter constraints in a search: whether a point keeps them, and the nearest one that does."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tuners import feasible
from tuners.samplers.seeds import seed_of
from tunesmith.domain import Point, Scalar, Space


class Feasibility:
    """The parameter constraints of a space. What is repaired follows from the seed, the point and the trial alone."""

    def __init__(self, space: Space, seed: int) -> None:
        """`space` has one value for each parameter that is held."""
        self._space, self._seed = space, seed
        self._constraints = space.expressions

    def holds(self, point: Point) -> bool:
        """Whether the point keeps all constraints."""
        return feasible.feasible(self._constraints, point)

    def repaired(self, point: Point, number: int) -> dict[str, Scalar]:
        """The nearest point found that keeps the constraints; the point itself when it does."""
        if self.holds(point):
            return dict(point)
        rng = np.random.default_rng(seed_of(self._seed, number, "repair"))
        return feasible.repair(self._space, self._constraints, point, self._anchors, rng)

    @cached_property
    def _anchors(self) -> list[dict[str, Scalar]]:
        found = feasible.find(self._space, self._constraints, self._seed).point
        return [] if found is None else [found]
