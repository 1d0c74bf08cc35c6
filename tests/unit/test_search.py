"""A job's search: the points that it hands out, what it learns, and that an interruption changes nothing."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuners.search import PointSearch, seed_of
from tunesmith.domain import Experiment, ExperimentSpec, Pruner, Scalar, Search, Trial, TrialState, space_of
from tunesmith.testing.factories import EPOCH, spec

Params = Mapping[str, Scalar]

NUMBERS = space_of([{"name": "x", "minimum": 0, "maximum": 1}, {"name": "y", "minimum": 0, "maximum": 1}])
MIXED = space_of(
    [
        {"name": "codec", "type": "categorical", "choices": ["gzip", True, 1, 1.5, None, "x" * 5000, "1", False, 0]},
        {"name": "level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["gzip", 1]}},
        {"name": "deep", "minimum": 0, "maximum": 1, "when": {"level": [1, 2, 3, 4, 5], "codec": [1]}},
        {"name": "lr", "minimum": 1e-5, "maximum": 0.1, "log": True},
        {"name": "units", "type": "int", "minimum": 1, "maximum": 1000, "log": True},
        {"name": "batch", "type": "int", "minimum": 8, "maximum": 30, "step": 5},
        {"name": "drop", "minimum": 0.1, "maximum": 0.95, "step": 0.1},
        {"name": "big", "type": "int", "minimum": -(2**53), "maximum": 2**53},
        {"name": "one", "type": "int", "minimum": 3, "maximum": 3},
        {"name": "only", "type": "categorical", "choices": ["a"]},
        {"name": "flat", "minimum": 0.3, "maximum": 0.3},
    ]
)


def experiment_of(space: Any = NUMBERS, objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    wanted: ExperimentSpec = spec(objectives=objectives, space=space, **changes)
    return Experiment(
        id=1, workspace_id="w", spec=wanted, name="e", tags=(), archived=False, created_at=EPOCH, counts={}
    )


def loss_of(params: Params) -> float:
    """Any deterministic value; smooth where there are x and y, with its minimum at (0.3, 0.7)."""
    if "x" in params and "y" in params:
        return (float(params["x"] or 0) - 0.3) ** 2 + (float(params["y"] or 0) - 0.7) ** 2
    return float(sum(len(str(value)) * (i + 1) for i, value in enumerate(params.values())))


def finished(number: int, params: Params, experiment: Experiment, **changes: Any) -> Trial:
    """A trial of these parameters as it ends: every seventh fails, with as many values as there are objectives."""
    count = len(experiment.spec.objectives)
    failed = changes.pop("failed", number % 7 == 5)
    fields: dict[str, Any] = {
        "state": TrialState.FAILED if failed else TrialState.COMPLETE,
        "values": None if failed else tuple(loss_of(params) * (-1) ** i for i in range(count)),
        "metrics": {"size": float(params.get("x") or 0)},
    }
    return Trial(
        experiment_id=1,
        number=number,
        job_id="job",
        run_number=1,
        params=dict(params),
        started_at=EPOCH,
        ended_at=EPOCH + timedelta(seconds=1),
        **(fields | changes),
    )


def run(
    experiment: Experiment, search: Search, trials: int, history: Sequence[Trial] = (), **changes: Any
) -> list[Trial]:
    """Trials one at a time, the next one asked for when the last one is told; `history` are the job's own."""
    points = PointSearch(experiment, search, history, len(history))
    done = list(history)
    while len(done) < trials:
        number = len(done)
        params = points.ask(number)
        if params is None:
            break
        done.append(finished(number, params, experiment, system_attrs=points.system_attrs(number), **changes))
        points.tell(done[-1])
    return done


def studied(points: PointSearch) -> list[Any]:
    """The trials that a search learnt from, as Optuna's."""
    assert points._learning is not None
    return list(points._learning.study.get_trials(deepcopy=False))


def params_of(trials: Sequence[Trial]) -> list[Params]:
    return [trial.params for trial in trials]


BAYESOPT = Search(type="bayesopt", n_init=4, n_iter=10, seed=3)
SEARCHES = {
    "random": Search(type="random", n_iter=12, seed=1),
    "tpe": Search(type="tpe", n_iter=14, seed=2, options={"n_startup_trials": 4}),
    "bayesopt": BAYESOPT,
    "grid": Search(type="grid", num_configs_per_param=3, seed=4),
    "tpe with points": Search(
        type="tpe", n_iter=9, seed=5, options={"n_startup_trials": 3}, enqueue=[{"x": 0, "y": 1}, {"x": 1, "y": 0}]
    ),
    "bayesopt with points": BAYESOPT.evolve(enqueue=({"x": 0.5, "y": 0.5},)),
    "grid with points": Search(type="grid", num_configs_per_param=2, enqueue=[{"x": 0.5, "y": 0.5}]),
}  # fmt: skip


# Points


@pytest.mark.parametrize("kind", ["random", "tpe", "bayesopt", "nsga2"])
@pytest.mark.parametrize("objectives", [("loss",), ("loss", "-speed")])
def test_every_point_lies_in_the_space(kind: str, objectives: Sequence[str]) -> None:
    experiment = experiment_of(MIXED, objectives)
    search = Search(type=kind, n_iter=60, n_init=10 if kind == "bayesopt" else None, seed=0)
    trials = run(experiment, search, 60)
    for trial in trials:
        assert MIXED.problems(trial.params) == []
        assert list(trial.params) == [p.name for p in MIXED if p.name in trial.params]
        for name in ("level", "units", "batch", "big", "one"):
            assert type(trial.params.get(name, 1)) is int
        assert all(type(trial.params.get(name, 1.0)) is float for name in ("deep", "lr", "drop", "flat"))
    assert {("level" in t.params, "deep" in t.params) for t in trials} >= {(True, False), (False, False)}
    again = PointSearch(experiment, Search(type="tpe", seed=0), trials, len(trials))
    assert len(studied(again)) == len(trials), "a point that was handed out did not fit the space afterwards"


def test_any_json_scalar_can_be_a_choice() -> None:
    trials = run(experiment_of(MIXED), Search(type="random", n_iter=200, seed=0), 200)
    seen = {(type(t.params["codec"]).__name__, t.params["codec"]) for t in trials}
    assert len(seen) == 9
    assert {("bool", True), ("int", 1), ("bool", False), ("int", 0), ("NoneType", None), ("float", 1.5)} <= seen


def test_a_space_without_parameters_has_an_empty_point() -> None:
    empty = experiment_of(space_of([]))
    for kind in ("random", "tpe"):
        assert params_of(run(empty, Search(type=kind, n_iter=3, seed=1), 3)) == [{}, {}, {}]
    assert params_of(run(empty, Search(type="grid", num_configs_per_param=2), 9)) == [{}]
    assert params_of(run(empty, BAYESOPT, 5)) == [{}] * 5


def test_a_grid_is_handed_out_in_order_and_ends() -> None:
    trials = run(experiment_of(), SEARCHES["grid"], 99)
    assert [tuple(t.params.values()) for t in trials] == list(itertools.product([0, 0.5, 1], repeat=2))


def test_the_points_to_try_come_first() -> None:
    for name in ("tpe with points", "bayesopt with points", "grid with points"):
        trials = run(experiment_of(), SEARCHES[name], 9)
        given = SEARCHES[name].enqueue
        assert params_of(trials)[: len(given)] == list(given)
    assert len(run(experiment_of(), SEARCHES["grid with points"], 99)) == 5


def test_integers_among_the_points_to_try_become_floats() -> None:
    (first, *_) = run(experiment_of(), Search(type="random", n_iter=1, enqueue=[{"x": 1, "y": 0}]), 1)
    assert [type(value) for value in first.params.values()] == [float, float]


def test_bayesopt_is_random_at_first_and_then_a_model() -> None:
    experiment = experiment_of()
    n_init = 5
    search = Search(type="bayesopt", n_init=n_init, n_iter=40, seed=11)
    trials = run(experiment, search, n_init + 40, failed=False)
    random = run(experiment, Search(type="random", n_iter=n_init, seed=11), n_init)
    assert params_of(trials)[:n_init] == params_of(random)
    assert params_of(trials)[n_init] != params_of(run(experiment, Search(type="random", n_iter=9, seed=11), 9))[n_init]
    late = statistics.mean(loss_of(t.params) for t in trials[-15:])
    at_random = run(experiment, Search(type="random", n_iter=45, seed=11), 45)
    assert late < statistics.mean(loss_of(t.params) for t in at_random) / 3


def test_bayesopt_without_random_points_starts_all_the_same() -> None:
    assert len(run(experiment_of(), Search(type="bayesopt", n_init=0, n_iter=5, seed=1), 5)) == 5


# Seeds and interruptions


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_gives_the_same_points(name: str) -> None:
    first, second = (run(experiment_of(), SEARCHES[name], 14) for _ in range(2))
    assert params_of(first) == params_of(second)
    if "grid" not in name:
        other = run(experiment_of(), SEARCHES[name].evolve(seed=99), 14)
        assert params_of(first)[-1] != params_of(other)[-1]


def test_seeds_of_trials_differ() -> None:
    assert len({seed_of(seed, number) for seed in range(30) for number in range(30)}) == 900


@given(st.sampled_from(sorted(SEARCHES)), st.integers(0, 14), st.integers(0, 14))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_an_interrupted_search_hands_out_the_same_points(name: str, first: int, second: int) -> None:
    experiment, search = experiment_of(), SEARCHES[name]
    whole = run(experiment, search, 14)
    parts: list[Trial] = []
    for until in (*sorted((first, second)), 14):
        parts = run(experiment, search, until, parts)
    assert params_of(parts) == params_of(whole)


@given(st.integers(0, 11), st.sampled_from(["random", "tpe", "bayesopt"]))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_an_interruption_in_the_middle_of_a_trial_changes_nothing(at: int, name: str) -> None:
    experiment, search = experiment_of(MIXED), SEARCHES[name]
    whole = run(experiment, search, 12)
    history, lost = whole[:at], whole[at]
    points = PointSearch(experiment, search, history, at + 1)  # the lost trial was made, too
    points.reopen(lost.number, lost.params)
    points.tell(lost)
    done = [*history, lost]
    while len(done) < 12:
        params = points.ask(len(done))
        assert params is not None
        done.append(finished(len(done), params, experiment))
        points.tell(done[-1])
    assert params_of(done) == params_of(whole)


def test_a_trial_that_goes_back_and_comes_again_is_learnt_once() -> None:
    experiment = experiment_of()
    points = PointSearch(experiment, SEARCHES["tpe"], (), 0)
    params = points.ask(0)
    assert params is not None
    for _ in range(3):
        points.close(0)
        points.reopen(0, params)
    points.tell(finished(0, params, experiment))
    points.tell(finished(0, params, experiment))  # a late outcome of an earlier attempt
    complete = [t for t in studied(points) if t.state.name == "COMPLETE"]
    assert [t.params for t in complete] == [params]


# Learning


def test_a_job_learns_from_the_experiments_earlier_trials() -> None:
    experiment, search = experiment_of(), Search(type="tpe", n_iter=10, seed=1)
    earlier = run(experiment, Search(type="random", n_iter=60, seed=7), 60, failed=False)
    points = PointSearch(experiment, search, earlier, made=0)
    asked = []
    for number in range(60, 80):
        params = points.ask(number)
        assert params is not None
        asked.append(loss_of(params))
        points.tell(finished(number, params, experiment))
    assert statistics.mean(asked) < statistics.mean(loss_of(t.params) for t in earlier) / 3


def test_trials_outside_a_narrowed_space_are_ignored() -> None:
    wide = run(experiment_of(), Search(type="random", n_iter=50, seed=7), 50, failed=False)
    narrow = experiment_of(
        space_of([{"name": "x", "minimum": 0, "maximum": 0.5}, {"name": "y", "minimum": 0, "maximum": 1}])
    )
    points = PointSearch(narrow, SEARCHES["tpe"], wide, 0)
    inside = [trial.params for trial in wide if float(trial.params["x"] or 0) <= 0.5]
    assert [t.params for t in studied(points)] == inside
    assert 0 < len(inside) < 50
    assert all(float(t.params["x"] or 0) <= 0.5 for t in run(narrow, SEARCHES["tpe"], 5))


def test_trials_of_another_space_are_ignored() -> None:
    mixed = run(experiment_of(MIXED), Search(type="random", n_iter=5, seed=7), 5)
    assert studied(PointSearch(experiment_of(), SEARCHES["tpe"], mixed, 0)) == []


def test_a_lost_trial_outside_a_narrowed_space_is_evaluated_but_not_learnt() -> None:
    experiment = experiment_of()
    points = PointSearch(experiment, SEARCHES["tpe"], (), 1)
    points.reopen(0, {"x": 7.0, "y": 0.5})
    points.tell(finished(0, {"x": 7.0, "y": 0.5}, experiment))
    assert studied(points) == []
    assert points.ask(1) is not None


def test_several_objectives_are_searched_together() -> None:
    experiment = experiment_of(objectives=("a", "-b"))
    for kind in ("tpe", "nsga2", "random"):
        trials = run(experiment, Search(type=kind, n_iter=30, seed=1), 30)
        assert len({tuple(t.params.values()) for t in trials}) == 30


def test_constraints_steer_tpe() -> None:
    bounded = experiment_of(constraints=({"metric": "size", "min": 0.6},))  # the optimum is at 0.3
    free = experiment_of()
    search = Search(type="tpe", n_iter=80, seed=5)
    kept = {
        name: statistics.mean(float(t.params["x"] or 0) >= 0.6 for t in run(experiment, search, 80, failed=False)[-40:])
        for name, experiment in (("bounded", bounded), ("free", free))
    }
    assert kept["bounded"] > 0.6 > 0.3 > kept["free"]


def test_constraints_are_learnt_from_history_too() -> None:
    experiment = experiment_of(constraints=({"metric": "size", "min": 0.6}, {"metric": "size", "max": 0.8}))
    earlier = run(experiment_of(), Search(type="random", n_iter=80, seed=7), 80, failed=False)
    points = PointSearch(experiment, Search(type="tpe", seed=1), earlier, 0)
    asked = [points.ask(number) or {} for number in range(80, 100)]
    assert statistics.mean(0.55 <= float(params["x"] or 0) <= 0.85 for params in asked) > 0.6


# Pruning


def pruning(experiment: Experiment, pruner: Mapping[str, Any] | None) -> PointSearch:
    return PointSearch(experiment, Search.model_validate({"type": "random", "seed": 1, "pruner": pruner}), (), 0)


def test_the_pruner_ends_what_is_worse_than_the_others() -> None:
    experiment = experiment_of()
    points = pruning(experiment, {"type": "median", "options": {"n_startup_trials": 2}})
    for number in range(4):
        params = points.ask(number)
        assert not any(points.report(number, "loss", step, 1.0 / (step + 1)) for step in range(5))
        points.tell(finished(number, params or {}, experiment, failed=False))
    points.ask(4)
    points.ask(5)
    assert [points.report(4, "loss", step, 0.1) for step in range(3)] == [False] * 3
    assert points.report(5, "loss", 0, 9.0)
    points.tell(finished(5, {}, experiment, state=TrialState.PRUNED, values=None))
    assert studied(points)[5].state.name == "PRUNED"


def test_what_is_maximized_is_pruned_at_the_other_end() -> None:
    points = pruning(experiment_of(objectives=("-speed",)), {"type": "threshold", "options": {"lower": 1}})
    points.ask(0)
    assert not points.report(0, "speed", 0, 2.0)
    assert points.report(0, "speed", 1, 0.5)


def test_without_a_pruner_nothing_is_pruned() -> None:
    points = pruning(experiment_of(), None)
    points.ask(0)
    assert not any(points.report(0, "loss", step, 1e300) for step in range(5))


def test_odd_reports_do_no_harm() -> None:
    points = pruning(experiment_of(), {"type": "threshold", "options": {"upper": 1}})
    points.ask(0)
    assert not points.report(7, "loss", 0, 5.0)  # no such trial
    assert not points.report(0, "loss", -1, 5.0)  # pruners count from 0
    assert not points.report(0, "size", 3, 5.0)  # not the objective
    assert not points.report(0, "loss", 3, 0.5)
    assert not points.report(0, "loss", 3, 0.6)  # the first report of a step counts
    assert points.report(0, "loss", 2**61, 5.0)
    several = pruning(experiment_of(objectives=("a", "b")), None)
    several.ask(0)
    assert not several.report(0, "a", 0, 5.0)


def test_a_pruner_compares_with_the_curves_of_earlier_trials() -> None:
    pruner = Pruner(type="median", options={"n_startup_trials": 1, "n_warmup_steps": 0, "n_min_trials": 1})
    search = Search(type="random", n_iter=3, seed=1, pruner=pruner)
    experiment = experiment_of()
    blind = PointSearch(experiment, search, (), 0)
    params = blind.ask(0) or {}
    values = (1.0,) * len(experiment.spec.objectives)
    earlier = Trial(
        experiment_id=1, number=0, job_id="j", run_number=1, state=TrialState.COMPLETE, params=params, values=values
    )
    known = PointSearch(experiment, search, [earlier], 1, {0: {1: 0.5, 2: 0.25}})
    known.ask(1)
    assert known.report(1, "loss", 1, 0.9)
    assert not PointSearch(experiment, search, [earlier], 1).report(1, "loss", 1, 0.9)
