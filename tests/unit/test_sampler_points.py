"""The points of every sampler: in the space, within its constraints, with held parameters, from old trials."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from searching import BOUNDED, CONTINUOUS, FINITE, MIXED, SEARCHES, cases, complete, experiment_of, params_of, run

from tuners.search import PointSearch
from tunesmith.domain import Pruner, Search, Space, Trial, TrialState, space_of

QUICK = [name for name in SEARCHES if name != "gp"]
LISTED = {
    "grid": Search(type="grid", num_configs_per_param=4, seed=1),
    "brute_force": Search(type="brute_force", seed=1),
}


def studied(points: PointSearch) -> list[Any]:
    assert points._learning is not None
    return list(points._learning.study.get_trials(deepcopy=False))


# In the space


@pytest.mark.parametrize("name", cases(*SEARCHES))
def test_every_point_lies_in_the_space(name: str) -> None:
    trials = run(experiment_of(MIXED), SEARCHES[name], 14 if name == "gp" else 40)
    for trial in trials:
        assert MIXED.problems(trial.params) == []
        assert all(type(trial.params.get(p, 1)) is int for p in ("level", "batch", "units"))
        assert all(type(trial.params[p]) is float for p in ("x", "drop"))
    assert len({str(trial.params) for trial in trials}) > len(trials) / 2


@pytest.mark.parametrize("name", cases(*SEARCHES, *LISTED))
def test_every_point_keeps_the_constraints(name: str) -> None:
    space = BOUNDED if name != "brute_force" else discrete(BOUNDED)
    search = SEARCHES[name] if name in SEARCHES else LISTED[name]
    if name == "partial_fixed":
        search = search.evolve(options={"fixed_params": {"lo": 0.25}, "base": "nsga2"})
    trials = run(experiment_of(space), search, 14 if name == "gp" else 40, end=complete)
    assert len(trials) > 10
    assert [space.problems(trial.params) for trial in trials] == [[]] * len(trials)


@pytest.mark.parametrize("name", ["random", "qmc", "tpe", "cmaes", "nsga2"])
def test_a_point_is_found_where_hardly_any_is_feasible(name: str) -> None:
    space = CONTINUOUS.evolve(constraints=("abs(x - y) <= 1e-6", "lr >= x / 10"))
    trials = run(experiment_of(Space.model_validate(space.model_dump())), SEARCHES[name], 8)
    assert all(abs(float(t.params["x"] or 0) - float(t.params["y"] or 0)) <= 1e-6 for t in trials)
    assert len({t.params["x"] for t in trials}) > 2


def test_qmc_passes_over_what_breaks_a_constraint() -> None:
    half = Space.model_validate({**CONTINUOUS.model_dump(), "constraints": ["x < y"]})
    free = params_of(run(experiment_of(), SEARCHES["qmc"], 40))
    kept = params_of(run(experiment_of(half), SEARCHES["qmc"], 10))
    assert kept != free[:10]
    for trial in kept:
        assert float(trial["x"] or 0) < float(trial["y"] or 0)


def test_qmc_fills_the_space_more_evenly_than_chance() -> None:
    def worst_gap(name: str) -> float:
        found = sorted(float(params["x"] or 0) for params in params_of(run(experiment_of(), SEARCHES[name], 64)))
        return max(b - a for a, b in zip([0.0, *found], [*found, 1.0], strict=True))

    assert worst_gap("qmc") < 2.1 / 64 < worst_gap("random")
    assert worst_gap("halton") < 4 / 64


def test_uniform_draws_are_uniform_on_their_scale() -> None:
    trials = run(experiment_of(MIXED), Search(type="random", seed=3), 600)
    assert statistics.mean(float(t.params["x"] or 0) for t in trials) == pytest.approx(0.5, abs=0.05)
    below = statistics.mean(int(t.params["units"] or 0) < 32 for t in trials)
    assert below == pytest.approx(0.5, abs=0.1)
    assert {t.params["batch"] for t in trials} == {8, 13, 18, 23, 28}
    assert {t.params["drop"] for t in trials} == {round(0.1 * i, 1) for i in range(10)}


def discrete(space: Space) -> Space:
    stepped = [p.evolve(step=0.25) if p.type == "float" else p for p in space]
    return Space(parameters=tuple(stepped), constraints=space.constraints)


# Held parameters


@pytest.mark.parametrize("name", cases(*SEARCHES, *LISTED))
def test_any_sampler_holds_parameters(name: str) -> None:
    search = SEARCHES[name] if name in SEARCHES else LISTED[name]
    space = FINITE if name in LISTED else MIXED
    held: dict[str, Any] = {"a": 2, "codec": 1} if name in LISTED else {"codec": 1, "drop": 0.3}
    trials = run(experiment_of(space), search.evolve(fixed=held), 12)
    for trial in trials:
        assert trial.params.items() >= held.items()
        assert trial.params["codec"] is not True
        assert space.problems(trial.params) == []
    if name not in LISTED:
        assert all("level" in trial.params for trial in trials), "what hangs on a held parameter is there with it"
        assert len({str(trial.params) for trial in trials}) > 8


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_trials_with_other_values_of_a_held_parameter_are_learnt_from(name: str) -> None:
    experiment = experiment_of()
    earlier = run(experiment, Search(type="random", seed=3), 80, end=complete)
    search = SEARCHES[name].evolve(fixed={"lr": 0.01})
    points = PointSearch(experiment, search, earlier, 0)
    assert len(studied(points)) == 80
    assert {params["lr"] for params in params_of(run(experiment, search, 90, earlier)[80:])} == {0.01}


def test_a_grid_has_only_points_of_what_is_held() -> None:
    trials = run(experiment_of(FINITE), LISTED["brute_force"].evolve(fixed={"codec": True, "a": 3}), 99)
    assert [t.params["b"] for t in trials] == [0, 0.25, 0.5, 0.75, 1]
    held = Search(type="grid", num_configs_per_param=3, fixed={"x": 0.123, "lr": 0.01})
    assert params_of(run(experiment_of(), held, 99)) == [{"x": 0.123, "y": y, "lr": 0.01} for y in (0, 0.5, 1)]


# Lists


def test_brute_force_leaves_out_what_was_tried() -> None:
    experiment = experiment_of(FINITE)
    search = LISTED["brute_force"]
    every = params_of(run(experiment, search, 99))
    assert len(every) == 5 * 7
    assert len({str(params) for params in every}) == 35
    assert {(type(params["codec"]), params["codec"]) for params in every} == {(str, "gzip"), (bool, True), (int, 1)}
    earlier = run(experiment, Search(type="random", seed=1), 12)
    points = PointSearch(experiment, search, earlier, 0)
    rest = []
    while (params := points.ask(12 + len(rest))) is not None:
        rest.append(params)
    tried = [str(trial.params) for trial in earlier]
    assert [params for params in every if str(params) not in tried] == rest


def test_brute_force_tries_no_point_twice_that_stands_first() -> None:
    search = LISTED["brute_force"].evolve(enqueue=({"a": 3, "codec": 1},))
    trials = params_of(run(experiment_of(FINITE), search, 99))
    assert trials[0] == {"a": 3, "codec": 1}
    assert len(trials) == len({str(params) for params in trials}) == 35


# Old trials


@pytest.mark.parametrize("name", cases("tpe", "cmaes", "nsga2", "gp"))
def test_old_trials_are_used_where_they_fit(name: str) -> None:
    old = run(experiment_of(MIXED), SEARCHES[name], 14, end=complete)
    changes: dict[str, dict[str, Any]] = {
        "x": {"maximum": 2},
        "codec": {"choices": ("new", 1, "gzip", None)},
        "drop": {"maximum": 0.5},
    }
    changed = Space(parameters=tuple(p.evolve(**changes.get(p.name, {})) for p in MIXED))
    fitting = [t for t in old if t.params["codec"] is not True and float(t.params["drop"] or 0) <= 0.5]
    points = PointSearch(experiment_of(changed), SEARCHES[name], old, 0)
    assert len(studied(points)) == len(fitting) > 0
    assert [t.params["codec"] for t in studied(points)] == [
        ("new", 1, "gzip", None).index(t.params["codec"]) for t in fitting
    ]
    trials = run(experiment_of(changed), SEARCHES[name], 20, old)
    assert all(changed.problems(trial.params) == [] for trial in trials[14:])


def test_old_trials_that_break_a_new_constraint_are_left_out() -> None:
    old = run(experiment_of(), SEARCHES["tpe"], 20, end=complete)
    bounded = Space.model_validate({**CONTINUOUS.model_dump(), "constraints": ["x < y"]})
    points = PointSearch(experiment_of(bounded), SEARCHES["tpe"], old, 0)
    kept = [t.params for t in old if float(t.params["x"] or 0) < float(t.params["y"] or 0)]
    assert [t.params for t in studied(points)] == kept


def test_points_to_try_belong_to_the_population() -> None:
    first = tuple({"x": 0.3, "y": 0.7, "lr": lr} for lr in (1e-4, 1e-3, 1e-2))
    search = SEARCHES["nsga2"].evolve(enqueue=first)
    trials = run(experiment_of(), search, 16, end=complete)
    assert [dict(t.system_attrs or {}) for t in trials] == [{"Nsga2:generation": i // 8} for i in range(16)]
    inherited = [t for t in trials[8:] if t.params["x"] == 0.3 or t.params["y"] == 0.7]
    assert len(inherited) > 2


# Several objectives


def test_several_objectives_are_pruned_by_vectors() -> None:
    experiment = experiment_of(objectives=("loss", "-speed"))
    pruner = Pruner(type="median", options={"n_startup_trials": 4})
    for search in (Search(type="random", seed=1, pruner=pruner), Search(type="nsga2", seed=1, pruner=pruner)):
        points = PointSearch(experiment, search, (), 0)
        for number in range(4):
            params = points.ask(number)
            assert not points.report(number, "loss", 1, 0.1 * number)
            assert not points.report(number, "speed", 1, 5.0 - number)
            points.tell(complete(number, params or {}, experiment))
        points.ask(4)
        assert not points.report(4, "loss", 1, 9.0), "half a vector is none"
        assert not points.report(4, "other", 1, 9.0)
        assert points.report(4, "speed", 1, 0.0)
        points.ask(5)
        assert not points.report(5, "speed", 1, 9.0)
        assert not points.report(5, "loss", 1, 0.0)


def test_vectors_of_earlier_trials_are_compared_with() -> None:
    experiment = experiment_of(objectives=("loss", "-speed"))
    search = Search(type="random", seed=1, pruner=Pruner(type="median", options={"n_startup_trials": 1}))
    earlier = [complete(number, {"x": 0.1, "y": 0.1, "lr": 0.01}, experiment) for number in range(3)]
    curves = ({n: {1: 0.1 * n} for n in range(3)}, {n: {1: 5.0 - n} for n in range(3)})
    knowing = PointSearch(experiment, search, earlier, 3, curves)
    blind = PointSearch(experiment, search, earlier, 3)
    for points, pruned in ((knowing, True), (blind, False)):
        points.ask(3)
        points.report(3, "loss", 1, 9.0)
        assert points.report(3, "speed", 1, 0.0) == pruned


def test_what_halving_knows_of_a_trial_outlives_a_restart() -> None:
    experiment = experiment_of()
    pruner = Pruner(type="successive_halving", options={"min_resource": 1, "reduction_factor": 2})
    search = Search(type="tpe", seed=1, pruner=pruner)
    points = PointSearch(experiment, search, (), 0)
    done: list[Trial] = []
    for number in range(6):
        params = points.ask(number)
        pruned = any(points.report(number, "loss", step, float(number)) for step in range(1, 4))
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        values = None if pruned else (float(number),)
        done.append(
            complete(number, params or {}, experiment, system_attrs=points.system_attrs(number)).evolve(
                state=state, values=values
            )
        )
        points.tell(done[-1])
    assert {"completed_rung_0"} <= (done[0].system_attrs or {}).keys()
    again = PointSearch(experiment, search, done, 6, {t.number: {1: float(t.number)} for t in done})
    assert again.ask(6) == points.ask(6)
    assert [again.report(6, "loss", 1, 3.5), points.report(6, "loss", 1, 3.5)] == [True, True]


def test_any_json_scalar_can_be_held_and_searched() -> None:
    space = space_of([{"name": "c", "type": "categorical", "choices": ["1", 1, True, 1.5, None, False, 0, "x" * 5000]}])
    for name in QUICK:
        if name != "partial_fixed":
            seen = {(type(t.params["c"]), t.params["c"]) for t in run(experiment_of(space), SEARCHES[name], 60)}
            assert len(seen) > 4, name
