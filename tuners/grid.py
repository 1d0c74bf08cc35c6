"""Grids: evenly spaced values per parameter, ends included, multiplied in parameter order, the last parameter fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tunesmith.domain import Parameter, Scalar, Space
from tunesmith.errors import GridTooLarge, InvalidOptimizer

Counts = int | tuple[int, ...]


def points(space: Space, counts: Counts) -> Iterator[dict[str, Scalar]]:
    """Every point of the grid; an inactive conditional parameter adds no points."""
    axes = [axis(parameter, n) for parameter, n in zip(space, _per_parameter(space, counts), strict=True)]
    return _product(space, axes, {}, 0)


def count(space: Space, counts: Counts, limit: int) -> int:
    """How many points the grid has.

    Raises:
        InvalidOptimizer: a count below 2, or not one count per parameter.
        GridTooLarge: more than `limit`.
    """
    numbers = _per_parameter(space, counts)
    bound = math.prod(len(axis(parameter, min(n, limit + 1))) for parameter, n in zip(space, numbers, strict=True))
    conditional = any(parameter.when for parameter in space)
    if bound > limit and not conditional:
        _refuse(bound, limit)
    if not conditional:
        return bound
    total = 0
    for total, _point in enumerate(points(space, counts), start=1):
        if total > limit:
            _refuse(bound, limit)
    return total


def axis(parameter: Parameter, n: int) -> list[Scalar]:
    """n values of a parameter, ends included: linear, or geometric on a log scale; all choices of a categorical."""
    if parameter.type == "categorical":
        return list(parameter.choices or ())
    low, high = parameter.bounds
    if low == high:
        return [parameter.cast(low)]
    if parameter.log:
        raw = [low * (high / low) ** (i / (n - 1)) for i in range(n)]
    else:
        raw = [low + (high - low) * i / (n - 1) for i in range(n)]
    raw[0], raw[-1] = low, high
    return list(dict.fromkeys(parameter.cast(_snap(parameter, value)) for value in raw))


def _snap(parameter: Parameter, value: float) -> float:
    low, high = parameter.bounds
    step = parameter.step or (1 if parameter.type == "int" else None)
    if step is None:
        return min(max(value, low), high)
    highest = math.floor((high - low) / step + 1e-9)
    return low + step * min(round((value - low) / step), highest)


def _per_parameter(space: Space, counts: Counts) -> tuple[int, ...]:
    numbers = (counts,) * len(space) if isinstance(counts, int) else counts
    if len(numbers) != len(space):
        raise InvalidOptimizer(
            f"optimizer.num_configs_per_param has {len(numbers)} numbers for {len(space)} parameters; give one for each",
            field="num_configs_per_param",
        )
    for number in numbers:
        if isinstance(number, bool) or number < 2:
            raise InvalidOptimizer(
                f"optimizer.num_configs_per_param: {number} is below 2; a grid has both ends of every range",
                field="num_configs_per_param",
            )
    return tuple(numbers)


def _product(
    space: Space, axes: list[list[Scalar]], point: dict[str, Scalar], depth: int
) -> Iterator[dict[str, Scalar]]:
    if depth == len(axes):
        yield dict(point)
        return
    parameter = space.parameters[depth]
    if not parameter.active(point):
        yield from _product(space, axes, point, depth + 1)
        return
    for value in axes[depth]:
        yield from _product(space, axes, {**point, parameter.name: value}, depth + 1)


def _refuse(number: int, limit: int) -> None:
    raise GridTooLarge(
        f"The grid has {number:,} points; at most {limit:,} are allowed. Lower num_configs_per_param, or use a sampler "
        "such as tpe with n_iter.",
        points=number,
        limit=limit,
    )
