"""Points under constraints: drawn in the space, found however narrow the region, and repaired to what is near."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuners.feasible import Constraints, draw, feasible, find, repair
from tunesmith.domain import Parameter, Space, space_of
from tunesmith.domain.expression import parse

SEEDS = st.integers(0, 2**32 - 1)


def number(name: str, low: float = 0, high: float = 1, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "float", "minimum": low, "maximum": high, **fields}


def whole(name: str, low: int, high: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "int", "minimum": low, "maximum": high, **fields}


def choice(name: str, *choices: Any, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "choices": list(choices), **fields}


def constraints_on(space: Space, *texts: str) -> Constraints:
    types = {parameter.name: parameter.type for parameter in space}
    return [parse(text, types) for text in texts]


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Spaces of a, b, c, ...: all kinds of ranges, some under conditions."""
    found: list[Parameter] = []
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        kind = draw(st.integers(0, 5))
        low, high = sorted((draw(st.integers(-9, 30)), draw(st.integers(-9, 30))))
        fields = [
            number(name, low, high),
            number(name, low / 7, high / 7, step=0.1),
            number(name, (low + 10) / 1000, (high + 11) * 1000, log=True),
            whole(name, low, high, step=draw(st.integers(1, 4))),
            whole(name, low + 10, (high + 11) ** 4, log=True),
            choice(name, *draw(st.lists(st.sampled_from(["x", 1, 2.5, True, None]), min_size=1, unique=True))),
        ][kind]
        parents = [parameter for parameter in found if parameter.type == "categorical"]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            fields["when"] = {parent.name: draw(st.lists(st.sampled_from(parent.choices or ()), min_size=1))}
        found.append(Parameter(**fields))
    return Space(parameters=tuple(found))


@st.composite
def constrained_spaces(draw: st.DrawFn) -> tuple[Space, Constraints]:
    """Spaces with constraints among their parameters, feasible or not."""
    space = draw(spaces())
    names = st.sampled_from([parameter.name for parameter in space])
    terms = (
        st.builds("{}".format, names)
        | st.builds("{} + {}".format, names, names)
        | st.builds("{} * {}".format, names, names)
        | st.builds("{} - 2 * {}".format, names, names)
        | st.builds("log({})".format, names)
    )
    numbers = st.integers(-5, 60).map(str)
    texts = (
        st.builds("{} {} {}".format, terms, st.sampled_from(["<", "<=", ">", ">=", "!="]), terms | numbers)
        | st.builds("{} == 'x' or {} <= {}".format, names, terms, numbers)
        | st.builds("abs({} - {}) <= 0.5".format, names, numbers)
        | st.builds("{} in ['x', 2.5, true] or {} % 3 == 0".format, names, names)
    )
    constraints: list[Any] = []
    types = {parameter.name: parameter.type for parameter in space}
    for text in draw(st.lists(texts, min_size=1, max_size=3)):
        try:
            constraints.append(parse(text, types))
        except ValueError:  # it compares a number with a text
            continue
    return space, constraints


@given(space=spaces(), seed=SEEDS, legacy=st.booleans())
def test_draws_lie_in_the_space_in_its_types(space: Space, seed: int, legacy: bool) -> None:
    rng = np.random.RandomState(seed) if legacy else np.random.default_rng(seed)
    for _ in range(20):
        point = draw(space, rng)
        assert space.problems(point) == []
        cast = space.cast(point)
        assert [(name, type(value), value) for name, value in point.items()] == [
            (name, type(value), value) for name, value in cast.items()
        ]


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        (whole("a", 3, 9), range(3, 10)),
        (whole("a", 3, 10, step=3), [3, 6, 9]),
        (number("a", 0, 1, step=0.3), [0.0, 0.3, 0.6, 0.9]),
        (choice("a", "x", None, True, 1), ["x", None, True, 1]),
    ],
)
def test_countable_values_are_drawn_equally_often(fields: dict[str, Any], values: Any) -> None:
    rng, space = np.random.default_rng(1), space_of([fields])
    counts = Counter((type(value), value) for value in (draw(space, rng)["a"] for _ in range(4000)))
    assert set(counts) == {(type(value), value) for value in values}
    share = 4000 / len(counts)
    assert all(abs(count - share) < 5 * math.sqrt(share) for count in counts.values())


@pytest.mark.parametrize(
    ("fields", "middle"),
    [(number("a", 0.01, 100, log=True), 1), (number("a", -1, 3), 1), (whole("a", 1, 10_000, log=True), 84)],
)
def test_half_of_the_draws_lie_below_the_middle_of_the_scale(fields: dict[str, Any], middle: float) -> None:
    rng, space = np.random.default_rng(1), space_of([fields])
    below = sum(float(draw(space, rng)["a"]) <= middle for _ in range(4000))  # type: ignore[arg-type]
    assert abs(below - 2000) < 5 * math.sqrt(1000)


AB = [number("a"), number("b")]
FLAGS = [choice(f"f{index}", True, False) for index in range(30)]
NARROW: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a band": (AB, ["abs(a - b) <= 1e-3"]),
    "a hair": (AB, ["abs(a - b) <= 1e-9"]),
    "a line": (AB, ["a + b == 1"]),
    "a crossing": (AB, ["abs(a + b - 1) <= 1e-9 and abs(a - b - 0.2) <= 1e-9"]),
    "two neighbours": ([number("lo", 0, 1e6), number("hi", 0, 1e6)], ["lo < hi < lo + 0.001"]),
    "an order": ([number(name) for name in "abcdefgh"], ["a < b < c < d", "d < e < f < g < h"]),
    "a sum of ints": ([whole(name, 0, 10**6) for name in "abc"], ["a + b + c == 10"]),
    "several sums": ([whole(name, 0, 1000) for name in "abcd"], ["a + b + c + d == 1000", "a - b == 17", "c * 2 == d"]),
    "steps": ([number(name, step=0.1) for name in "abc"], ["abs(a + b + c - 1) < 1e-9"]),
    "multiples": ([whole("a", 1, 10**5), whole("b", 1, 10**5)], ["a % 64 == 0", "b % a == 0", "b > a"]),
    "a product": (
        [number("a", 0.001, 1000, log=True), number("b", 0.001, 1000, log=True)], ["abs(a * b - 1) <= 1e-6", "a > 100"],
    ),
    "a circle and a cubic": (
        [number("x", -2, 2), number("y", -2, 2)], ["abs(x**2 + y**2 - 1) <= 1e-6", "abs(y - x**3) < 1e-6"],
    ),
    "guards": ([number("x", -10, 10), number("y", -10, 10)], ["log(x) > 2", "1 / y > 50", "sqrt(x - y) < 2.9"]),
    "implications": (
        [choice("codec", "zstd", "gzip", "none"), whole("level", 1, 22), whole("window", 1, 10**6)],
        ["codec != 'zstd' or level <= 2", "codec == 'zstd' or window == 15", "codec != 'none' and codec != 'gzip'"],
    ),
    "a branch": (
        [choice("codec", "gzip", "zstd"), whole("level", 1, 10**6, when={"codec": ["zstd"]}), number("x")],
        ["codec == 'zstd'", "level == 777_777"],
    ),
    "clauses": (
        FLAGS,
        [f"f{7 * i % 30} == {str(i % 3 > 0).lower()} or f{(11 * i + 3) % 30} == {str(i % 2 > 0).lower()}"
         f" or f{(13 * i + 5) % 30} == true" for i in range(90)],
    ),
    "a simplex": ([number(f"w{i}") for i in range(30)], [" + ".join(f"w{i}" for i in range(30)) + " <= 1"]),
    "two of many": ([*AB, *(number(f"p{i}") for i in range(300))], ["abs(a - b) <= 1e-3"]),
}  # fmt: skip


@pytest.mark.parametrize("case", NARROW)
def test_narrow_regions_are_found_and_repaired_into(case: str) -> None:
    parameters, texts = NARROW[case]
    space = space_of(parameters)
    constraints = constraints_on(space, *texts)
    for seed in range(3):
        found = find(space, constraints, seed)
        assert found.point is not None
        assert feasible(constraints, found.point)
        assert space.problems(found.point) == []
        assert find(space, constraints, seed) == found
        rng = np.random.default_rng(seed)
        repaired = repair(space, constraints, draw(space, rng), [found.point], rng)
        assert feasible(constraints, repaired)
        assert space.problems(repaired) == []


def test_a_small_finite_space_without_a_point_is_refused_for_certain() -> None:
    space = space_of(
        [whole("a", 0, 10), whole("b", 1, 10, log=True), number("c", step=0.25), number("d", 2, 2), choice("e", 1, 2)]
    )
    found = find(space, constraints_on(space, "a + b + c + d + e == 24.8"), 0)
    assert (found.point, found.exhaustive) == (None, True)
    found = find(space, constraints_on(space, "a + b + c + d + e >= 25"), 0)
    assert found.point == {"a": 10, "b": 10, "c": 1.0, "d": 2.0, "e": 2}


def test_in_an_endless_space_not_finding_is_no_proof() -> None:
    space = space_of(AB)
    found = find(space, constraints_on(space, "a + b > 2"), 0)
    assert (found.point, found.exhaustive) == (None, False)
    assert found.tries > 1000


def test_a_space_without_constraints_has_a_point() -> None:
    space = space_of(AB)
    found = find(space, [], 0).point
    assert found is not None
    assert space.problems(found) == []


@settings(max_examples=60)
@given(case=constrained_spaces(), seed=SEEDS, data=st.data())
def test_repaired_points_lie_in_the_space_and_satisfy_the_constraints(
    case: tuple[Space, Constraints], seed: int, data: st.DataObject
) -> None:
    space, constraints = case
    rng = np.random.default_rng(seed)
    points = [draw(space, rng) for _ in range(60)]
    infeasible = [point for point in points if not feasible(constraints, point)]
    assume(len(infeasible) < 60)  # else the search may take its second
    found = find(space, constraints, seed)
    assert found.point is not None
    assert space.problems(found.point) == []
    assert feasible(constraints, found.point)
    anchors = [*infeasible, found.point, *infeasible]
    strange = data.draw(st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from([-1e9, 1e9, 0.5, "x", None, True])))
    for proposal in (draw(space, rng), draw(space, rng), strange):
        state = rng.bit_generator.state
        repaired = repair(space, constraints, proposal, anchors, rng)
        assert space.problems(repaired) == []
        assert feasible(constraints, repaired)
        if space.problems(proposal) == [] and feasible(constraints, proposal):
            assert repaired == proposal
        rng.bit_generator.state = state
        assert repair(space, constraints, proposal, anchors, rng) == repaired


@pytest.mark.parametrize("text", ["a + b <= 1", "abs(a - b) <= 1e-3", "a <= b", "a**2 + b**2 <= 0.25", "a + b == 1"])
def test_a_repair_stays_near_the_proposal(text: str) -> None:
    space = space_of(AB)
    constraints = constraints_on(space, text)
    inside = np.array([[i / 200, j / 200] for i in range(201) for j in range(201)])
    inside = np.array([row for row in inside if feasible(constraints, {"a": float(row[0]), "b": float(row[1])})])
    rng = np.random.default_rng(1)
    anchors = [find(space, constraints, seed).point or {} for seed in range(5)]
    excess = []
    for _ in range(30):
        proposal = np.array([rng.random(), rng.random()])
        repaired = repair(space, constraints, {"a": proposal[0], "b": proposal[1]}, anchors, rng)
        moved = math.dist(proposal, [float(str(repaired["a"])), float(str(repaired["b"]))])
        excess.append(moved - np.linalg.norm(inside - proposal, axis=1).min())
    assert np.mean(excess) < 0.05
    assert max(excess) < 0.25


def test_a_repair_changes_no_more_than_it_must() -> None:
    space = space_of([choice("codec", "gzip", "zstd"), whole("level", 1, 22), number("x"), number("y")])
    constraints = constraints_on(space, "codec == 'gzip' or level <= 9")
    anchor = {"codec": "gzip", "level": 1, "x": 0.1, "y": 0.1}
    rng = np.random.default_rng(0)
    repaired = repair(space, constraints, {"codec": "zstd", "level": 12, "x": 0.7, "y": 0.3}, [anchor], rng)
    assert repaired == {"codec": "zstd", "level": 9, "x": 0.7, "y": 0.3}


def test_where_nothing_else_is_feasible_a_repair_comes_to_the_anchor() -> None:
    space = space_of([*AB, choice("codec", "gzip", "zstd"), whole("level", 1, 9, when={"codec": ["zstd"]})])
    text = "floor(a * 1e12) % 9973 == 17 and floor(b * 1e12) % 9973 == 5 and codec == 'zstd' and level == 3"
    constraints = constraints_on(space, text)
    anchor = {"a": (9973 * 10**7 + 17.5) / 1e12, "b": (9973 * 2**20 + 5.5) / 1e12, "codec": "zstd", "level": 3}
    assert feasible(constraints, anchor)
    far = {"a": 0.9, "b": 0.9, "codec": "gzip"}
    rng = np.random.RandomState(0)
    assert feasible(constraints, repair(space, constraints, far, [far] * 300 + [anchor] + [far] * 300, rng))


def test_a_repair_without_anchors_searches_or_says_what_it_needs() -> None:
    space = space_of(AB)
    rng = np.random.default_rng(0)
    constraints = constraints_on(space, "abs(a - b) <= 1e-6")
    assert feasible(constraints, repair(space, constraints, {"a": 0.1, "b": 0.9}, [], rng))
    with pytest.raises(ValueError, match="give a feasible one as an anchor"):
        repair(space, constraints_on(space, "a + b > 2"), {"a": 0.1, "b": 0.9}, [], rng)
