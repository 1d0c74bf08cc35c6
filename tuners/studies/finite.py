"""Finite spaces: which points have a trial, and the next one that has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuners.samplers import listing
from tuners.search.points import key_of
from tunesmith.domain import Point, Scalar, Search, Space
from tunesmith.errors import InvalidOptimizer

LARGEST = 100_000
"""Points of a space whose repeats are looked for; in a larger one they are rare."""


class Untried:
    """The points of a finite space that no trial has."""

    def __init__(self, space: Space, fixed: Mapping[str, Scalar]) -> None:
        """Raises InvalidOptimizer (GridTooLarge among it) where the space is infinite, or larger than LARGEST."""
        every = Search(type="brute_force", fixed=fixed)
        listing.count(space, every, LARGEST)
        self._taken: dict[frozenset[tuple[str, bool, Scalar]], int] = {}
        self._rest: Iterator[dict[str, Scalar]] = listing.listed(space, every)

    def take(self, point: Point, number: int) -> bool:
        """The trial of this number (-1: one that is not written yet) has the point; whether it is the first."""
        return self._taken.setdefault(key_of(point), number) == number

    def __contains__(self, point: Point) -> bool:
        return key_of(point) not in self._taken

    def next(self) -> dict[str, Scalar] | None:
        """Some point that no trial has; None when there is none."""
        return next((point for point in self._rest if point in self), None)


def untried(space: Space, fixed: Mapping[str, Scalar]) -> Untried | None:
    """The points that no trial has yet (all of them); None where the space has no end, or is very large."""
    try:
        return Untried(space, fixed)
    except InvalidOptimizer:
        return None
