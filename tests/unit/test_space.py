"""The search space: what it takes, what it refuses and how it says so, and which points lie in it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.domain import CommandTool, ExperimentSpec, Parameter, Space, same_scalar, space_of

NUMBERS = st.floats(-1e12, 1e12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
RANGE: dict[str, Any] = {"minimum": 1, "maximum": 9}


@st.composite
def parameters(draw: st.DrawFn, name: str = "p") -> Parameter:
    """Any valid parameter without a condition."""
    kind = draw(st.sampled_from(["int", "float", "categorical"]))
    if kind == "categorical":
        choices = draw(
            st.lists(st.integers() | st.text(max_size=5) | st.booleans(), min_size=1, max_size=5, unique_by=repr)
        )
        return Parameter(name=name, type="categorical", choices=tuple(choices))
    if kind == "int":
        low, span = draw(st.integers(-(10**9), 10**9)), draw(st.integers(0, 10**6))
        step = draw(st.none() | st.integers(1, 1000))
        return Parameter(name=name, type="int", minimum=low, maximum=low + span, step=step)
    start, end = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Parameter(name=name, type="float", minimum=start, maximum=end, log=start > 0 and draw(st.booleans()))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any valid space in which every second parameter depends on the one before it, where it can."""
    found: list[Parameter] = []
    for index in range(draw(st.integers(0, 6))):
        parameter = draw(parameters(f"p{index}"))
        if found and index % 2 and (parent := found[-1]).type != "float":
            value = parent.choices[0] if parent.choices else int(parent.minimum or 0)
            parameter = Parameter.model_validate(parameter.model_dump() | {"when": {parent.name: [value]}})
        found.append(parameter)
    return Space(parameters=tuple(found))


def point_in(space: Space, choose: float) -> dict[str, Any]:
    """A point of the space: every active parameter at the given share of its range."""
    point: dict[str, Any] = {}
    for parameter in space:
        if not parameter.active(point):
            continue
        if parameter.choices:
            point[parameter.name] = parameter.choices[
                min(int(choose * len(parameter.choices)), len(parameter.choices) - 1)
            ]
        else:
            low, high = parameter.bounds
            step = parameter.step or (1 if parameter.type == "int" else None)
            value = low + math.floor(choose * (high - low) / step) * step if step else low + choose * (high - low)
            point[parameter.name] = parameter.cast(min(max(value, low), high))
    return point


@given(space=spaces())
def test_a_space_is_its_own_wire_form(space: Space) -> None:
    assert Space.model_validate_json(space.model_dump_json()) == space
    assert space_of(space.model_dump(mode="json")["parameters"]) == space


@given(space=spaces(), choose=st.floats(0, 1))
def test_points_of_the_range_lie_in_the_space_and_keep_their_types(space: Space, choose: float) -> None:
    point = point_in(space, choose)
    assert space.problems(point) == []
    cast = space.cast(dict(reversed(point.items())))
    assert cast == point
    assert list(cast) == [parameter.name for parameter in space if parameter.name in point]
    for parameter in space:
        if parameter.name in cast and parameter.type != "categorical":
            assert type(cast[parameter.name]) is (int if parameter.type == "int" else float)


@given(space=spaces(), choose=st.floats(0, 1))
def test_what_is_missing_or_too_much_or_outside_is_named(space: Space, choose: float) -> None:
    point = point_in(space, choose)
    assert space.problems(point | {"other": 1}) == ["other: no such parameter"]
    for name in point:
        without = {key: value for key, value in point.items() if key != name}
        assert f"{name}: has no value" in space.problems(without)
        outside = space.problems(point | {name: "no such value"})
        assert f"{name}: 'no such value' lies outside its range" in outside


@given(parameter=parameters(), value=SCALARS)
def test_any_scalar_is_inside_or_outside(parameter: Parameter, value: Any) -> None:
    if parameter.contains(value) and parameter.type != "categorical":
        low, high = parameter.bounds
        assert low <= value <= high
        assert parameter.type == "float" or value == int(value)


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (1, True),
        (9, True),
        (5.0, True),
        (0, False),
        (10, False),
        (1.5, False),
        (True, False),
        ("5", False),
        (None, False),
    ],
)
def test_an_int_range_is_inclusive_and_holds_whole_numbers(value: Any, inside: bool) -> None:
    assert Parameter(name="p", type="int", **RANGE).contains(value) is inside


@pytest.mark.parametrize(("value", "inside"), [(0.0, True), (0.3, True), (0.30000000000000004, True), (0.35, False)])
def test_a_step_is_counted_from_the_minimum(value: float, inside: bool) -> None:
    assert Parameter(name="p", minimum=0, maximum=1, step=0.1).contains(value) is inside


def test_one_equals_one_point_zero_but_not_true() -> None:
    assert same_scalar(1, 1.0)
    assert not same_scalar(1, True)
    assert not same_scalar("1", 1)
    one = Parameter(name="p", type="categorical", choices=(1, True, "1"))
    assert one.contains(1.0)
    assert one.contains(True)
    assert not Parameter(name="p", type="categorical", choices=(1,)).contains(True)


def test_a_parameter_exists_under_its_condition_alone() -> None:
    space = space_of(
        [
            {"name": "codec", "type": "categorical", "choices": ["gzip", "zstd"]},
            {"name": "level", "type": "int", "when": {"codec": ["zstd"]}, **RANGE},
        ]
    )
    assert space.problems({"codec": "gzip"}) == []
    assert space.problems({"codec": "zstd", "level": 3}) == []
    assert space.problems({"codec": "gzip", "level": 3}) == [
        "level: does not exist under this configuration (see its `when`)"
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "int"}, "needs minimum and maximum"),
    ({"minimum": 2, "maximum": 1}, "minimum 2 is above maximum 1; swap them"),
    ({"minimum": 0, "maximum": 1, "log": True}, "a log range needs minimum > 0, not 0"),
    ({"minimum": 1, "maximum": 2, "log": True, "step": 0.5}, "log and step cannot be combined"),
    ({"minimum": float("nan"), "maximum": 1}, "finite"),
    ({"minimum": 0, "maximum": float("inf")}, "finite"),
    ({"minimum": 0, "maximum": 1, "step": 0}, "greater than 0"),
    ({"minimum": 0, "maximum": 1, "choices": [1]}, "choices belong to type categorical"),
    ({"type": "int", "minimum": 0.5, "maximum": 2}, "minimum 0.5 is not a whole number"),
    ({"type": "int", "minimum": 0, "maximum": 2, "step": 0.5}, "step 0.5 is not a whole number"),
    ({"type": "int", "minimum": 0, "maximum": 1e300}, "2\\^53"),
    ({"type": "categorical"}, "needs choices"),
    ({"type": "categorical", "choices": []}, "needs choices"),
    ({"type": "categorical", "choices": [1, "a", "a"]}, 'choice "a" stands there twice'),
    ({"type": "categorical", "choices": [float("nan")]}, "finite"),
    ({"type": "categorical", "choices": [1], "minimum": 0}, "minimum does not belong to a categorical"),
    ({"type": "categorical", "choices": [1], "log": True}, "log does not belong to a categorical"),
    ({"type": "double", **RANGE}, "'int', 'float' or 'categorical'"),
    ({"minimum": "a", "maximum": 1}, "valid number"),
    ({**RANGE, "maximun": 3}, "maximun"),
]


@pytest.mark.parametrize(("fields", "complaint"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_bad_parameter_is_refused_with_its_reason(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Parameter.model_validate({"name": "p", **fields})


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a$", "a\n", "${x}", "x" * 201])
def test_a_name_is_an_identifier(name: str) -> None:
    with pytest.raises(ValidationError):
        Parameter.model_validate({"name": name, **RANGE})


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ({"name": "a"}, "two parameters are named 'a'; rename one"),
        ({"name": "b", "when": {"c": [1]}}, "names 'c', which is no earlier parameter"),
        ({"name": "b", "when": {"b": [1]}}, "names 'b', which is no earlier parameter"),
        ({"name": "b", "when": {"x": [0.5]}}, "'x', which is a float"),
        ({"name": "b", "when": {"a": [10]}}, "10 is no value of 'a'"),
        ({"name": "b", "when": {"a": []}}, "needs at least one value"),
    ],
)
def test_a_space_that_does_not_hold_together_is_refused(second: dict[str, Any], complaint: str) -> None:
    first = [{"name": "x", "minimum": 0, "maximum": 1}, {"name": "a", "type": "int", **RANGE}]
    with pytest.raises(ValidationError, match=complaint):
        space_of([*first, {**RANGE, **second}])


def content_of(**parameter: Any) -> str:
    space = space_of([{"name": "n", **parameter}])
    return ExperimentSpec(tool_name="t", tool=CommandTool(command="true"), space=space).content_hash


def test_an_int_parameters_range_is_written_in_ints() -> None:
    parameter = Parameter.model_validate({"name": "n", "type": "int", "minimum": 1.0, "maximum": 9, "step": 2.0})
    assert '"minimum":1,"maximum":9,"log":false,"step":2,' in parameter.model_dump_json()
    assert '"minimum":1.0,' in Parameter(name="x", minimum=1, maximum=2).model_dump_json()


@pytest.mark.parametrize("said", [{"minimum": 1.0}, {"step": 1}, {"step": 1.0}, {"when": {}}, {"log": False}])
def test_what_says_nothing_new_is_the_same_content(said: dict[str, Any]) -> None:
    plain = {"type": "int", "minimum": 1, "maximum": 9}
    assert content_of(**plain | said) == content_of(**plain)
    assert content_of(**plain, step=2) != content_of(**plain)


def test_a_float_parameter_with_step_1_is_not_one_without() -> None:
    plain = {"type": "float", "minimum": 1, "maximum": 9}
    assert content_of(**plain, step=1) != content_of(**plain)


@pytest.mark.parametrize("choices", [[1, 1.0], [True, True], ["a", "b", "a"], [None, None]])
def test_equal_choices_are_refused_however_they_are_written(choices: list[Any]) -> None:
    with pytest.raises(ValidationError, match="stands there twice"):
        Parameter(name="c", type="categorical", choices=tuple(choices))


def test_choices_that_differ_in_type_are_two() -> None:
    assert len(Parameter(name="c", type="categorical", choices=(1, True, "1", 0, False, None)).choices or ()) == 6
