"""What `auto` chooses, and why."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuners import auto
from tuners.samplers import SAMPLERS
from tuners.samplers.resolving import check_options
from tunesmith.domain import Space, space_of

EVERY = ("trego", "gp", "tpe", "cmaes", "nsga2", "nsga3", "qmc", "random", "brute_force")
NUMBERS = space_of([{"name": f"x{i}", "minimum": -5, "maximum": 5} for i in range(5)])
ONE = space_of([{"name": "x", "minimum": 0, "maximum": 1}])
TWENTY = space_of([{"name": f"x{i}", "minimum": 0, "maximum": 1} for i in range(20)])
HUNDREDS = space_of([{"name": f"x{i}", "minimum": 0, "maximum": 1} for i in range(300)])
MIXED = space_of(
    [{"name": "codec", "type": "categorical", "choices": ["a", "b"]}, {"name": "x", "maximum": 1, "minimum": 0}]
)
CONDITIONAL = space_of(
    [
        {"name": "codec", "type": "categorical", "choices": ["a", "b"]},
        {"name": "level", "minimum": 0, "maximum": 1, "when": {"codec": ["a"]}},
    ]
)
COARSE = space_of([{"name": f"n{i}", "type": "int", "minimum": 0, "maximum": 3} for i in range(9)])
TWELVE = space_of(
    [
        {"name": "threads", "type": "int", "minimum": 1, "maximum": 4},
        {"name": "codec", "type": "categorical", "choices": ["a", "b", "c"]},
    ]
)


def chosen(
    space: Space,
    trials: int | None = 100,
    *,
    objectives: int = 1,
    constrained: bool = False,
    concurrency: int | None = 1,
    there: Collection[str] = EVERY,
) -> auto.Choice:
    return auto.choose(space, objectives, constrained, trials, concurrency, there.__contains__)


@pytest.mark.parametrize(
    ("space", "given", "name"),
    [
        (NUMBERS, {"trials": 200}, "trego"),
        (ONE, {"trials": 30}, "trego"),
        (NUMBERS, {"trials": 500}, "cmaes"),
        (TWENTY, {"trials": 1000}, "trego"),
        (TWENTY, {"trials": 1001}, "cmaes"),
        (ONE, {"trials": 5000}, "tpe"),
        (NUMBERS, {"trials": None}, "tpe"),
        (NUMBERS, {"trials": 900, "concurrency": 64}, "cmaes"),
        (NUMBERS, {"constrained": True}, "gp"),
        (NUMBERS, {"constrained": True, "trials": 2000}, "tpe"),
        (HUNDREDS, {"trials": 500}, "tpe"),
        (HUNDREDS, {"trials": 5000}, "cmaes"),
        (COARSE, {"trials": 100}, "tpe"),
        (COARSE, {"trials": 1000}, "tpe"),
        (MIXED, {}, "tpe"),
        (CONDITIONAL, {}, "tpe"),
        (MIXED, {"objectives": 2, "trials": 100}, "gp"),
        (CONDITIONAL, {"objectives": 2, "trials": 100}, "tpe"),
        (NUMBERS, {"objectives": 2, "trials": 500}, "tpe"),
        (NUMBERS, {"objectives": 2, "trials": 5000}, "nsga2"),
        (NUMBERS, {"objectives": 5, "trials": 5000}, "nsga3"),
        (NUMBERS, {"objectives": 5, "trials": 100}, "tpe"),
        (NUMBERS, {"objectives": 2, "trials": None}, "nsga2"),
        (NUMBERS, {"trials": 8}, "qmc"),
        (CONDITIONAL, {"trials": 8}, "random"),
        (NUMBERS, {"trials": 100, "concurrency": 80}, "qmc"),
        (TWELVE, {"trials": 12}, "brute_force"),
        (TWELVE, {"trials": None}, "brute_force"),
        (TWELVE, {"trials": 11}, "tpe"),
        (space_of([]), {"trials": 1}, "brute_force"),
    ],
)
def test_the_choice_follows_space_objectives_budget_and_parallelism(
    space: Space, given: dict[str, Any], name: str
) -> None:
    assert chosen(space, **given).name == name


@pytest.mark.parametrize(
    ("missing", "name"),
    [({"trego"}, "cmaes"), ({"trego", "cmaes"}, "tpe"), ({*EVERY}, "random")],
)
def test_what_is_not_installed_is_not_chosen(missing: set[str], name: str) -> None:
    assert chosen(NUMBERS, 200, there={*EVERY} - missing).name == name


def test_whole_numbers_need_a_margin() -> None:
    whole = space_of([{"name": f"n{i}", "type": "int", "minimum": 0, "maximum": 99} for i in range(3)])
    assert chosen(whole, 5000).options == {"with_margin": True}
    assert chosen(NUMBERS, 5000).options == {}


def test_the_reason_names_space_budget_and_price() -> None:
    reason = chosen(NUMBERS, 200).reason
    assert reason.startswith("5 numbers and 200 trials: ")
    assert reason.endswith("a suggestion takes about a tenth of a second.")
    assert chosen(TWELVE, 100).reason == (
        "the space has only 12 points, within the budget of 100 trials: each is tried once."
    )
    assert "80 trials at once" in chosen(NUMBERS, 100, concurrency=80).reason


@given(
    st.sampled_from([NUMBERS, ONE, HUNDREDS, MIXED, CONDITIONAL, COARSE, TWELVE, space_of([])]),
    st.none() | st.integers(1, 10**6),
    st.integers(1, 6),
    st.booleans(),
    st.none() | st.integers(1, 1000),
)
def test_every_choice_is_a_sampler_that_can_do_it(
    space: Space, trials: int | None, objectives: int, constrained: bool, concurrency: int | None
) -> None:
    choice = chosen(
        space, trials, objectives=objectives, constrained=constrained, concurrency=concurrency, there={*SAMPLERS}
    )
    sampler = SAMPLERS[choice.name]
    check_options(sampler.options, choice.options, choice.name)
    assert sampler.multi_objective or objectives == 1
    assert sampler.conditional_spaces or space is not CONDITIONAL
    assert choice.reason.endswith(".")


# How many points a space has


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ([{"name": "n", "type": "int", "minimum": 1, "maximum": 8}], 8),
        ([{"name": "n", "type": "int", "minimum": 1, "maximum": 8, "log": True}], 8),
        ([{"name": "x", "minimum": 0, "maximum": 1, "step": 0.25}], 5),
        ([{"name": "x", "minimum": 2, "maximum": 2}], 1),
        ([{"name": "x", "minimum": 0, "maximum": 1}], None),
        ([{"name": "n", "type": "int", "minimum": 1, "maximum": 10**6}], None),
        ([], 1),
    ],
)
def test_a_space_is_counted_up_to_a_limit(parameters: list[dict[str, Any]], count: int | None) -> None:
    assert auto.points(space_of(parameters), 100) == count


def test_conditions_count_only_where_they_hold() -> None:
    space = space_of(
        [
            {"name": "codec", "type": "categorical", "choices": ["a", "b"]},
            {"name": "level", "type": "int", "minimum": 1, "maximum": 5, "when": {"codec": ["a"]}},
        ]
    )
    assert auto.points(space, 100) == 6
    assert auto.points(space, 5) is None
