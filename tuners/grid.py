"""Grids: evenly spaced values per parameter, ends included, multiplied in parameter order, the last one fastest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NoReturn

from tunesmith.domain import Parameter, Scalar, Space
from tunesmith.errors import GridTooLarge, InvalidOptimizer

Counts = int | tuple[int, ...]
Context = tuple[tuple[str, str, Scalar], ...]
"""Name, type and value of the parameters that later conditions look at."""

MANY = 1000
"""With more contexts than this, a grid that is too large is refused without reckoning its exact number."""


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
    numbers = _per_parameter(space, counts)
    last_use = {name: index for index, parameter in enumerate(space) for name in parameter.when or ()}
    partial: dict[Context, int] = {(): 1}
    for index, (parameter, n) in enumerate(zip(space, numbers, strict=True)):
        needed = {name for name, last in last_use.items() if last > index}
        if parameter.name in needed and size(parameter, n) > limit:
            _refuse(limit, size(parameter, n), exact=False)
        partial = _grow(partial, parameter, n, needed)
        if len(partial) > MANY and sum(partial.values()) > limit:
            _refuse(limit, sum(partial.values()), exact=False)
    total = sum(partial.values())
    if total > limit:
        _refuse(limit, total)
    return total


def axis(parameter: Parameter, n: int) -> list[Scalar]:
    """n values of a parameter, ends included: linear, or geometric on a log scale; all choices of a categorical.

    Fewer where the range, or its step, has fewer.
    """
    if parameter.type == "categorical":
        return list(parameter.choices or ())
    low, high = parameter.bounds
    if low == high:
        return [parameter.cast(low)]
    if parameter.log and parameter.type == "int":
        dense = _dense(parameter, n)
        whole = range(int(low), _geometric_int(parameter, n, dense) + 1)
        return [*whole, *(_geometric_int(parameter, n, i) for i in range(dense + 1, n))]
    if parameter.type == "int" or parameter.step is not None:
        return [*map(lattice(parameter), _spread(_lattice_size(parameter), n))]
    value = _geometric if parameter.log else _linear
    return [low, *(min(max(value(low, high, i, n), low), high) for i in range(1, n - 1)), high]


def size(parameter: Parameter, n: int) -> int:
    """How many values the axis has."""
    if parameter.type == "categorical":
        return len(parameter.choices or ())
    low, high = parameter.bounds
    if low == high:
        return 1
    if parameter.log and parameter.type == "int":
        dense = _dense(parameter, n)
        return _geometric_int(parameter, n, dense) - int(low) + 1 + (n - 1 - dense)
    if parameter.type == "int" or parameter.step is not None:
        return min(n, _lattice_size(parameter))
    return n


def highest(parameter: Parameter) -> float:
    """The highest value of an int or float parameter: below the maximum where the step does not divide the range."""
    if parameter.type == "float" and parameter.step is None:
        return parameter.bounds[1]
    return lattice(parameter)(_lattice_size(parameter) - 1)


def lattice(parameter: Parameter) -> Callable[[int], float]:
    """The values of an int parameter, or of a float one with a step, by their index from 0."""
    low, high = parameter.bounds
    if parameter.type == "int":
        first, step = int(low), int(parameter.step or 1)
        return lambda index: first + step * index
    start, width = Decimal(repr(low)), Decimal(repr(parameter.step))
    return lambda index: min(float(start + width * index), high)  # 0.9, not 0.8999999999999999


def _linear(low: float, high: float, i: int, n: int) -> float:
    return low + (high - low) * (i / (n - 1))


def _geometric(low: float, high: float, i: int, n: int) -> float:
    ratio = high / low
    if math.isinf(ratio):
        return math.exp(math.log(low) + (math.log(high) - math.log(low)) * (i / (n - 1)))
    return float(low * ratio ** (i / (n - 1)))


def _geometric_int(parameter: Parameter, n: int, i: int) -> int:
    low, high = parameter.bounds
    if i in (0, n - 1):
        return int(high if i else low)
    return min(max(math.floor(_geometric(low, high, i, n) + 0.5), int(low)), int(high))


def _dense(parameter: Parameter, n: int) -> int:
    """The last index up to which geometric values lie at most 1 apart: rounded, they are every whole number there."""
    low, high = parameter.bounds
    first, last = 0, n - 1
    while first < last:
        middle = (first + last + 1) // 2
        if _geometric(low, high, middle, n) - _geometric(low, high, middle - 1, n) <= 1:
            first = middle
        else:
            last = middle - 1
    return first


def _lattice_size(parameter: Parameter) -> int:
    """How many values a stepped range has."""
    low, high = parameter.bounds
    if parameter.type == "int":
        return (int(high) - int(low)) // int(parameter.step or 1) + 1
    return math.floor(min((high - low) / (parameter.step or 1), 1e300) + 1e-9) + 1


def _spread(size: int, n: int) -> list[int]:
    """At most n indices of a list, evenly spread, both ends included."""
    if n >= size:
        return list(range(size))
    return [(2 * i * (size - 1) + n - 1) // (2 * (n - 1)) for i in range(n)]


def _grow(partial: dict[Context, int], parameter: Parameter, n: int, needed: set[str]) -> dict[Context, int]:
    """One parameter more."""
    grown: dict[Context, int] = {}
    values = [(parameter.name, type(v).__name__, v) for v in axis(parameter, n)] if parameter.name in needed else None
    stay = all(name in needed for name, _type, _value in next(iter(partial)))
    for context, number in partial.items():
        kept = context if stay else tuple(entry for entry in context if entry[0] in needed)
        if parameter.when and not parameter.active({name: value for name, _type, value in context}):
            grown[kept] = grown.get(kept, 0) + number
        elif values is None:
            grown[kept] = grown.get(kept, 0) + number * size(parameter, n)
        else:
            for value in values:
                grown[*kept, value] = grown.get((*kept, value), 0) + number
    return grown


def _per_parameter(space: Space, counts: Counts) -> tuple[int, ...]:
    numbers = (counts,) * max(1, len(space)) if isinstance(counts, int) else counts
    for number in numbers:
        if isinstance(number, bool) or number < 2:
            raise InvalidOptimizer(
                f"optimizer.num_configs_per_param: {number} is below 2; a grid has both ends of every range",
                field="num_configs_per_param",
            )
    if not isinstance(counts, int) and len(numbers) != len(space):
        raise InvalidOptimizer(
            f"optimizer.num_configs_per_param has {len(numbers)} numbers for {len(space)} parameters; "
            "give one for each, or one number for all",
            field="num_configs_per_param",
        )
    return tuple(numbers[: len(space)])


def _product(space: Space, axes: list[list[Scalar]]) -> Iterator[dict[str, Scalar]]:
    """Depth first, with a stack of its own: a space may have more parameters than Python has frames."""
    stack: list[dict[str, Scalar]] = [{}]
    depths = [0]
    while stack:
        point, depth = stack.pop(), depths.pop()
        while depth < len(axes) and not space.parameters[depth].active(point):
            depth += 1
        if depth == len(axes):
            yield point
            continue
        name = space.parameters[depth].name
        stack += [{**point, name: value} for value in reversed(axes[depth])]
        depths += [depth + 1] * len(axes[depth])


def _refuse(limit: int, number: int, exact: bool = True) -> NoReturn:
    spelled = f"{number:,}" if number < 10**15 else f"about 10^{math.log10(number):.0f}"
    raise GridTooLarge(
        f"The grid has {'' if exact else 'more than '}{spelled} points; at most {limit:,} are allowed. "
        "Lower num_configs_per_param, or use a sampler such as tpe with n_iter.",
        field="num_configs_per_param",
        points=number if number < 2**53 else spelled,
        limit=limit,
    )
