"""When a search stops by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tuners.stopping import Stopping
from tunesmith.domain import Experiment, Search, Trial, TrialState
from tunesmith.testing import memory_store
from tunesmith.testing.factories import new_experiment


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return new_experiment(memory_store())


def trial(value: float | None, state: TrialState = TrialState.COMPLETE, violation: float | None = None) -> Trial:
    values = None if value is None else (value,)
    return Trial(
        experiment_id=1, number=0, job_id="j", run_number=1, state=state, params={}, values=values, violation=violation
    )


def stopping(experiment: Experiment, ran_s: float = 0, **fields: Any) -> Stopping:
    return Stopping(experiment, Search(**fields), ran_s)


def see(stopping: Stopping, *values: float) -> str | None:
    for value in values:
        stopping.see(trial(value))
    return stopping.reason


FAILED = trial(None, TrialState.FAILED)


def test_a_search_without_limits_never_stops(experiment: Experiment) -> None:
    watch = stopping(experiment, ran_s=1e6)
    for _ in range(1000):
        watch.see(FAILED)
    assert see(watch, *[1.0] * 1000) is None
    assert not watch.failed


def test_it_stops_when_nothing_improves(experiment: Experiment) -> None:
    watch = stopping(experiment, converge_steps=3)
    assert see(watch, 5, 6, 6) is None
    assert see(watch, 4, 4, 4) is None
    assert see(watch, 4) == "no improvement in 3 trials (converge_steps)"
    assert not watch.failed


def test_a_small_improvement_is_none_until_small_ones_add_up(experiment: Experiment) -> None:
    watch = stopping(experiment, converge_steps=3, converge_thres=1.0)
    assert see(watch, 10, 9.5, 9.0) is None
    assert see(watch, 8.5, 8.4, 8.3) is None
    assert see(watch, 8.2) == "no improvement in 3 trials (converge_steps)"


def test_what_is_maximized_improves_upwards() -> None:
    watch = stopping(new_experiment(memory_store(), objectives=("-speed",)), converge_steps=2)
    assert see(watch, 1, 2, 3, 4) is None
    assert see(watch, 3, 2) is not None


def test_failed_pruned_and_infeasible_trials_are_no_improvement(experiment: Experiment) -> None:
    watch = stopping(experiment, converge_steps=3)
    for other in (FAILED, trial(None, TrialState.PRUNED), trial(0, violation=1.0)):
        watch.see(other)
    assert watch.reason is None  # nothing to improve upon yet
    watch.see(trial(5))
    for other in (FAILED, trial(None, TrialState.PRUNED), trial(0, violation=1.0)):
        watch.see(other)
    assert watch.reason is not None


def test_several_objectives_do_not_converge() -> None:
    watch = stopping(new_experiment(memory_store(), objectives=("a", "b")), converge_steps=1)
    assert see(watch, 1, 2, 3) is None


def test_it_stops_when_the_budget_is_spent(experiment: Experiment) -> None:
    assert stopping(experiment, ran_s=9, budget_s=10).reason is None
    assert stopping(experiment, ran_s=11, budget_s=10).reason == "the budget of 10 s is spent (budget_s)"
    assert not stopping(experiment, ran_s=11, budget_s=10).failed


def test_too_many_failures_fail_the_job(experiment: Experiment) -> None:
    watch = stopping(experiment, max_failed_trials=2)
    watch.see(FAILED)
    see(watch, 1, 2, 3)
    assert (watch.failed, watch.reason) == (False, None)
    watch.see(FAILED)
    assert (watch.failed, watch.reason) == (True, "2 trials failed (max_failed_trials)")


def test_a_goal_is_reached_by_one_trial_in_all_that_it_names() -> None:
    experiment = new_experiment(memory_store(), objectives=("time", "-speed"))
    watch = stopping(experiment, goal={"time": 2.0, "speed": 10.0})
    for values in ((1.0, 9.0), (3.0, 11.0)):
        watch.see(trial(0.0).evolve(values=values))
    assert watch.reason is None
    watch.see(trial(0.0).evolve(values=(2.0, 10.0), number=7))
    assert watch.reason == "trial 7 reached the goal: time 2, speed 10 (goal)"
    assert not watch.failed


def test_a_trial_that_breaks_a_constraint_reaches_no_goal(experiment: Experiment) -> None:
    watch = stopping(experiment, goal=1.0)
    watch.see(trial(0.5, violation=0.1))
    assert watch.reason is None


def test_what_trials_cost_ends_the_search(experiment: Experiment) -> None:
    watch = stopping(experiment, max_cost=1.0)
    watch.charge(0.75)
    assert watch.reason is None
    watch.charge(0.25)
    assert watch.reason == "its trials cost 1, the limit is 1 (max_cost)"
