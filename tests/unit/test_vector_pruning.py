"""Pruning with several objectives: the order of vectors, the three rules, and what they save in a simulated study."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuners.pruners import VectorPruner, build_vector, vectors_of
from tuners.pruners.fronts import Fronts, crowding
from tunesmith.domain import Pruner

Vector = tuple[float, ...]
FIGURES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0]) | st.floats(-100, 100) | st.sampled_from([math.inf, -math.inf])
VECTORS = st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[FIGURES] * size), min_size=1, max_size=20))


def pruner_of(name: str, **options: Any) -> VectorPruner:
    pruner = build_vector(Pruner(type=name, options=options))
    assert pruner is not None
    return pruner


# The order of vectors


def dominates(a: Vector, b: Vector) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def ranks_by_peeling(vectors: Sequence[Vector]) -> dict[Vector, int]:
    left, ranks = set(vectors), {}
    for rank in itertools.count():
        front = {vector for vector in left if not any(dominates(other, vector) for other in left)}
        ranks |= dict.fromkeys(front, rank)
        left -= front
        if not left:
            return ranks
    raise AssertionError


def fronts_of(vectors: Iterable[Sequence[float]]) -> Fronts:
    fronts = Fronts()
    for vector in vectors:
        fronts.add(vector)
    return fronts


@given(vectors=VECTORS, batch=st.integers(1, 20))
def test_ranks_are_those_of_peeling_front_after_front(vectors: list[Vector], batch: int) -> None:
    fronts = Fronts()
    for index, vector in enumerate(vectors, 1):
        fronts.add(vector)
        if index % batch == 0:  # what is asked in between decides what is ranked together
            known = vectors[:index]
            ranks = ranks_by_peeling(known)
            for one in known:
                ahead, beside = (sum(ranks[o] < ranks[one] for o in known), sum(ranks[o] == ranks[one] for o in known))
                assert ahead <= fronts.place(one) < ahead + beside
    assert len(fronts) == len(vectors)


@given(vectors=VECTORS, shuffled=st.randoms(use_true_random=False))
def test_the_place_follows_the_rank_then_the_crowding_and_no_order_of_arrival(
    vectors: list[Vector], shuffled: random.Random
) -> None:
    fronts = fronts_of(vectors)
    others = list(vectors)
    shuffled.shuffle(others)
    again = Fronts()
    for other in others:
        again.add(other)
        again.place(other)
    ranks = ranks_by_peeling(vectors)
    places = {vector: fronts.place(vector) for vector in vectors}
    assert places == {vector: again.place(vector) for vector in vectors}
    for vector, place in places.items():
        better = sum(ranks[other] < ranks[vector] for other in vectors)
        assert better <= place < better + sum(ranks[other] == ranks[vector] for other in vectors)
        assert place + sum(places[other] >= place for other in vectors) == len(vectors)


@given(vectors=VECTORS.filter(lambda vectors: len(vectors) > 1))
def test_a_newcomer_has_the_place_that_it_would_have_inside(vectors: list[Vector]) -> None:
    *known, newcomer = vectors
    assert fronts_of(known).place(newcomer) == fronts_of(vectors).place(newcomer)


@given(values=st.lists(FIGURES, min_size=1, max_size=20), value=FIGURES)
def test_of_single_values_the_place_is_the_number_of_smaller_ones(values: list[float], value: float) -> None:
    assert fronts_of((other,) for other in values).place((value,)) == sum(other < value for other in values)


def test_the_ends_of_a_front_come_first_then_the_least_crowded() -> None:
    front = [(0.0, 10.0), (1.0, 6.0), (1.1, 5.9), (4.0, 3.0), (10.0, 0.0)]
    fronts = fronts_of(front)
    assert [fronts.place(vector) for vector in front] == [0, 4, 3, 2, 0]
    assert fronts.place((11.0, 11.0)) == 5
    assert fronts.place((-1.0, -1.0)) == 0


def test_the_crowding_distance_is_the_gap_of_the_neighbours_in_each_objective() -> None:
    columns = np.array([[0.0, 1.0, 4.0, 1.0], [8.0, 2.0, 0.0, 2.0]])
    assert crowding(columns).tolist() == [math.inf, 2.0, math.inf, 2.0]
    assert crowding(np.array([[5.0, 5.0], [1.0, 1.0]])).tolist() == [0.0, 0.0]
    assert not np.isnan(
        crowding(np.array([[-math.inf, 0.0, 1.7e308, math.inf], [math.inf, 2.0, 1.0, -math.inf]]))
    ).any()


# With one objective, the rules are Optuna's


def verdicts(pruner: VectorPruner, number: int, curve: Sequence[Vector]) -> list[bool]:
    """Run one trial to its end: what the pruner said at each of its reports."""
    said: list[bool] = []
    for step, vector in enumerate(curve):
        pruner.report(number, step, vector)
        said.append(pruner.should_prune(number))
        if said[-1]:
            break
    pruner.finish(number, complete=not said[-1])
    return said


def verdicts_of_optuna(study: optuna.Study, curve: Sequence[float]) -> list[bool]:
    trial, said = study.ask(), []
    for step, value in enumerate(curve):
        trial.report(value, step)
        said.append(trial.should_prune())
        if said[-1]:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return said
    study.tell(trial, 0.0)
    return said


def study_with(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    return optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=1))


VALUES = st.integers(0, 9).map(float) | st.floats(0, 10) | st.just(math.nan)
CURVES = st.integers(1, 12).flatmap(
    lambda steps: st.lists(st.lists(VALUES, min_size=steps, max_size=steps), min_size=1, max_size=15)
)


@settings(deadline=None, max_examples=60)
@given(
    curves=CURVES,
    min_resource=st.integers(1, 3),
    factor=st.integers(2, 4),
    rate=st.integers(0, 1),
    bootstrap=st.integers(0, 2),
)
def test_successive_halving_of_one_objective_prunes_as_optuna_does(
    curves: list[list[float]], min_resource: int, factor: int, rate: int, bootstrap: int
) -> None:
    ours = pruner_of(
        "asha",
        min_resource=min_resource,
        reduction_factor=factor,
        min_early_stopping_rate=rate,
        bootstrap_count=bootstrap,
    )
    optunas = study_with(optuna.pruners.SuccessiveHalvingPruner(min_resource, factor, rate, bootstrap))
    for number, curve in enumerate(curves):
        assert verdicts(ours, number, [(value,) for value in curve]) == verdicts_of_optuna(optunas, curve)


@settings(deadline=None, max_examples=60)
@given(
    curve=st.lists(st.floats(0, 10) | st.integers(0, 9).map(float), min_size=1, max_size=12),
    complete=st.lists(st.integers(0, 9).map(float), min_size=1, max_size=9).filter(lambda values: len(values) % 2),
    warmup=st.integers(0, 3),
    interval=st.integers(1, 4),
)
def test_the_median_of_one_objective_is_optunas_where_it_is_one_of_the_values(
    curve: list[float], complete: list[float], warmup: int, interval: int
) -> None:
    falling = sorted(curve, reverse=True)  # so that Optuna's best value so far is the last one
    options = {"n_startup_trials": len(complete), "n_warmup_steps": warmup, "interval_steps": interval}
    ours, optunas = pruner_of("median", **options), study_with(optuna.pruners.MedianPruner(**options))
    for number, value in enumerate(complete):
        verdicts(ours, number, [(value,)] * len(falling))
        verdicts_of_optuna(optunas, [value] * len(falling))
    assert verdicts(ours, 99, [(value,) for value in falling]) == verdicts_of_optuna(optunas, falling)


# The rules


FRONT: list[Vector] = [(0.0, 4.0), (1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (4.0, 0.0)]
BEHIND: list[Vector] = [(x + 5, y + 5) for x, y in FRONT]


def after(pruner: VectorPruner, vectors: Iterable[Vector], steps: int = 1) -> VectorPruner:
    """The pruner after complete trials that reported the same vector at each step."""
    for number, vector in enumerate(vectors):
        for step in range(steps):
            pruner.report(number, step, vector)
        pruner.finish(number, complete=True)
    return pruner


def prunes(pruner: VectorPruner, *curve: Vector) -> bool:
    return verdicts(pruner, 1000, curve)[-1]


def test_the_median_rule_ends_the_worse_half() -> None:
    assert not prunes(after(pruner_of("median"), FRONT + BEHIND), (2.5, 1.6))
    assert not prunes(after(pruner_of("median"), FRONT + BEHIND), (4.9, 4.9))  # alone between the fronts: place 5 of 11
    assert prunes(after(pruner_of("median"), FRONT + BEHIND), (7.5, 6.6))
    assert prunes(after(pruner_of("median"), FRONT + BEHIND), (99.0, 99.0))


def test_the_percentile_says_how_many_go_on() -> None:
    newcomer = (4.9, 4.9)
    assert prunes(after(pruner_of("percentile", percentile=45), FRONT + BEHIND), newcomer)
    assert not prunes(after(pruner_of("percentile", percentile=46), FRONT + BEHIND), newcomer)
    assert not prunes(after(pruner_of("percentile", percentile=0), FRONT + BEHIND), (-1.0, -1.0))
    assert not prunes(after(pruner_of("percentile", percentile=100), FRONT + BEHIND), (99.0, 99.0))


def test_the_median_rule_waits_for_trials_steps_and_intervals() -> None:
    bad = (99.0, 99.0)
    assert not prunes(after(pruner_of("median"), FRONT[:4]), bad)
    assert not prunes(after(pruner_of("median", n_min_trials=6), FRONT), bad)
    assert not prunes(after(pruner_of("median", n_startup_trials=0), []), bad)
    assert prunes(after(pruner_of("median", n_startup_trials=0), FRONT[:1]), bad)
    patient = after(pruner_of("median", n_warmup_steps=2, interval_steps=3), FRONT, steps=9)
    said = []
    for step in range(9):
        patient.report(7, step, bad)
        said.append(patient.should_prune(7))
    assert [step for step, prune in enumerate(said) if prune] == [2, 5, 8]


def test_a_trial_is_judged_at_the_first_report_of_each_interval() -> None:
    pruner = after(pruner_of("median", interval_steps=3), FRONT, steps=9)
    said = {}
    for step in (0, 1, 4, 5, 8):
        pruner.report(7, step, (99.0, 99.0))
        said[step] = pruner.should_prune(7)
    assert said == {0: True, 1: False, 4: True, 5: False, 8: True}


def test_only_complete_trials_count_at_the_very_step_for_the_median() -> None:
    pruner = after(pruner_of("median", n_startup_trials=1), FRONT)
    assert not verdicts(pruner, 50, [(1.5, 1.5), (99.0, 99.0)])[-1]  # nobody else reported step 1
    failed = pruner_of("median", n_startup_trials=1)
    failed.report(0, 0, (0.0, 0.0))
    failed.finish(0, complete=False)
    assert not prunes(failed, (99.0, 99.0))


def test_a_rung_lets_the_best_share_of_all_that_reached_it_go_on() -> None:
    pruner = pruner_of("asha", min_resource=1, reduction_factor=3)
    vectors = [(0.0, 4.0), (4.0, 0.0), (2.0, 2.0), (1.0, 3.0), (-1.0, 5.0), (9.0, 9.0), (-2.0, -2.0)]
    said = [verdicts(pruner, number, [vector] * 2)[-1] for number, vector in enumerate(vectors)]
    # Of up to five, one goes on: the newest where it is an end of the front.
    assert said == [False, False, True, True, False, True, False]


def test_the_first_front_goes_on_unless_it_is_larger_than_the_share() -> None:
    small = after(pruner_of("asha", min_resource=1, reduction_factor=2), FRONT[:3] + BEHIND, steps=2)
    assert not prunes(small, (9.0, 9.0), (0.5, 3.5))
    crowded = after(pruner_of("asha", min_resource=1, reduction_factor=4), FRONT, steps=2)
    assert prunes(crowded, (9.0, 9.0), (2.5, 1.5))
    assert not prunes(crowded, (9.0, 9.0), (-1.0, 9.0))


def test_a_rung_that_let_a_trial_go_on_does_not_end_it_later() -> None:
    pruner = pruner_of("asha", min_resource=1, reduction_factor=2)
    pruner.report(0, 1, (1.0, 1.0))
    assert not pruner.should_prune(0)
    after(pruner, FRONT, steps=2)
    pruner.report(100, 1, (1.0, 1.0))
    assert not pruner.should_prune(0)


def test_rungs_lie_at_the_hundredth_of_the_first_complete_trial_when_nobody_says_where() -> None:
    pruner = pruner_of("successive_halving", reduction_factor=2)
    for number in (0, 1):
        for step in range(1, 401):
            pruner.report(number, step, (0.0, 0.0))
    pruner.report(2, 399, (9.0, 9.0))
    assert not pruner.should_prune(2)  # no trial is complete
    pruner.finish(0, complete=True)
    assert pruner.should_prune(2)
    assert verdicts(pruner, 7, [(9.5, 9.5)] * 401) == [False] * 4 + [True]


@pytest.mark.parametrize("name", ["median", "asha"])
def test_what_is_no_number_is_pruned(name: str) -> None:
    options = {"n_startup_trials": 1} if name == "median" else {"min_resource": 1}
    pruner = after(pruner_of(name, **options), [(math.nan, 0.0), (1.0, 1.0)], steps=2)
    assert verdicts(pruner, 5, [(0.0, 0.0), (0.0, math.nan)])[-1]
    assert not verdicts(pruner, 6, [(0.0, 0.0), (1.0, 1.0)])[-1]


def test_what_is_no_number_is_no_trial_to_compare_with() -> None:
    pruner = pruner_of("median", n_startup_trials=1, n_min_trials=2)
    assert not prunes(after(pruner, [(math.nan, 0.0), (1.0, 1.0)]), (9.0, 9.0))


def test_odd_reports_do_no_harm() -> None:
    pruner = after(pruner_of("median"), FRONT)
    assert not pruner.should_prune(77)
    pruner.report(77, -1, (99.0, 99.0))
    assert not pruner.should_prune(77)
    pruner.report(77, 0, (2.0, 2.0))
    pruner.report(77, 0, (99.0, 99.0))  # the first report of a step counts
    assert not pruner.should_prune(77)
    pruner.report(76, 0, (99.0, 99.0))
    pruner.report(76, 0, (2.0, 2.0))
    assert pruner.should_prune(76)
    pruner.report(77, 2**61, (99.0, 99.0))
    pruner.finish(77, complete=True)
    pruner.finish(78, complete=True)


def test_a_trial_that_starts_anew_is_judged_anew() -> None:
    pruner = after(pruner_of("median"), FRONT)
    pruner.report(9, 0, (99.0, 99.0))
    assert pruner.should_prune(9)
    pruner.finish(9, complete=False)
    assert not pruner.should_prune(9)
    pruner.report(9, 0, (1.0, 2.0))
    assert not pruner.should_prune(9)


@pytest.mark.parametrize("brackets", [2, 3, 4])
def test_hyperband_starts_its_brackets_later_and_later(brackets: int) -> None:
    factor = 3
    limit = factor ** (brackets - 1)
    pruner = pruner_of("hyperband", max_resource=limit, reduction_factor=factor)
    after(pruner, [(0.0, 0.0)] * 300, steps=limit + 1)
    lengths = [len(verdicts(pruner, number, [(9.0, 9.0)] * (limit + 1))) for number in range(300, 600)]
    counts = [lengths.count(factor**rate + 1) for rate in range(brackets)]
    assert sum(counts) == 300
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] > 0


def test_hyperband_learns_from_the_first_complete_trial_how_long_trials_are() -> None:
    told, finds_out = pruner_of("hyperband", max_resource=9), pruner_of("hyperband")
    curve = [(1.0, 1.0)] * 9
    assert not any(verdicts(finds_out, 0, curve))
    verdicts(told, 0, curve)
    for number, vector in enumerate(FRONT + BEHIND, 1):
        assert verdicts(finds_out, number, [vector] * 9) == verdicts(told, number, [vector] * 9)


# After a restart


RULES: list[tuple[str, dict[str, Any]]] = [
    ("median", {"n_startup_trials": 2}),
    ("percentile", {"percentile": 30, "n_startup_trials": 1, "interval_steps": 2}),
    ("successive_halving", {"reduction_factor": 2}),
    ("asha", {"min_resource": 1, "reduction_factor": 2}),
    ("hyperband", {"reduction_factor": 2}),
    ("hyperband", {"max_resource": 8, "reduction_factor": 2}),
]


@pytest.mark.parametrize(("name", "options"), RULES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), before=st.integers(1, 30))
def test_a_pruner_rebuilt_from_curves_decides_as_the_one_that_saw_them(
    name: str, options: dict[str, Any], seed: int, before: int
) -> None:
    draw = random.Random(seed)
    curves = [[(draw.random(), draw.random()) for _ in range(8)] for _ in range(before + 15)]
    lived, known, complete = pruner_of(name, **options), {}, {}
    for number in range(before):
        said = verdicts(lived, number, curves[number])
        known[number] = dict(enumerate(curves[number][: len(said)]))
        complete[number] = not said[-1]
    rebuilt = pruner_of(name, **options)
    rebuilt.load(known)
    for number, whole in complete.items():
        rebuilt.finish(number, whole)
    for number in range(before, before + 15):
        assert verdicts(rebuilt, number, curves[number]) == verdicts(lived, number, curves[number])


def test_curves_of_metrics_become_vectors_where_every_objective_has_a_value() -> None:
    loss = {0: {0: 1.0, 1: 0.5}, 1: {0: 2.0}, 2: {0: 1.0}}
    speed = {0: {1: 30.0, 2: 40.0}, 1: {5: 1.0}}
    assert vectors_of([loss, speed], [1, -1]) == {0: {1: (0.5, -30.0)}, 1: {}}


# What it is for


TRIALS, STEPS, REFERENCE = 240, 27, (1.1, 8.0)


@dataclass
class Outcome:
    """What came of a study."""

    steps: int = 0
    finals: list[Vector] = field(default_factory=list)


def learning_curves(seed: int) -> list[list[Vector]]:
    """Trials of ZDT1 (Zitzler et al. 2000) at random points; both objectives come down to their values with noise."""
    rng = np.random.default_rng(seed)
    points = rng.random((TRIALS, 4)) ** 2
    first = points[:, 0]
    slope = 1 + 9 * points[:, 1:].mean(axis=1)
    finals = np.stack([first, slope * (1 - np.sqrt(first / slope))], axis=1)
    fading = 1 + 1 / (1 + np.arange(STEPS))
    curves = finals[:, None, :] * fading[None, :, None] * rng.normal(1, 0.02, (TRIALS, STEPS, 2))
    curves[:, -1] = finals
    return [[(a, b) for a, b in curve] for curve in curves.tolist()]


def simulate(curves: Sequence[Sequence[Vector]], ends: Callable[[int, int, Vector], bool], at_once: int = 8) -> Outcome:
    """Trials, some at once and each a step at a time, that end where `ends` says so."""
    outcome, waiting = Outcome(), iter(range(len(curves)))
    running: dict[int, Iterator[int]] = {}
    while True:
        running |= {number: iter(range(STEPS)) for number in itertools.islice(waiting, at_once - len(running))}
        if not running:
            return outcome
        for number, steps in list(running.items()):
            step = next(steps)
            outcome.steps += 1
            if ends(number, step, curves[number][step]) or step == STEPS - 1:
                del running[number]
                outcome.finals += [curves[number][step]] * (step == STEPS - 1)


def with_pruner(pruner: VectorPruner) -> Callable[[int, int, Vector], bool]:
    def ends(number: int, step: int, vector: Vector) -> bool:
        pruner.report(number, step, vector)
        prune = pruner.should_prune(number)
        if prune or step == STEPS - 1:
            pruner.finish(number, complete=not prune)
        return prune

    return ends


def hypervolume(vectors: Iterable[Vector]) -> float:
    """The area that two objectives dominate below the reference point."""
    area, lowest = 0.0, REFERENCE[1]
    for x, y in sorted(vectors):
        if x < REFERENCE[0] and y < lowest:
            area += (REFERENCE[0] - x) * (lowest - y)
            lowest = y
    return area


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("median", {}),
        ("percentile", {"percentile": 33}),
        ("asha", {"min_resource": 3, "reduction_factor": 3}),
        ("hyperband", {"min_resource": 1, "max_resource": 26}),
    ],
)
def test_pruning_by_vectors_saves_steps_and_keeps_nearly_the_whole_front(name: str, options: dict[str, Any]) -> None:
    kept, by_chance, spent = [], [], []
    for seed in range(5):
        curves = learning_curves(seed)
        whole = hypervolume(simulate(curves, lambda *_: False).finals)
        pruned = simulate(curves, with_pruner(pruner_of(name, **options)))
        share = pruned.steps / (TRIALS * STEPS)
        coin = simulate(curves[: round(TRIALS * share)], lambda *_: False)  # as many steps, spent on whole trials
        kept.append(hypervolume(pruned.finals) / whole)
        by_chance.append(hypervolume(coin.finals) / whole)
        spent.append(share)
    print(name, np.round(spent, 2), np.round(kept, 4), np.round(by_chance, 4))
    assert max(spent) < 0.65
    assert np.mean(kept) > 0.98
    assert np.mean(kept) > np.mean(by_chance)
