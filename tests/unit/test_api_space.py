"""Spaces as scripts write them, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from tuners import Choice, Float, Int
from tunesmith.client.tune_space import parameters_of
from tunesmith.domain import Parameter
from tunesmith.errors import InvalidSpace


def test_every_kind_of_dimension_becomes_the_domains_parameter() -> None:
    space = {
        "x": Float(-5, 5, step=0.5),
        "rate": Float(1e-5, 1e-1, log=True),
        "layers": Int(1, 8),
        "width": Int(16, 256, step=16),
        "kind": Choice("a", "b"),
        "flag": [True, False],
        "depth": {"type": "int", "minimum": 1, "maximum": 3},
    }
    assert parameters_of(space) == (
        Parameter(name="x", minimum=-5, maximum=5, step=0.5),
        Parameter(name="rate", minimum=1e-5, maximum=1e-1, log=True),
        Parameter(name="layers", type="int", minimum=1, maximum=8),
        Parameter(name="width", type="int", minimum=16, maximum=256, step=16),
        Parameter(name="kind", type="categorical", choices=("a", "b")),
        Parameter(name="flag", type="categorical", choices=(True, False)),
        Parameter(name="depth", type="int", minimum=1, maximum=3),
    )


def test_choices_are_given_one_by_one_or_as_a_list() -> None:
    listed, single = parameters_of({"a": Choice(["x", "y"]), "b": Choice("only")})
    assert listed.choices == ("x", "y")
    assert single.choices == ("only",)


def test_a_condition_is_one_value_or_several() -> None:
    _, once, twice = parameters_of(
        {"kind": Choice("a", "b", "c"), "x": Float(0, 1, when={"kind": "a"}), "n": Int(1, 2, when={"kind": ["a", "b"]})}
    )
    assert once.when == {"kind": ("a",)}
    assert twice.when == {"kind": ("a", "b")}


def test_a_list_of_whole_parameters_is_a_space_too() -> None:
    parameter = Parameter(name="x", minimum=0, maximum=1)
    assert parameters_of([parameter, {"name": "y", "minimum": 0, "maximum": 1}])[1].name == "y"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (Float(5, -5), "parameter 'x': minimum 5 is above maximum -5; swap them"),
        (Float(0, 1, log=True), "parameter 'x': a log range needs minimum > 0, not 0"),
        (Choice(), "parameter 'x': a categorical parameter needs choices"),
        (Choice("a", "a"), "stands there twice"),
        ((0, 1), "(0, 1) says no range; write Float(low, high)"),
        (3, "3 says no range"),
        ({"minimum": "low", "maximum": 1}, "parameter 'x': minimum: Input should be a valid number"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said_with_its_name(given: Any, problem: str) -> None:
    with pytest.raises(InvalidSpace) as refused:
        parameters_of({"x": given})
    assert problem in refused.value.message
    assert refused.value.details["parameter"] == "x"


def test_dimensions_show_themselves_as_they_were_written() -> None:
    assert repr(Float(0, 1, log=True)) == "Float(0, 1, log=True)"
    assert repr(Int(1, 9, step=2, when={"a": 1})) == "Int(1, 9, step=2, when={'a': 1})"
    assert repr(Choice("a", None)) == "Choice('a', None)"
