"""Grids: evenly spaced values per parameter, ends included, multiplied in parameter order, the last one fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from tunesmith.domain import Parameter, Scalar, Space
from tunesmith.errors import GridTooLarge, InvalidOptimizer

Counts = int | tuple[int, ...]

MANY = 1000
"""Different conditions in a space; where there are more, a grid that is too large is refused without its exact number."""


def points(space: Space, counts: Counts) -> Iterator[dict[str, Scalar]]:
    """Every point of the grid; an inactive conditional parameter adds no points."""
    axes = [axis(parameter, n) for parameter, n in zip(space, _per_parameter(space, counts), strict=True)]
    return _product(space, axes)


def count(space: Space, counts: Counts, limit: int) -> int:
    """How many points the grid has, reckoned without making them.

    Raises:
        InvalidOptimizer: a count below 2, or not one count per parameter.
        GridTooLarge: more than `limit`.
    """
    partial: dict[tuple[Scalar, ...], int] = {(): 1}  # values that conditions look at -> points so far
    parents: list[str] = []
    for index, (parameter, n) in enumerate(zip(space, _per_parameter(space, counts), strict=True)):
        later = {name for other in space.parameters[index + 1 :] for name in other.when or ()}
        known, parents = [*parents, parameter.name], [name for name in [*parents, parameter.name] if name in later]
        grown: dict[tuple[Scalar, ...], int] = {}
        values = axis(parameter, n) if parameter.name in later and size(parameter, n) <= limit else None
        for context, number in partial.items():
            active = parameter.active({k: v for k, v in zip(known, context, strict=False) if v is not _ABSENT})
            if not active:
                ...
        partial = grown
    return sum(partial.values())
