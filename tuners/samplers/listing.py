"""Searches that go through a list: the grid, and every point of a finite space; held parameters have one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuners import grid
from tunesmith.domain import Parameter, Scalar, Search, Space
from tunesmith.errors import GridTooLarge, InvalidOptimizer


def pinned(space: Space, fixed: Mapping[str, Scalar]) -> Space:
    """The space with one value for each parameter that is held; not validated, as conditions may look at others."""
    if not fixed:
        return space
    parameters = tuple(_held(p, fixed[p.name]) if p.name in fixed else p for p in space)
    return Space.model_construct(parameters=parameters, constraints=space.constraints)


def listed(space: Space, search: Search) -> Iterator[dict[str, Scalar]]:
    """The points of a grid or of a finite space, in order, those left out that break a parameter constraint."""
    points = grid.points(*_axes(space, search))
    return (point for point in points if all(constraint.holds(point) for constraint in space.expressions))


def count(space: Space, search: Search, limit: int) -> int:
    """How many points there are before constraints are looked at.

    Raises:
        InvalidOptimizer: counts that do not fit the space, or a parameter without an end of values.
        GridTooLarge: more than `limit`.
    """
    if search.type == "grid":
        return grid.count(*_axes(space, search), limit)
    for parameter in pinned(space, search.fixed):
        if parameter.type == "float" and parameter.step is None and parameter.minimum != parameter.maximum:
            raise InvalidOptimizer(
                f"optimizer.type (brute_force): {parameter.name} has no end of values; give it a step, hold it by "
                "fixed, or search with grid or qmc",
                field="type",
            )
    try:
        return grid.count(*_axes(space, search), limit)
    except GridTooLarge as error:
        points = error.details["points"]
        spelled = f"{points:,}" if isinstance(points, int) else points
        raise GridTooLarge(
            f"The space has {spelled} points or more; at most {limit:,} are allowed. "
            "Narrow it, hold parameters by fixed, or use a sampler such as tpe with n_iter.",
            **{**error.details, "field": "type"},
        ) from error


def _axes(space: Space, search: Search) -> tuple[Space, int | tuple[int, ...]]:
    """The space and the number of values per parameter, as grids take them."""
    held = pinned(space, search.fixed)
    if search.type == "grid":
        assert search.num_configs_per_param is not None
        return held, search.num_configs_per_param
    plain = [p.evolve(log=False) if p.type == "int" else p for p in held]  # a log axis leaves numbers out
    return Space.model_construct(parameters=tuple(plain), constraints=held.constraints), tuple(
        2 if p.type == "categorical" else max(2, grid.size(p, 2**62)) for p in plain
    )


def _held(parameter: Parameter, value: Scalar) -> Parameter:
    if parameter.type == "categorical":
        return parameter.evolve(choices=(value,))
    return parameter.evolve(minimum=value, maximum=value, log=False, step=None)
