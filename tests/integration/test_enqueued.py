"""Trials that somebody enqueues in Optuna's way, on every database: workers that ask get them first, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient

from serve_app.app import build
from tunesmith.optuna import Storage
from tunesmith.settings import Settings
from tunesmith.store import open_store
from tunesmith.testing import race

X = {"name": "x", "minimum": 0, "maximum": 1}
N = {"name": "n", "type": "int", "minimum": 1, "maximum": 4}


class Shared:
    """An experiment that workers ask for trials, and an Optuna study on the same one."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings, self.url = settings, url
        self.store, self.storage = open_store(url), Storage(url)
        self.store.upgrade()
        self.api = TestClient(build(settings, store=self.store))

    def make(self, *parameters: dict[str, Any], **content: Any) -> optuna.Study:
        names = {"tool_name": "shared", "external": True, "objectives": [{"metric": "loss"}]}
        body = names | {"parameters": parameters or [X]} | content
        self.id = self.api.post("/api/v1/experiments", json=body).json()["id"]
        return optuna.load_study(study_name=self.storage.get_study_name_from_id(self.id), storage=self.storage)

    def post(self, path: str, **body: Any) -> Any:
        return self.api.post(f"/api/v1/experiments/{self.id}/{path}", json=body)

    def ask(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.post("ask", **body)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["trials"])

    def points(self, **body: Any) -> list[dict[str, Any]]:
        return [trial["params"] for trial in self.ask(**body)]

    def tell(self, trial: dict[str, Any], value: float = 0.5) -> Any:
        return self.post(f"trials/{trial['number']}/tell", token=trial["token"], value=value)


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Shared]:
    here = Shared(settings, str(request.getfixturevalue(f"{request.param}_url")))
    yield here
    here.storage.close()
    here.store.close()


def test_an_enqueued_point_comes_before_those_that_are_prepared_already(shared: Shared) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": "random"})
    assert shared.api.get(f"/api/v1/experiments/{shared.id}").json()["trial_counts"]["waiting"] > 10
    study.enqueue_trial({"x": 0.25}, user_attrs={"why": "a guess"})
    study.enqueue_trial({"x": 0.75})
    (first,) = shared.ask()
    assert first["params"] == {"x": 0.25}
    assert shared.points(count=2)[0] == {"x": 0.75}
    assert shared.tell(first, 3.0).json()["state"] == "complete"
    told = study.trials[first["number"]]
    assert (told.params, told.value, told.user_attrs) == ({"x": 0.25}, 3.0, {"why": "a guess"})


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "nsga2"])
def test_a_sampler_learns_of_it_and_a_restart_forgets_nothing(shared: Shared, sampler: str) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": sampler, "seed": 1, "n_iter": 9})
    for turn in range(4):
        study.enqueue_trial({"x": turn / 10})
        (trial,) = shared.ask()
        assert trial["params"] == {"x": turn / 10}
        shared.api = TestClient(build(shared.settings, store=shared.store))  # it knows nothing
        assert shared.tell(trial).status_code == 200
    rest = shared.ask(count=20)
    assert len(rest) == 8, "enqueued trials are beside those that n_iter counts"


def test_no_point_of_a_list_is_lost_by_one_that_is_enqueued(shared: Shared) -> None:
    study = shared.make()
    seen = shared.points(optimizer={"type": "grid", "num_configs_per_param": 5})
    study.enqueue_trial({"x": 0.1})
    seen += shared.points()
    shared.api = TestClient(build(shared.settings, store=shared.store))
    seen += shared.points(count=9)
    assert sorted(point["x"] for point in seen) == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]


def test_what_an_enqueued_point_leaves_open_is_filled_in(shared: Shared) -> None:
    depth = {"name": "depth", "type": "int", "minimum": 1, "maximum": 9, "when": {"kind": ["tree"]}}
    kind = {"name": "kind", "type": "categorical", "choices": ["tree", "line"]}
    study = shared.make(X, N, kind, depth, parameter_constraints=["x * 4 <= n"])
    shared.ask(optimizer={"type": "random", "seed": 1})
    for given in ({"x": 0.75}, {"depth": 7}, {"n": 1, "kind": "line"}):
        study.enqueue_trial(given)
        (point,) = shared.points()
        assert given.items() <= point.items()
        assert point["x"] * 4 <= point["n"]


def test_what_lies_outside_the_space_is_left_to_optuna(shared: Shared) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": "random"})
    study.enqueue_trial({"x": 2.0})
    study.enqueue_trial({"y": 0.5})
    study.enqueue_trial({"x": 0.5})
    assert shared.points(count=2)[0] == {"x": 0.5}
    assert len(shared.points(count=30)) == 30
    left = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.WAITING]
    assert [trial.params for trial in left if "fixed_params" in trial.system_attrs] == [{}, {}]


def test_a_later_wish_and_a_narrowed_space_lose_no_enqueued_point(shared: Shared) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": "random"})
    for x in (0.1, 0.2, 0.9):
        study.enqueue_trial({"x": x})
    shared.post("ask", count=1)  # all of them are looked at by now, or soon
    assert shared.points(optimizer={"type": "tpe"}) == [{"x": 0.2}]
    narrow = {"parameters": [X | {"maximum": 0.5}]}
    shared.api.patch(f"/api/v1/experiments/{shared.id}", json=narrow)
    assert shared.points()[0]["x"] <= 0.5
    shared.api.patch(f"/api/v1/experiments/{shared.id}", json={"parameters": [X]})
    assert shared.points() == [{"x": 0.9}]


def test_a_finite_space_is_gone_through_once_with_enqueued_points_first(shared: Shared) -> None:
    study = shared.make(N)
    study.enqueue_trial({"n": 3})
    study.enqueue_trial({"n": 2})
    study.enqueue_trial({"n": 3})  # a repeat, which is left to Optuna
    found = shared.points(optimizer={"type": "brute_force"}) + shared.points(count=9)
    assert [point["n"] for point in found[:2]] == [3, 2]
    assert sorted(point["n"] for point in found) == [1, 2, 3, 4]


def test_a_pruner_judges_an_enqueued_trial(shared: Shared) -> None:
    study = shared.make()
    pruner = {"type": "median", "n_startup_trials": 2, "n_warmup_steps": 0}
    for value in (1.0, 2.0, 3.0):
        (trial,) = shared.ask(optimizer={"type": "random", "pruner": pruner})
        shared.post(f"trials/{trial['number']}/report", token=trial["token"], step=0, value=value)
        shared.tell(trial, value)
    study.enqueue_trial({"x": 0.5})
    (bad,) = shared.ask()
    assert bad["params"] == {"x": 0.5}
    report = shared.post(f"trials/{bad['number']}/report", token=bad["token"], step=0, value=99.0)
    assert report.json()["prune"]


def test_an_optuna_process_and_workers_never_both_take_it(shared: Shared) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": "random", "n_iter": 1})
    for index in range(30):
        study.enqueue_trial({"x": index / 100})
    taken: list[float] = []

    def work() -> None:
        mine = 0
        while mine < 10:
            for trial in shared.ask():
                taken.append(trial["params"]["x"])
                assert shared.tell(trial).status_code == 200
                mine += 1

    def optimize() -> None:
        def objective(trial: optuna.Trial) -> float:
            taken.append(trial.suggest_float("x", 0, 1))
            return 0.5

        study.optimize(objective, n_trials=10)

    assert race(work, work, optimize) == [None] * 3
    assert sorted(taken) == [index / 100 for index in range(30)]


def test_racing_asks_hand_out_an_enqueued_point_once(shared: Shared) -> None:
    study = shared.make()
    shared.ask(optimizer={"type": "random"})
    study.enqueue_trial({"x": 0.5})
    found: list[Any] = race(*[partial(shared.points, count=1)] * 4)
    assert sum(point == {"x": 0.5} for points in found for point in points) == 1
