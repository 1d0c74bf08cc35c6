"""How well the platform searches the BBOB functions in 5-D: by the job's own search, with the benchmark's functions."""

from __future__ import annotations

import statistics
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from bench_quality import OURS, SPACE, Case, Evaluation, evaluations, outcomes, problem_of

TRIALS, SEEDS = 60, (0, 1)
FUNCTIONS = {"separable": 1, "moderate": 8, "ill-cond.": 12}
"""One of each of three groups, on which a model has something to learn within these trials."""
ALL, LONG = range(1, 25), 150
"""Functions, and trials, of the comparison of samplers."""
RIVALS = ("random", "qmc", "tpe", "cmaes", "nsga2")
MARGIN = 0.6
"""What a sampler that learns leaves, at most, of random search's median regret."""


@cache
def run(sampler: str, function: int, seed: int) -> list[Evaluation]:
    return list(evaluations(Case(sampler, function, seed, TRIALS)))


def regret(sampler: str, function: int) -> float:
    """The median, over the seeds, of how far the best value is from the optimum."""
    return statistics.median(
        min(trial.value for trial in run(sampler, function, seed)) - problem_of(function, seed).optimum.y
        for seed in SEEDS
    )


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("sampler", ["auto", f"{OURS}tpe", f"{OURS}cmaes"])
def test_samplers_that_learn_come_closer_than_random_search(sampler: str, function: int) -> None:
    assert regret(sampler, function) < MARGIN * regret(f"{OURS}random", function)
    for seed in SEEDS:
        points = [trial.point for trial in run(sampler, function, seed)]
        assert len(points) == TRIALS
        assert all(SPACE.problems(point) == [] for point in points)
        assert len({tuple(point.values()) for point in points}) == TRIALS, "no point is tried twice"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_auto_is_no_worse_than_the_best_single_sampler() -> None:
    """Over all 24 functions; some ten minutes."""
    names = ("auto", *(f"{OURS}{name}" for name in RIVALS))
    cases = [Case(name, function, seed, LONG) for name in names for function in ALL for seed in SEEDS]
    regrets: dict[str, list[float]] = {name: [] for name in names}
    for case, outcome in outcomes(cases, jobs=2):
        regrets[case.sampler].append(outcome.normalised)
    means = {name: statistics.mean(values) for name, values in regrets.items()}
    assert means["auto"] <= min(means[name] for name in names[1:]), means
