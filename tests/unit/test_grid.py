"""Grids: evenly spaced, ends included, in parameter order; too large ones are refused before they are made."""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuners import grid
from tunesmith.domain import Parameter, Space, space_of
from tunesmith.errors import GridTooLarge, InvalidOptimizer

LIMIT = 100_000


def parameter(minimum: float | None = None, maximum: float | None = None, **fields: Any) -> Parameter:
    return Parameter(**{"name": "x", "minimum": minimum, "maximum": maximum} | fields)


def whole(minimum: float, maximum: float, **fields: Any) -> Parameter:
    return parameter(minimum, maximum, type="int", **fields)


CODEC = space_of(
    [
        {"name": "codec", "type": "categorical", "choices": ["gzip", "zstd", "none"]},
        {"name": "level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["gzip", "zstd"]}},
        {"name": "window", "type": "int", "minimum": 10, "maximum": 30, "when": {"codec": ["zstd"]}},
        {"name": "x", "minimum": 0, "maximum": 1},
    ]
)


@pytest.mark.parametrize(
    ("dimension", "n", "values"),
    [
        (parameter(0, 1), 2, [0.0, 1.0]),
        (parameter(0, 1), 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (parameter(1, 2), 11, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]),
        (parameter(-1, 1), 3, [-1.0, 0.0, 1.0]),
        (parameter(3, 3), 5, [3.0]),
        (parameter(0, 1, step=0.3), 2, [0.0, 0.9]),
        (parameter(0, 1, step=0.25), 9, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (parameter(0, 1, step=5), 3, [0.0]),
        (whole(1, 10), 2, [1, 10]),
        (whole(1, 10), 4, [1, 4, 7, 10]),
        (whole(1, 10), 3, [1, 6, 10]),
        (whole(1, 3), 10, [1, 2, 3]),
        (whole(-3, 3), 3, [-3, 0, 3]),
        (whole(7, 7), 3, [7]),
        (whole(1, 22, step=5), 3, [1, 11, 21]),
        (whole(1, 22, step=5), 99, [1, 6, 11, 16, 21]),
        (whole(-(2**53), 2**53), 3, [-(2**53), 0, 2**53]),
        (whole(2**53 - 2, 2**53), 3, [2**53 - 2, 2**53 - 1, 2**53]),
        (whole(-(2**53), 2**53 - 1), 2, [-(2**53), 2**53 - 1]),
        (whole(1, 1000, log=True), 4, [1, 10, 100, 1000]),
        (whole(1, 8, log=True), 100, [1, 2, 3, 4, 5, 6, 7, 8]),
        (whole(1, 100, log=True), 7, [1, 2, 5, 10, 22, 46, 100]),
        (parameter(type="categorical", choices=["a", 1, True, None]), 2, ["a", 1, True, None]),
    ],
)
def test_an_axis_is_spread_evenly(dimension: Parameter, n: int, values: list[Any]) -> None:
    assert grid.axis(dimension, n) == values
    assert [type(value) for value in grid.axis(dimension, n)] == [type(value) for value in values]
    assert grid.size(dimension, n) == len(values)


def test_a_log_axis_is_geometric() -> None:
    values = grid.axis(parameter(1e-5, 1e-1, log=True), 9)
    assert (values[0], values[-1]) == (1e-5, 1e-1)
    ratios = [float(b) / float(a) for a, b in pairwise(values) if a and b]  # type: ignore[arg-type]
    assert all(math.isclose(ratio, ratios[0]) for ratio in ratios)
    assert len(grid.axis(parameter(1e-300, 1e300, log=True), 7)) == 7


lows = st.integers(-(2**40), 2**40) | st.integers(-20, 20)
widths = st.integers(0, 60) | st.integers(0, 2**45)
dimensions = st.one_of(
    st.builds(lambda low, width: whole(low, low + width), lows, widths),
    st.builds(lambda low, width: whole(abs(low) + 1, abs(low) + 1 + width, log=True), lows, widths),
    st.builds(lambda low, width, step: whole(low, low + width, step=step), lows, widths, st.integers(1, 30)),
    st.builds(lambda low, width: parameter(low, low + width), st.floats(-1e6, 1e6), st.floats(0, 1e6)),
    st.builds(
        lambda low, width, step: parameter(low, low + width, step=step),
        st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(1e-3, 1e6),
    ),
    st.builds(lambda low, factor: parameter(low, low * factor, log=True), st.floats(1e-9, 1e9), st.floats(1, 1e9)),
)  # fmt: skip


@given(dimensions, st.integers(2, 40) | st.integers(2, 2000))
def test_an_axis_lies_in_its_range_and_has_both_ends(dimension: Parameter, n: int) -> None:
    values = [float(value) for value in grid.axis(dimension, n)]  # type: ignore[arg-type]
    assert all(dimension.contains(dimension.cast(value)) for value in values)
    assert values[0] == dimension.minimum
    _low, high = dimension.bounds
    assert high - values[-1] < (dimension.step or 1e-9) + 1e-9 * abs(high)
    assert len(values) == grid.size(dimension, n) <= max(n, 1)
    assert values == sorted(values)
    if dimension.type == "int":
        assert len(set(values)) == len(values)


def test_the_product_is_in_parameter_order_with_the_last_one_fastest() -> None:
    space = space_of(
        [
            {"name": "a", "type": "int", "minimum": 1, "maximum": 2},
            {"name": "b", "type": "categorical", "choices": ["x", "y", "z"]},
        ]
    )
    assert [tuple(point.values()) for point in grid.points(space, 2)] == [
        (1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z"),
    ]  # fmt: skip


def test_a_list_gives_each_parameter_its_own_number() -> None:
    space = space_of([{"name": name, "minimum": 0, "maximum": 1} for name in "abc"])
    found = list(grid.points(space, (2, 3, 4)))
    assert len(found) == grid.count(space, (2, 3, 4), LIMIT) == 24
    assert {len({point[name] for point in found}) for name in "abc"} == {2, 3, 4}


def test_an_inactive_parameter_adds_no_points() -> None:
    found = list(grid.points(CODEC, 3))
    assert len(found) == grid.count(CODEC, 3, LIMIT) == 3 * (3 + 9 + 1)
    assert not any(CODEC.problems(point) for point in found)
    assert len({tuple(point.items()) for point in found}) == len(found)


def test_a_space_without_parameters_has_one_point() -> None:
    space = space_of([])
    assert list(grid.points(space, 2)) == list(grid.points(space, ())) == [{}]
    assert grid.count(space, 2, LIMIT) == 1


def test_conditions_tell_true_from_one() -> None:
    space = space_of(
        [
            {"name": "a", "type": "categorical", "choices": [True, 1, "1"]},
            {"name": "b", "minimum": 0, "maximum": 1, "when": {"a": [True]}},
            {"name": "c", "minimum": 0, "maximum": 1, "when": {"a": [1]}},
        ]
    )
    assert grid.count(space, 4, LIMIT) == len(list(grid.points(space, 4))) == 4 + 4 + 1


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    parameters: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 5))):
        fields: dict[str, Any] = {"name": f"p{index}"}
        if draw(st.booleans()):
            fields |= {"type": "categorical", "choices": draw(st.sampled_from([["a"], ["a", "b"], [True, 1, 2]]))}
        else:
            low = draw(st.integers(-5, 5))
            fields |= {"type": "int", "minimum": low, "maximum": low + draw(st.integers(0, 9))}
        parents = [p for p in parameters if draw(st.booleans())]
        if parents:
            fields["when"] = {
                p["name"]: [draw(st.sampled_from(p["choices"] if "choices" in p else [p["minimum"], p["maximum"]]))]
                for p in parents
            }
        parameters.append(fields)
    return space_of(parameters)


@given(spaces(), st.integers(2, 6))
def test_the_number_is_that_of_the_points(space: Space, n: int) -> None:
    found = list(grid.points(space, n))
    assert grid.count(space, n, 10**9) == len(found)
    assert not any(space.problems(point) for point in found)
    if len(found) > 1:
        with pytest.raises(GridTooLarge):
            grid.count(space, n, len(found) - 1)


# Refusals


def refused(space: Space, counts: Any, limit: int = LIMIT) -> GridTooLarge:
    begun = time.thread_time()
    with pytest.raises(GridTooLarge) as caught:
        grid.count(space, counts, limit)
    assert time.thread_time() - begun < 1.0
    return caught.value


def test_a_million_points_are_refused_with_their_number() -> None:
    error = refused(space_of([{"name": f"p{i}", "minimum": 0, "maximum": 1} for i in range(6)]), 10)
    assert error.message.startswith("The grid has 1,000,000 points; at most 100,000 are allowed. Lower ")
    assert error.details == {"field": "num_configs_per_param", "points": 1_000_000, "limit": LIMIT}


@pytest.mark.parametrize(
    "fields", [{"minimum": 0, "maximum": 1}, {"type": "int", "log": True, "minimum": 1, "maximum": 2**53}]
)
def test_a_thousand_parameters_are_refused_as_fast(fields: dict[str, Any]) -> None:
    space = space_of([{"name": f"p{i}"} | fields for i in range(1000)])
    assert "about 10^1000 points" in refused(space, 10).message
    assert "about 10^" in refused(space, 10**9).message
    refused(space, 10**50)


def test_conditional_grids_are_refused_with_their_own_number() -> None:
    assert refused(CODEC, 3, limit=38).details["points"] == 39
    huge = [{"name": "kind", "type": "categorical", "choices": ["a", "b"]}]
    huge += [{"name": f"p{i}", "minimum": 0, "maximum": 1, "when": {"kind": ["a"]}} for i in range(6)]
    assert refused(space_of(huge), 10).details["points"] == 1_000_001


def test_many_conditions_are_refused_without_an_exact_number() -> None:
    names = [f"p{i}" for i in range(30)]
    fields: list[dict[str, Any]] = [{"name": name, "type": "categorical", "choices": ["a", "b"]} for name in names]
    space = space_of([*fields, {"name": "x", "minimum": 0, "maximum": 1, "when": {name: ["a"] for name in names}}])
    assert "more than" in refused(space, 2).message
    wide = space_of(
        [
            {"name": "a", "type": "int", "minimum": 0, "maximum": 2**50},
            {"name": "b", "minimum": 0, "maximum": 1, "when": {"a": [0]}},
        ]
    )
    assert "more than" in refused(wide, 10**12).message


@pytest.mark.parametrize("counts", [1, 0, -5, (2, 1), True])
def test_less_than_two_values_are_refused(counts: Any) -> None:
    with pytest.raises(InvalidOptimizer, match="is below 2; a grid has both ends") as caught:
        grid.count(space_of([{"name": name, "minimum": 0, "maximum": 1} for name in "ab"]), counts, LIMIT)
    assert caught.value.details["field"] == "num_configs_per_param"


@pytest.mark.parametrize("counts", [(), (2,), (2, 2, 2)])
def test_a_list_of_another_length_is_refused(counts: Any) -> None:
    with pytest.raises(InvalidOptimizer, match=f"has {len(counts)} numbers for 2 parameters; give one for each"):
        grid.count(space_of([{"name": name, "minimum": 0, "maximum": 1} for name in "ab"]), counts, LIMIT)
