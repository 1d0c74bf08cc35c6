"""TREGO: its Gaussian process, its expected improvement, its trust region, and what it suggests."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy import special

from tuners.samplers.seeds import seed_of
from tuners.search.generators import Generators
from tuners.trego import Trego
from tuners.trego.gaussian import GaussianProcess
from tuners.trego.improvement import log_improvement, ranked
from tuners.trego.region import FIRST, LARGEST, SMALLEST, TrustRegion, is_local
from tuners.trego.sampler import APART, _telling

PLANE = {"a": FloatDistribution(-5, 5), "b": FloatDistribution(-5, 5)}


def bowl(a: float, b: float) -> float:
    return (a - 1) ** 2 + 3 * (b + 2) ** 2 + (a - 1) * (b + 2)


def study_of(direction: str = "minimize") -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))


def asked(study: optuna.Study, sampler: Trego, space: Any, seed: int = 0) -> optuna.Trial:
    """A trial, with the sampler seeded for its number as the platform does."""
    Generators(sampler).seed(seed_of(seed, len(study.trials)))
    study.sampler = sampler
    return study.ask(space)


def run(study: optuna.Study, sampler: Trego, trials: int, sign: float = 1.0) -> list[dict[str, Any]]:
    for _ in range(trials):
        trial = asked(study, sampler, PLANE)
        study.tell(trial, sign * bowl(**trial.params))
    return [trial.params for trial in study.trials]


# The Gaussian process


def data(n: int = 30, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(0).uniform(-1, 1, (n, d))
    return points, np.sin(3 * points).sum(axis=1) + (points**2).sum(axis=1)


def test_the_slope_of_the_fit_is_that_of_finite_differences() -> None:
    points, values = data()
    process = GaussianProcess(points, values, 1.0)
    logs = np.array([0.1, -0.3, 0.2, 0.3, -2.0, -6.0])
    steps = 1e-5 * np.eye(len(logs))
    differences = [(process._loss(logs + step)[0] - process._loss(logs - step)[0]) / 2e-5 for step in steps]
    assert process._loss(logs)[1] == pytest.approx(differences, rel=1e-4, abs=1e-4)


def test_the_slopes_of_mean_and_deviation_are_those_of_finite_differences() -> None:
    process = GaussianProcess(*data(), 1.0)
    point = np.array([0.3, -0.2, 0.8])
    mean, deviation, mean_slope, deviation_slope = process.posterior_slope(point)
    steps = 1e-5 * np.eye(3)
    above, below = process.posterior(point + steps), process.posterior(point - steps)
    assert [mean, deviation] == pytest.approx([float(part[0]) for part in process.posterior(point[None])])
    assert mean_slope == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-3)
    assert deviation_slope == pytest.approx((above[1] - below[1]) / 2e-5, rel=1e-3)


def test_the_process_passes_through_what_it_saw_and_predicts_between() -> None:
    points, values = data(60)
    process = GaussianProcess(points, values, 1.0)
    standard = (values - values.mean()) / values.std()
    mean, deviation = process.posterior(points)
    assert mean == pytest.approx(standard, abs=0.02)
    assert deviation.max() < 0.1
    fresh = np.random.default_rng(1).uniform(-0.8, 0.8, (50, 3))
    truth = (np.sin(3 * fresh).sum(axis=1) + (fresh**2).sum(axis=1) - values.mean()) / values.std()
    assert np.sqrt(np.mean((process.posterior(fresh)[0] - truth) ** 2)) < 0.1


def test_a_rotated_bowl_is_known_after_as_many_points_as_it_has_coefficients_twice() -> None:
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    points = rng.uniform(-1, 1, (42, 5))
    process = GaussianProcess(points, ((points @ turn) ** 2) @ 10.0 ** np.arange(5), 2.0)
    fresh = rng.uniform(-1, 1, (100, 5))
    values = ((fresh @ turn) ** 2) @ 10.0 ** np.arange(5)
    assert np.corrcoef(process.posterior(fresh)[0], values)[0, 1] > 0.999


def test_a_believed_point_is_known_and_changes_no_mean() -> None:
    process = GaussianProcess(*data(), 1.0)
    probe = np.array([[0.9, 0.9, -0.9]])
    mean, deviation = process.posterior(probe)
    process.believe(probe)
    after, certain = process.posterior(probe)
    assert after == pytest.approx(mean, abs=1e-3)
    assert certain[0] < deviation[0] / 2


@pytest.mark.parametrize(
    "values", [np.zeros(12), np.full(12, 1e100), 1e100 * np.arange(12), np.array([0.0] * 11 + [1e12])]
)
def test_flat_and_steep_values_can_be_fitted(values: np.ndarray) -> None:
    points = np.repeat(np.random.default_rng(0).uniform(-1, 1, (6, 2)), 2, axis=0)  # each point twice
    mean, deviation = GaussianProcess(points, values, 1.0).posterior(points)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


# Expected improvement


@given(st.floats(-4, 30))
def test_the_logarithm_is_that_of_the_improvement(z: float) -> None:
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    improvement = density + z * special.ndtr(z)
    level, chance, share = log_improvement(z)
    assert float(level) == pytest.approx(np.log(improvement), abs=1e-6)
    assert float(chance) == pytest.approx(special.ndtr(z) / improvement, rel=1e-6)
    assert float(share) == pytest.approx(density / improvement, rel=1e-6)


def test_the_logarithm_falls_where_the_improvement_underflows() -> None:
    levels = log_improvement(np.array([-1e5, -1e3, -100.0, -10.0, 0.0, 4.99, 5.01, 100.0, 1e5]))[0]
    assert np.isfinite(levels).all()
    assert (np.diff(levels) > 0).all()


def test_the_first_of_the_ranked_points_is_the_best_of_all() -> None:
    process = GaussianProcess(*data(), 1.0)
    ends = np.ones(3)
    found = ranked(process, np.zeros(3), -ends, ends, 200, np.random.RandomState(0))
    mean, deviation = process.posterior(found)
    worth = log_improvement((process.best - mean) / deviation)[0] + np.log(deviation)
    assert worth[0] == pytest.approx(worth.max())
    assert (np.abs(found) <= 1).all()


# The trust region


def steps(*values: float, at: float = 0.5) -> TrustRegion:
    """The region after a first trial of value 10 at 0.5, local steps of these values, and global ones of no success."""
    points = np.full((2 * len(values) + 1, 2), 0.5)
    points[1::2] = at
    between = [value for local in values for value in (local, 99.0)]
    return TrustRegion.after(points, np.array([10.0, *between]), 1)


def test_every_other_step_is_local() -> None:
    assert [is_local(count) for count in (10, 11, 12, 13)] == [False, True, False, True]


def test_the_region_grows_with_success_and_shrinks_without() -> None:
    assert steps().radius == FIRST
    assert steps(9).radius > FIRST
    assert steps(*[11] * 20).radius < FIRST / 2
    assert steps(11).radius == FIRST
    assert steps(*range(9, -60, -1)).radius == LARGEST


def test_steps_elsewhere_leave_its_size_alone() -> None:
    assert steps(*[11] * 20, at=0.9).radius == FIRST
    far = steps(9, at=0.9)
    assert far.radius == FIRST
    assert far.centre == pytest.approx([0.9, 0.9])


def test_it_starts_anew_when_it_has_shrunk_to_nothing() -> None:
    radii = [steps(*[11] * n).radius for n in range(300)]
    assert min(radii) >= SMALLEST
    assert max(np.diff(radii)) > FIRST / 2


# What is suggested


def test_it_finds_the_bottom_of_a_bowl() -> None:
    study = study_of()
    run(study, Trego(), 40)
    assert study.best_value < 1e-3


def test_the_highest_is_found_as_the_lowest_of_the_negative() -> None:
    low, high = study_of(), study_of("maximize")
    assert run(low, Trego(), 25) == run(high, Trego(), 25, sign=-1.0)


def test_a_fresh_sampler_goes_on_as_the_old_one_would() -> None:
    whole, interrupted = study_of(), study_of()
    run(whole, Trego(), 30)
    for part in (7, 9, 14):
        run(interrupted, Trego(), part)
    assert [t.params for t in interrupted.trials] == [t.params for t in whole.trials]


def test_running_trials_keep_the_next_ones_away() -> None:
    study, sampler = study_of(), Trego()
    for _ in range(14):
        trial = asked(study, sampler, PLANE)
        study.tell(trial, bowl(**trial.params) + 20 * np.sin(3 * trial.params["a"]) * np.sin(2 * trial.params["b"]))
    points = np.array([list(asked(study, sampler, PLANE).params.values()) for _ in range(6)])
    gaps = [np.abs(points[i] - points[j]).max() for i in range(6) for j in range(i)]
    assert min(gaps) > 0.01


def test_no_point_is_tried_twice_while_others_are_left() -> None:
    space = {
        "n": IntDistribution(1, 8),
        "k": IntDistribution(1, 100, log=True),
        "x": FloatDistribution(0, 1, step=0.25),
    }
    study, sampler = study_of(), Trego()
    for _ in range(45):
        trial = asked(study, sampler, space)
        study.tell(trial, (trial.params["n"] - 3) ** 2 + np.log(trial.params["k"]) + trial.params["x"])
    drawn = [tuple(t.params.values()) for t in study.trials[10:]]
    assert len(set(drawn)) == len(drawn)
    assert study.best_value < 1


def test_global_steps_go_where_nothing_is_known() -> None:
    study = study_of()
    run(study, Trego(), 40)
    points = np.array([list(t.params.values()) for t in study.trials]) / 10
    for index in range(10, 40, 2):
        assert np.abs(points[:index] - points[index]).max(axis=1).min() >= APART * (1 - 1e-9)


def test_of_a_crowd_the_global_model_sees_the_best() -> None:
    points = np.array([[0.5, 0.5], [0.501, 0.5], [0.9, 0.1], [0.5, 0.499]])
    assert list(_telling(points, np.array([3.0, 1.0, 7.0, 2.0]))) == [1, 2]


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_it_turns_away_from_where_trials_come_to_nothing(state: TrialState) -> None:
    study, sampler = study_of(), Trego()
    for _ in range(50):
        trial = asked(study, sampler, PLANE)
        if trial.params["a"] > 0:  # there lies the bottom of the bowl
            study.tell(trial, state=state)
        else:
            study.tell(trial, bowl(**trial.params))
    fruitful = [t.params["a"] <= 0 for t in study.trials]
    assert sum(fruitful[-20:]) >= 8
    assert study.best_value < 1.5  # on the border it is 11/12 at the least


def test_values_without_end_count_as_the_worst_and_the_best() -> None:
    study, sampler = study_of(), Trego()
    for index in range(20):
        trial = asked(study, sampler, PLANE)
        study.tell(trial, [float("inf"), bowl(**trial.params)][index % 2])
    everywhere = study_of()
    for _ in range(14):
        everywhere.tell(asked(everywhere, sampler, PLANE), float("inf"))
    assert all(PLANE["a"]._contains(t.params["a"]) for t in (*study.trials, *everywhere.trials))


def test_choices_are_drawn_and_several_objectives_refused() -> None:
    study, sampler = study_of(), Trego()
    space = {**PLANE, "codec": CategoricalDistribution(["a", "b"])}
    drawn = set()
    for _ in range(16):
        trial = asked(study, sampler, space)
        drawn.add(trial.params["codec"])
        study.tell(trial, bowl(trial.params["a"], trial.params["b"]))
    assert drawn == {"a", "b"}
    several = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for _ in range(2):
        several.add_trial(optuna.create_trial(params={"a": 1.0, "b": 1.0}, distributions=PLANE, values=[1.0, 2.0]))
    with pytest.raises(ValueError, match="multi-objective"):
        several.ask(PLANE)
