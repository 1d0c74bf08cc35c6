"""Functions that ask for their parameters while they run, in Optuna's style."""

from __future__ import annotations

import json
from typing import Any

import pytest
from searching import cases, experiment_of, params_of, stored

from tuners.search import PointSearch
from tuners.search.history import CHOICES, DISTRIBUTIONS
from tunesmith.domain import (
    CallableTool,
    Experiment,
    Parameter,
    Pruner,
    Scalar,
    Search,
    Trial,
    TrialState,
    space_of,
)
from tunesmith.errors import InvalidOptimizer
from tunesmith.testing.factories import EPOCH

X = Parameter(name="x", minimum=0, maximum=1)
KIND = Parameter(name="kind", type="categorical", choices=(True, 1, "deep", None))
DEPTH = Parameter(name="depth", type="int", minimum=1, maximum=32, log=True)
RATE = Parameter(name="rate", minimum=0, maximum=0.5, step=0.1)

SEARCHES = {
    "random": Search(type="random", seed=1),
    "tpe": Search(type="tpe", seed=2, options={"n_startup_trials": 4}),
    "independent tpe": Search(type="tpe", seed=2, options={"n_startup_trials": 4, "multivariate": False}),
    "grouped tpe": Search(type="tpe", seed=2, options={"n_startup_trials": 4, "group": True}),
    "bayesopt": Search(type="bayesopt", seed=3, n_init=4, n_iter=50),
    "cmaes": Search(type="cmaes", seed=4, options={"popsize": 4}),
    "nsga2": Search(type="nsga2", seed=5, options={"population_size": 4}),
    "gp": Search(type="gp", seed=6, options={"n_startup_trials": 4}),
    "random with a pruner": Search(type="random", seed=1, pruner=Pruner(type="median")),
}


@pytest.fixture
def experiment() -> Experiment:
    return experiment_of(space_of([]), tool=CallableTool(name="m:f", define_by_run=True))


def ask_for(points: PointSearch, number: int, known: dict[str, Scalar] | None = None) -> dict[str, Scalar]:
    """What a function with a condition asks for; `known` is what it was given before it was interrupted."""
    given = known if known is not None else {}
    given["x"] = points.suggest(number, X)
    given["kind"] = points.suggest(number, KIND)
    if given["kind"] == "deep":
        given["depth"] = points.suggest(number, DEPTH)
    given["rate"] = points.suggest(number, RATE)
    return given


def ended(number: int, points: PointSearch) -> Trial:
    params = points.params(number)
    failed = number % 6 == 4
    return Trial(
        experiment_id=1,
        number=number,
        job_id="job",
        run_number=1,
        state=TrialState.FAILED if failed else TrialState.COMPLETE,
        params=params,
        values=None if failed else ((float(params["x"] or 0) - 0.3) ** 2 + (params["kind"] == "deep"),),
        system_attrs=points.system_attrs(number),
        started_at=EPOCH,
        ended_at=EPOCH,
    )


def run(experiment: Experiment, search: Search, trials: int, history: list[Trial] | None = None) -> list[Trial]:
    done = [stored(trial) for trial in history or []]
    points = PointSearch(experiment, search, done, len(done))
    for number in range(len(done), trials):
        assert points.ask(number) == {}
        ask_for(points, number)
        done.append(ended(number, points))
        points.tell(done[-1])
    return done


@pytest.mark.parametrize("name", cases(*SEARCHES))
def test_a_rebuilt_search_gives_the_same_parameters(experiment: Experiment, name: str) -> None:
    length = 12 if name == "gp" else 30
    whole = run(experiment, SEARCHES[name], length)
    for at in (1, 7, length - 3):
        assert params_of(run(experiment, SEARCHES[name], length, whole[:at])) == params_of(whole)
    assert len({str(trial.params) for trial in whole}) > length / 2


@pytest.mark.parametrize("name", cases(*SEARCHES))
def test_a_trial_that_is_taken_up_again_keeps_what_it_had(experiment: Experiment, name: str) -> None:
    whole = run(experiment, SEARCHES[name], 12)
    for at in (0, 10):
        points = PointSearch(experiment, SEARCHES[name], [stored(trial) for trial in whole[:at]], at)
        points.ask(at)
        first = points.suggest(at, X)
        noted = json.loads(json.dumps(points.system_attrs(at)))
        again = PointSearch(experiment, SEARCHES[name], [stored(trial) for trial in whole[:at]], at + 1)
        again.reopen(at, points.params(at), noted)
        for searching in (points, again):
            assert searching.suggest(at, X) == first
            assert ask_for(searching, at) == whole[at].params
        points.close(at)  # a worker died; nothing is written in between
        points.reopen(at, {}, None)
        assert points.params(at) == whole[at].params
        assert ask_for(points, at) == whole[at].params


def test_the_same_name_gets_the_same_value(experiment: Experiment) -> None:
    for search in SEARCHES.values():
        points = PointSearch(experiment, search, (), 0)
        points.ask(0)
        assert points.params(0) == {}
        first = points.suggest(0, X)
        assert [points.suggest(0, X) for _ in range(3)] == [first] * 3
        assert points.params(0) == {"x": first}
        with pytest.raises(KeyError):
            points.suggest(1, X)


def test_what_was_asked_for_is_noted_in_optunas_terms(experiment: Experiment) -> None:
    (trial,) = run(experiment, SEARCHES["tpe"], 1)
    attrs = trial.system_attrs or {}
    assert json.loads(attrs[DISTRIBUTIONS]["x"])["attributes"] == {"low": 0.0, "high": 1.0, "log": False, "step": None}
    assert json.loads(attrs[DISTRIBUTIONS]["kind"])["attributes"] == {"choices": [0, 1, 2, 3]}
    assert attrs[CHOICES] == {"kind": [True, 1, "deep", None]}


def test_points_to_try_are_taken_as_far_as_they_are_asked_for(experiment: Experiment) -> None:
    point: dict[str, Any] = {"x": 1, "kind": 1, "depth": 5, "rate": 7, "unknown": 0}
    for search in SEARCHES.values():
        points = PointSearch(experiment, search.evolve(enqueue=(point,)), (), 0)
        points.ask(0)
        given = ask_for(points, 0)
        assert (given["x"], given["kind"]) == (1.0, 1)
        assert type(given["x"]) is float
        assert type(given["kind"]) is int
        assert RATE.contains(given["rate"]), "7 is none of its values"
        assert given.keys() == {"x", "kind", "rate"}


def test_held_parameters_are_held(experiment: Experiment) -> None:
    for name in SEARCHES.keys() - {"gp"}:
        search = SEARCHES[name]
        trials = run(experiment, search.evolve(fixed={"kind": "deep", "depth": 4}), 8)
        assert all((t.params["kind"], t.params["depth"]) == ("deep", 4) for t in trials)
    points = PointSearch(experiment, SEARCHES["tpe"].evolve(fixed={"x": 3}), (), 0)
    points.ask(0)
    with pytest.raises(InvalidOptimizer, match=r"fixed.x: 3 lies outside the range that the trial asks for"):
        points.suggest(0, X)


def test_a_model_learns_from_what_was_asked_for(experiment: Experiment) -> None:
    trials = run(experiment, SEARCHES["tpe"], 60)
    late = [abs(float(trial.params["x"] or 0) - 0.3) for trial in trials[-20:]]
    assert sum(late) / 20 < 0.2
    assert sum(trial.params["kind"] == "deep" for trial in trials[-20:]) < 5


def test_bayesopt_begins_at_random(experiment: Experiment) -> None:
    first = params_of(run(experiment, SEARCHES["bayesopt"], 4))
    assert first == params_of(run(experiment, Search(type="random", seed=3), 4))


def test_choices_that_change_between_trials_are_an_error_of_the_trial(experiment: Experiment) -> None:
    points = PointSearch(experiment, SEARCHES["tpe"], (), 0)
    points.ask(0)
    points.suggest(0, KIND)
    points.ask(1)
    with pytest.raises(ValueError, match="CategoricalDistribution does not support dynamic value space"):
        points.suggest(1, KIND.evolve(choices=("other", "ones")))
