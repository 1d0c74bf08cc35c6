"""Populations: who trains next, from whose checkpoint, with what; the same after a restart; better than constants."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import pbt as tune_pbt

from tuners.pbt import ATTRIBUTE, Later, Population, PopulationOptions, Segment, check, perturbed
from tunesmith.domain import Experiment, Parameter, Scalar, Space, Trial, TrialState, space_of
from tunesmith.errors import InvalidOptimizer
from tunesmith.testing.factories import EPOCH, search, spec

RATE = space_of([{"name": "rate", "minimum": 1e-5, "maximum": 1.0, "log": True}])
MIXED = space_of(
    [
        {"name": "codec", "type": "categorical", "choices": ["gzip", "zstd", True, 1]},
        {"name": "level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["gzip", "zstd"]}},
        {"name": "x", "minimum": -1, "maximum": 1, "step": 0.25},
        {"name": "rate", "minimum": 1e-5, "maximum": 1.0, "log": True},
    ]
)


def experiment(space: Space = RATE, objective: str = "-score", **changes: Any) -> Experiment:
    return Experiment(
        id=1, workspace_id="w", spec=spec(objectives=(objective,), space=space, **changes), name="toy", tags=(),
        archived=False, created_at=EPOCH, counts={},
    )  # fmt: skip


def population(
    space: Space = RATE, seed: int = 1, objective: str = "-score", options: Any = MappingProxyType({}), **more: Any
) -> Population:
    return Population(experiment(space, objective), PopulationOptions(**options), seed, **more)


def ended(number: int, segment: Segment, score: float | None, **changes: Any) -> Trial:
    """The trial of a segment: complete with a score, or failed."""
    return Trial(
        experiment_id=1,
        number=number,
        job_id="job-1",
        run_number=1,
        state=TrialState.FAILED if score is None else TrialState.COMPLETE,
        params=segment.params,
        values=None if score is None else (score,),
        system_attrs=segment.attrs,
    ).evolve(**changes)


def asked(members: Population, number: int) -> Segment:
    segment = members.ask(number, number)
    assert isinstance(segment, Segment)
    return segment


def trained(members: Population, scores: Sequence[float | None], first: int = 0) -> list[Segment]:
    """Run a segment after the other, each with its score."""
    segments = []
    for number, score in enumerate(scores, first):
        segments.append(asked(members, number))
        members.tell(ended(number, segments[-1], score))
    return segments


def noted(segment: Segment) -> tuple[int, int, int | None, bool]:
    attrs = segment.attrs[ATTRIBUTE]
    return attrs["member"], attrs["generation"], attrs["parent"], attrs["exploited"]


# Who goes on from where


def test_the_first_segments_are_random_points_from_nothing() -> None:
    segments = trained(population(), [0.0] * 8)
    assert [noted(segment) for segment in segments] == [(member, 0, None, False) for member in range(8)]
    assert [segment.checkpoint_of for segment in segments] == [None] * 8
    assert len({segment.params["rate"] for segment in segments}) == 8
    assert not any(RATE.problems(segment.params) for segment in segments)


def test_the_worst_go_on_from_the_best_and_the_others_from_themselves() -> None:
    members = population(options={"population_size": 4, "perturbation_interval": 5, "synchronous": True})
    first = trained(members, [3.0, 1.0, 4.0, 2.0])
    second = trained(members, [5.0, 5.5, 6.0, 5.7], first=4)
    assert [noted(segment) for segment in second] == [
        (0, 1, 0, False),
        (1, 1, 2, True),
        (2, 1, 2, False),
        (3, 1, 3, False),
    ]
    assert [segment.params for segment in second[::2]] == [first[0].params, first[2].params]
    assert second[1].params != first[2].params
    assert {(segment.step, segment.steps) for segment in first} == {(0, 5)}
    assert {(segment.step, segment.steps) for segment in second} == {(5, 5)}


def test_less_is_better_where_it_is_minimized() -> None:
    members = population(objective="loss", options={"population_size": 4, "synchronous": True})
    trained(members, [3.0, 1.0, 4.0, 2.0])
    assert [noted(segment)[2] for segment in trained(members, [0.5] * 3, first=4)] == [0, 1, 1]


def test_what_breaks_a_constraint_is_among_the_worst() -> None:
    members = population(options={"population_size": 2, "quantile_fraction": 0.5})
    for number, violation in enumerate((0.5, 0.0)):
        segment = asked(members, number)
        members.tell(ended(number, segment, 9.0 - number, violation=violation))
    assert noted(asked(members, 2)) == (0, 1, 1, True)


def test_a_copied_member_counts_the_steps_of_its_checkpoint() -> None:
    members = population(options={"population_size": 2, "quantile_fraction": 0.5})
    waiting = asked(members, 0)
    ahead = [asked(members, 1)]
    members.tell(ended(1, ahead[0], 5.0))
    for number in (2, 3):
        ahead.append(asked(members, number))
        members.tell(ended(number, ahead[-1], 5.0 + number))
    members.tell(ended(0, waiting, 1.0))
    assert noted(asked(members, 4)) == (0, 3, 3, True)


def test_nothing_is_copied_with_an_empty_quantile() -> None:
    members = population(options={"population_size": 4, "quantile_fraction": 0})
    trained(members, [3.0, 1.0, 4.0, 2.0])
    assert [noted(segment)[2] for segment in trained(members, [0.0] * 4, first=4)] == [0, 1, 2, 3]


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=12), st.floats(0, 0.5))
def test_the_quantiles_are_tunes(scores: list[float], fraction: float) -> None:
    options = {"population_size": len(scores), "quantile_fraction": fraction, "synchronous": True}
    members = population(options=options)
    trained(members, scores)
    segments = [asked(members, len(scores) + index) for index in range(len(scores))]
    copied = [segment for segment in segments if segment.attrs[ATTRIBUTE]["exploited"]]

    class Standing:
        def is_finished(self) -> bool:
            return False

    tune = tune_pbt.PopulationBasedTraining(quantile_fraction=fraction, hyperparam_mutations={"rate": [1]})
    for score in scores:
        state = tune_pbt._PBTTrialState.__new__(tune_pbt._PBTTrialState)
        state.last_score = score
        tune._trial_state[Standing()] = state
    bottom, top = ([tune._trial_state[trial].last_score for trial in part] for part in tune._quantiles())
    assert sorted(scores[noted(segment)[0]] for segment in copied) == bottom
    assert {scores[segment.checkpoint_of or 0] for segment in copied} <= set(top)


# Several at once


def test_every_member_trains_at_once_and_then_there_is_nothing_until_one_ends() -> None:
    members = population(options={"population_size": 3})
    segments = [asked(members, number) for number in range(3)]
    assert isinstance(members.ask(3, 3), Later)
    members.tell(ended(1, segments[1], 1.0))
    assert noted(asked(members, 3))[:3] == (1, 1, 1)
    assert isinstance(members.ask(4, 4), Later)


def test_in_lockstep_nobody_goes_ahead() -> None:
    members = population(options={"population_size": 3, "synchronous": True, "quantile_fraction": 0.34})
    segments = [asked(members, number) for number in range(3)]
    members.tell(ended(0, segments[0], 3.0))
    members.tell(ended(1, segments[1], 1.0))
    assert isinstance(members.ask(3, 3), Later)
    members.tell(ended(2, segments[2], None))  # a failed one holds nobody up
    assert noted(asked(members, 3)) == (0, 1, 0, False)


def test_in_lockstep_only_the_round_before_counts() -> None:
    members = population(options={"population_size": 4, "synchronous": True})
    trained(members, [3.0, 1.0, 4.0, 2.0])
    ahead = asked(members, 4)
    members.tell(ended(4, ahead, -100.0))  # the worst of all, but a round later
    assert noted(asked(members, 5)) == (1, 1, 2, True)


def test_the_segments_are_as_many_as_were_asked_for() -> None:
    members = population(options={"population_size": 2}, segments=3)
    trained(members, [1.0, 2.0, 3.0])
    assert members.ask(3, 3) is None


# Failures


def test_a_failed_segment_is_tried_again_from_the_last_good_one() -> None:
    members = population(options={"population_size": 2, "quantile_fraction": 0})
    first = trained(members, [1.0, 2.0, None, 3.0])
    again = trained(members, [1.5], first=4)[0]
    assert noted(first[2]) == noted(again) == (0, 1, 0, False)
    assert again.params == first[0].params


def test_a_member_that_never_succeeded_begins_anew_elsewhere() -> None:
    members = population(options={"population_size": 2})
    first = trained(members, [None, 2.0, None, 3.0])
    assert [noted(segment) for segment in first[::2]] == [(0, 0, None, False)] * 2
    assert first[0].params != first[2].params


def test_a_failing_member_does_not_take_the_others_turns() -> None:
    members = population(options={"population_size": 3})
    turns = [noted(segment)[0] for segment in trained(members, [None, 1.0, 2.0] * 4)]
    assert turns == [0, 1, 2] * 4


# Resuming


@pytest.mark.parametrize("bandits", [False, True])
def test_an_interrupted_search_goes_on_with_the_same_segments(bandits: bool) -> None:
    options = {"population_size": 3, "quantile_fraction": 0.34}
    draw = random.Random(5)
    scores = [None if draw.random() < 0.2 else draw.random() for _ in range(18)]
    whole = population(bandits=bandits, options=options)
    expected = trained(whole, scores)
    for stop in (1, 7, 16):
        history = [ended(number, expected[number], scores[number]) for number in range(stop)]
        resumed = population(bandits=bandits, options=options, history=reversed(history))
        assert trained(resumed, scores[stop:], first=stop) == expected[stop:]


def test_an_open_segment_is_taken_up_as_it_was() -> None:
    options = {"population_size": 2, "quantile_fraction": 0.5}
    members = population(options=options)
    trained(members, [1.0, 2.0])
    running = [asked(members, 2), asked(members, 3)]
    history = [ended(0, Segment(members_point(0), None, 0, 1, attrs(0)), 1.0)]
    history.append(ended(1, Segment(members_point(1), None, 0, 1, attrs(1)), 2.0))
    resumed = population(options=options, history=history)
    again = [resumed.reopen(ended(n, s, None, state=TrialState.WAITING)) for n, s in enumerate(running, 2)]
    assert again == running
    assert isinstance(resumed.ask(4, 4), Later)
    resumed.tell(ended(3, running[1], 3.0))
    members.tell(ended(3, running[1], 3.0))
    assert resumed.ask(4, 4) == members.ask(4, 4)


def members_point(number: int) -> dict[str, Scalar]:
    return asked_all()[number].params


def attrs(number: int) -> Any:
    return asked_all()[number].attrs


def asked_all() -> list[Segment]:
    members = population(options={"population_size": 2, "quantile_fraction": 0.5})
    return [asked(members, 0), asked(members, 1)]


def test_trials_of_other_samplers_are_none_of_its_business() -> None:
    segment = Segment({"rate": 0.1}, None, 0, 1, {"grid": 1})
    assert population(history=[ended(0, segment, 1.0)]).reopen(ended(0, segment, 1.0)) is None


# Exploring


def factors_of(old: Parameter, value: Scalar, seeds: int = 60, **options: Any) -> set[Scalar]:
    space = Space(parameters=(old,))
    settings = PopulationOptions(resample_probability=0, **options)
    return {perturbed(space, {old.name: value}, settings, random.Random(seed))[old.name] for seed in range(seeds)}


def test_numbers_are_multiplied_and_stay_in_their_range() -> None:
    parameter = Parameter(name="x", minimum=0, maximum=10)
    assert factors_of(parameter, 5.0) == {4.0, 6.0}
    assert factors_of(parameter, 9.0) == {9.0 * 0.8, 10.0}
    assert factors_of(parameter, 5.0, perturbation_factors=(2.0,)) == {10.0}


def test_small_whole_numbers_move_by_a_step() -> None:
    assert factors_of(Parameter(name="n", type="int", minimum=1, maximum=100), 2) == {1, 3}
    assert factors_of(Parameter(name="n", type="int", minimum=1, maximum=100), 50) == {40, 60}
    assert factors_of(Parameter(name="n", type="int", minimum=1, maximum=41, step=10), 21) == {11, 31}
    assert factors_of(Parameter(name="x", minimum=0, maximum=1, step=0.25), 0.5) == {0.25, 0.75}


def test_a_category_moves_to_its_neighbours_and_types_are_kept() -> None:
    parameter = Parameter(name="c", type="categorical", choices=("a", True, 1, None))
    assert [(type(found), found) for found in sorted(factors_of(parameter, True), key=str)] == [(int, 1), (str, "a")]
    assert factors_of(parameter, "a") == {"a", True}


def test_resampling_draws_from_the_whole_range() -> None:
    settings = PopulationOptions(resample_probability=1)
    found = [perturbed(RATE, {"rate": 1e-3}, settings, random.Random(seed))["rate"] for seed in range(300)]
    low = sum(float(value) < 1e-3 for value in found)  # type: ignore[arg-type]
    assert 80 < low < 160  # two of the five decades


def test_python_s_own_generator_is_left_alone() -> None:
    members = population(options={"population_size": 2, "quantile_fraction": 0.5})
    random.seed(7)
    expected = random.random()
    random.seed(7)
    trained(members, [1.0, 2.0] * 6)
    assert random.random() == expected


@given(st.integers(0, 1000), st.booleans())
def test_every_point_lies_in_the_space_with_its_conditions_and_constraints(seed: int, constrained: bool) -> None:
    constraints = ("rate < 0.1 * (x + 2)",) if constrained else ()
    space = Space(parameters=MIXED.parameters, constraints=constraints)
    members = population(space, seed, options={"population_size": 4, "resample_probability": 0.5})
    draw = random.Random(seed)
    for segment in trained(members, [draw.random() for _ in range(16)]):
        assert not space.problems(segment.params)
        if constrained:
            assert float(segment.params["rate"]) < 0.1 * (float(segment.params["x"]) + 2)  # type: ignore[arg-type]


def test_points_to_try_first_begin_and_held_parameters_stay() -> None:
    points = [{"codec": "zstd", "level": 3, "x": 0.5, "rate": 0.01}]
    members = population(MIXED, points=points, fixed={"x": 0.5}, options={"population_size": 3})
    draw = random.Random(1)
    segments = trained(members, [draw.random() for _ in range(15)])
    assert segments[0].params == points[0]
    assert {segment.params["x"] for segment in segments} == {0.5}


def test_a_space_that_was_narrowed_moves_its_members() -> None:
    wide = population(options={"population_size": 2})
    first = [asked(wide, 0), asked(wide, 1)]
    narrow = space_of([{"name": "rate", "minimum": 1e-3, "maximum": 2e-3}])
    history = [ended(number, segment, 1.0) for number, segment in enumerate(first)]
    moved = trained(population(narrow, options={"population_size": 2}, history=history), [1.0, 1.0], first=2)
    assert not any(narrow.problems(segment.params) for segment in moved)


# What it is good for


STEPS = 10


def gain(rate: float, step: int) -> float:
    """What a training step brings: its best rate falls from 0.1 to 0.0001 in the course of the training."""
    return math.exp(-(((math.log10(rate) + 1 + 3 * step / STEPS) / 0.5) ** 2))


def final_score(seed: int, bandits: bool, size: int) -> float:
    """The best score that a population reaches; a checkpoint is the score so far."""
    members = population(seed=seed, bandits=bandits, segments=size * STEPS, options={"population_size": size})
    checkpoints: list[float] = []
    while isinstance(segment := members.ask(len(checkpoints), len(checkpoints)), Segment):
        score = checkpoints[segment.checkpoint_of] if segment.checkpoint_of is not None else 0.0
        score += sum(gain(float(segment.params["rate"]), segment.step + i) for i in range(segment.steps))  # type: ignore[arg-type]
        members.tell(ended(len(checkpoints), segment, score))
        checkpoints.append(score)
    return max(checkpoints)


def random_score(seed: int, size: int) -> float:
    """The same with as many steps, and constant rates drawn at random."""
    draw = random.Random(seed)
    rates = [10 ** draw.uniform(-5, 0) for _ in range(size)]
    return max(sum(gain(rate, step) for step in range(STEPS)) for rate in rates)


@pytest.mark.parametrize(
    ("bandits", "seeds", "size"),
    [pytest.param(False, 8, 8, id="pbt"), pytest.param(True, 2, 4, id="pb2", marks=pytest.mark.slow)],
)
def test_a_rate_that_has_to_change_is_found(bandits: bool, seeds: int, size: int) -> None:
    ours = statistics.mean(final_score(seed, bandits, size) for seed in range(seeds))
    constant = statistics.mean(random_score(seed, size) for seed in range(50))
    assert ours > 1.3 * constant


# Refusals


def test_bandits_refuse_conditions_and_spaces_without_numbers() -> None:
    check(experiment(MIXED), search())
    with pytest.raises(InvalidOptimizer, match="level exists only under a condition"):
        check(experiment(MIXED), search(), bandits=True)
    letters = space_of([{"name": "c", "type": "categorical", "choices": ["a", "b"]}])
    with pytest.raises(InvalidOptimizer, match="use pbt"):
        check(experiment(letters), search(), bandits=True)


def test_a_pruner_and_too_many_points_to_begin_with_are_refused() -> None:
    with pytest.raises(InvalidOptimizer, match=r"optimizer.pruner \(median\)"):
        check(experiment(), search(pruner={"type": "median"}))
    points = [{"rate": 0.1}] * 3
    check(experiment(), search(enqueue=points))
    with pytest.raises(InvalidOptimizer, match="raise population_size"):
        check(experiment(), search(enqueue=points, options={"population_size": 2}))
