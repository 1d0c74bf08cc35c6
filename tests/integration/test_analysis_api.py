"""Analyses over REST, on every database: their data, how long they are kept, and what is refused."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from analysing import (
    DEPTH,
    KINDS,
    data,
    experiment_of,
    figure,
    loss,
    mixed,
    peer,
    refusal,
    trial,
    write,
)
from fastapi.testclient import TestClient

from serve_app.app import build
from tunesmith.domain import TrialState, space_of, utcnow
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.tables import trials as trials_table


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[TestClient]:
    with TestClient(build(settings, store=store)) as client:
        yield client


@pytest.fixture
def quick(settings: Settings, sqlite_store: Store) -> Iterator[TestClient]:
    """The application on one database, where the database makes no difference."""
    with TestClient(build(settings, store=sqlite_store)) as client:
        yield client


class TestData:
    def test_every_form_shows_the_same_trials(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, mixed())
        whole = [each for each in mixed() if each.state is TrialState.COMPLETE]
        history = data(api, experiment, "history")
        assert history["numbers"] == [each.number for each in whole]
        assert history["values"] == [each.values[0] if each.number != 9 else "inf" for each in whole if each.values]
        assert [n for n, good in zip(history["numbers"], history["feasible"], strict=True) if not good] == [7]
        finite = [each for each in whole if each.number != 9]
        shown = {trace["axis"]["name"]: trace for trace in data(api, experiment, "slice")["traces"]}
        assert shown["lr"]["x"] == [each.params["lr"] for each in finite]
        assert shown["lr"]["values"] == [each.values[0] for each in finite if each.values]
        assert shown["momentum"]["numbers"] == [each.number for each in finite if "momentum" in each.params]
        assert shown["opt"]["axis"]["choices"] == ["sgd", "adam"]
        assert (shown["lr"]["axis"]["low"], shown["lr"]["axis"]["log"]) == (1e-4, True)
        lines = data(api, experiment, "parallel_coordinates")
        momentum = next(axis for axis in lines["axes"] if axis["axis"]["name"] == "momentum")
        assert momentum["present"] == ["momentum" in each.params for each in finite]
        pairs = data(api, experiment, "contour", params="lr,momentum")["traces"]
        assert [(pair["x_axis"]["name"], pair["y_axis"]["name"]) for pair in pairs] == [("lr", "momentum")]
        assert pairs[0]["numbers"] == shown["momentum"]["numbers"]

    def test_the_best_so_far_holds_until_a_better_feasible_one(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("-score",))
        values = [1.0, 3.0, 2.0, -math.inf, 9.0, 3.0, 4.0, 0.0]
        found = [trial(n, value, violation=1.0 if value == 9.0 else None) for n, value in enumerate(values)]
        write(store, experiment, found)
        assert data(api, experiment, "history")["best"] == {"numbers": [0, 1, 6, 7], "values": [1.0, 3.0, 4.0, 4.0]}

    def test_infinite_values_of_the_second_objective(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("time", "-score"))
        found = [trial(0, 1.0, -math.inf), trial(1, 2.0, 3.0), trial(2, 3.0, math.inf), trial(3, math.inf, 0.0)]
        write(store, experiment, found)
        history = data(api, experiment, "history", objective="score")
        assert history["values"] == ["-inf", 3.0, "inf", 0.0]
        assert history["best"] == {"numbers": [1, 2, 3], "values": [3.0, "inf", "inf"]}
        assert data(api, experiment, "slice", objective="score")["traces"][0]["numbers"] == [1, 3]
        front = data(api, experiment, "pareto_front")
        assert front["values"][3] == ["inf", 0.0]
        assert front["ranks"] == ["front", "front", "front", "dominated"]

    def test_choices_that_python_takes_for_one_another_stay_apart(self, api: TestClient, store: Store) -> None:
        choices: list[Any] = [True, 1, "1", None, "None", 2.5]
        flag = {"name": "flag", "type": "categorical", "choices": choices}
        experiment = experiment_of(store, space=space_of([flag, DEPTH]))
        found = [trial(n, float(n), params={"flag": choices[n % 6], "depth": 1 + n % 8}) for n in range(24)]
        write(store, experiment, found)
        (flags, _) = data(api, experiment, "slice")["traces"]
        assert json.dumps(flags["axis"]["choices"]) == json.dumps(choices)
        assert json.dumps(flags["x"]) == json.dumps([each.params["flag"] for each in found])
        for kind in ("slice", "parallel_coordinates", "contour"):
            text = figure(api, experiment, kind).to_json()
            assert all(json.dumps(json.dumps(choice))[1:-1] in text for choice in choices), kind
        sliced = next(trace for trace in figure(api, experiment, "slice", params="flag").data)
        assert len(sliced.x) == 24
        assert sorted(sliced.y) == sorted(float(n) for n in range(24))
        for evaluator in ("ped_anova", "fanova"):
            assert sum(data(api, experiment, "importances", evaluator=evaluator)["importances"]) == pytest.approx(1)

    def test_a_parameter_that_alone_decides_has_nearly_all_the_importance(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, space=space_of([DEPTH, {"name": "x", "minimum": 0, "maximum": 1}]))
        rng = np.random.default_rng(1)
        found = []
        for number in range(200):
            x = float(rng.random())
            found.append(trial(number, x * x, params={"depth": int(rng.integers(1, 9)), "x": x}))
        write(store, experiment, found)
        for evaluator in ("ped_anova", "fanova"):
            answer = data(api, experiment, "importances", evaluator=evaluator)
            assert (answer["params"][0], answer["evaluator"]) == ("x", evaluator)
            assert answer["importances"][0] > 0.9
            assert sum(answer["importances"]) == pytest.approx(1)

    @pytest.mark.parametrize("evaluator", ["ped_anova", "fanova"])
    def test_importances_of_many_choices(self, quick: TestClient, sqlite_store: Store, evaluator: str) -> None:
        many = {"name": "many", "type": "categorical", "choices": [f"c{n}" for n in range(40)]}
        experiment = experiment_of(sqlite_store, space=space_of([DEPTH, many]))
        rng = np.random.default_rng(1)
        found = []
        for number in range(400):
            which = int(rng.integers(0, 40))
            params = {"depth": int(rng.integers(1, 9)), "many": f"c{which}"}
            found.append(trial(number, float(which * 7 % 40), params=params))
        write(sqlite_store, experiment, found)
        answer = data(quick, experiment, "importances", evaluator=evaluator)
        assert answer["params"][0] == "many"
        assert answer["importances"][0] > 0.9

    def test_small_studies_have_the_importances_that_optuna_reckons(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        found = [trial(n, loss(n)) for n in range(60)]
        write(store, experiment, found)
        for name, evaluator in (
            ("ped_anova", optuna.importance.PedAnovaImportanceEvaluator()),
            ("fanova", optuna.importance.FanovaImportanceEvaluator(seed=0)),
        ):
            theirs = optuna.importance.get_param_importances(peer(found), evaluator=evaluator)
            ours = data(api, experiment, "importances", evaluator=name)
            assert dict(zip(ours["params"], ours["importances"], strict=True)) == pytest.approx(theirs)

    def test_the_distribution_of_four_values(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(n, value) for n, value in enumerate([0.0, 1.0, 1.0, 99.0])])
        found = data(api, experiment, "edf")
        assert (found["x"][0], found["x"][1], found["x"][-1]) == (0.0, 1.0, 99.0)
        assert (found["probability"][0], found["probability"][1], found["probability"][-1]) == (0.25, 0.75, 1.0)

    def test_the_front_names_who_is_on_it_and_who_breaks_a_constraint(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("loss", "-accuracy", "size", "time"))
        vectors = [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1), (0, 9, 0, 0), (1, 1, 1, 1)]
        found = [trial(n, *map(float, v), violation=1.0 if n == 3 else None) for n, v in enumerate(vectors)]
        write(store, experiment, found)
        answer = data(api, experiment, "pareto_front")
        assert answer["ranks"] == ["front", "dominated", "front", "infeasible", "front"]
        assert answer["values"] == [list(map(float, vector)) for vector in vectors]
        assert (answer["objectives"], answer["front_total"]) == (["loss", "accuracy", "size", "time"], 3)
        assert data(api, experiment, "pareto_front", objective="size,loss")["values"][1] == [1.0, 2.0]
        drawn = figure(api, experiment, "pareto_front", objective="size,loss")
        assert (drawn.layout.xaxis.title.text, drawn.layout.yaxis.title.text) == ("size", "loss")
        assert figure(api, experiment, "pareto_front").layout.scene.zaxis.title.text == "size"

    def test_intermediate_values_of_another_objective(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("time", "loss"))
        rows = {"n0": [("loss", 1, 0.5), ("loss", 2, math.inf), ("time", 1, 3.0)], "n1": [("time", 1, 4.0)]}
        write(store, experiment, [trial(0, 1.0, 2.0), trial(1, state=TrialState.RUNNING)], **rows)
        (curve,) = data(api, experiment, "intermediate_values", objective="loss")["traces"]
        assert (curve["number"], curve["steps"], curve["values"]) == (0, [1, 2], [0.5, "inf"])
        both = data(api, experiment, "intermediate_values")["traces"]
        assert [(curve["number"], curve["state"]) for curve in both] == [(0, "complete"), (1, "running")]

    def test_a_timeline_has_trials_in_any_state(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, mixed())
        answer = data(api, experiment, "timeline")
        assert answer["states"] == [each.state.value for each in mixed()]
        assert (answer["started_at"][0], answer["ended_at"][0]) == (
            "2026-01-01T12:00:00.000Z", "2026-01-01T12:00:01.000Z"
        )  # fmt: skip
        assert answer["ended_at"][40:] == [None, None]
        assert answer["started_at"][41] is None
        assert (answer["feasible"][6], answer["feasible"][7], answer["feasible"][3]) == (True, False, None)


class TestCache:
    def test_an_answer_is_the_same_until_a_trial_changes_it(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(0, 1.0), trial(1, state=TrialState.RUNNING)])
        path = f"/api/v1/experiments/{experiment.id}/analysis/history"
        first = api.get(path)
        again = api.get(path, headers={"If-None-Match": f'W/{first.headers["etag"]}, "other"'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        write(store, experiment, [trial(1, 0.5)])
        changed = api.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (changed.status_code, changed.json()["numbers"]) == (200, [0, 1])
        assert api.get(path, params={"format": "plotly"}).headers["etag"] != changed.headers["etag"]

    def test_a_report_of_a_running_trial_changes_its_curve(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(0, state=TrialState.RUNNING)], n0=[("loss", 1, 0.5)])
        assert data(api, experiment, "intermediate_values")["traces"][0]["steps"] == [1]
        with store.write() as tx:
            tx.measure_study_trial(experiment.id, 0, "loss", {2: 0.4})
        assert data(api, experiment, "intermediate_values")["traces"][0]["steps"] == [1, 2]
        with store.write() as tx:
            tx.measure_study_trial(experiment.id, 0, "loss", {3: 0.3})
        assert data(api, experiment, "intermediate_values")["traces"][0]["values"] == [0.5, 0.4, 0.3]

    def test_a_trial_that_is_started_once_more_changes_the_timeline(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(0, state=TrialState.RUNNING)])
        before = data(api, experiment, "timeline")
        with store.write() as tx:
            mine = trials_table.c.experiment_id == experiment.id
            tx.connection.execute(trials_table.update().where(mine).values(started_at=utcnow(), attempt=2))
        assert data(api, experiment, "timeline")["started_at"] != before["started_at"]

    def test_many_who_ask_at_once_get_one_answer(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store)
        write(sqlite_store, experiment, [trial(n, loss(n)) for n in range(300)])
        path = f"/api/v1/experiments/{experiment.id}/analysis/importances?evaluator=fanova"
        answers: list[Any] = []
        others: list[int] = []
        askers = [threading.Thread(target=lambda: answers.append(quick.get(path))) for _ in range(30)]
        for asker in askers:
            asker.start()
        while any(asker.is_alive() for asker in askers):  # nobody else is held up
            others.append(quick.get("/health").status_code)
        for asker in askers:
            asker.join()
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert set(others) == {200}

    def test_an_error_is_not_kept(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(0, 1.0)])
        assert refusal(api, experiment, "importances")["details"]["complete"] == 1
        write(store, experiment, [trial(1, 2.0)])
        assert data(api, experiment, "importances")["shown"] == 2


class TestRefusals:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_experiment_without_trials_has_empty_answers(self, api: TestClient, store: Store, kind: str) -> None:
        experiment = experiment_of(store, ("a", "b"))
        assert (data(api, experiment, kind)["total"], data(api, experiment, kind)["shown"]) == (0, 0)
        drawn = figure(api, experiment, kind)
        assert len(drawn.data) == 0
        assert drawn.layout.title.text.endswith("no trials to show yet")

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_experiment_where_nothing_is_complete_has_no_error_either(
        self, quick: TestClient, sqlite_store: Store, kind: str
    ) -> None:
        experiment = experiment_of(sqlite_store, ("a", "b"))
        write(sqlite_store, experiment, [trial(0, state=TrialState.RUNNING), trial(1, state=TrialState.FAILED)])
        if kind == "importances":
            assert "2 complete trials of finite value, not 0" in refusal(quick, experiment, kind)["error"]
            return
        assert data(quick, experiment, kind)["shown"] == (2 if kind == "timeline" else 0)
        figure(quick, experiment, kind)

    @pytest.mark.parametrize(
        ("kind", "options", "field", "said"),
        [
            ("history", {"objective": "los"}, "objective", "there are: loss"),
            ("slice", {"params": "lr,leer"}, "params", "there are: lr, depth, opt, momentum"),
            ("contour", {"params": "lr"}, "params", "name another one"),
            ("contour", {"params": "lr,depth,opt,momentum,lr"}, "params", "at most 4 parameters"),
            ("contour", {"max_trials": 401}, "max_trials", "at most 400 trials"),
            ("history", {"objective": "loss,loss"}, "objective", "name one"),
            ("history", {"max_trials": 0}, "max_trials", "greater than or equal to 1"),
            ("history", {"format": "png"}, "format", "'data' or 'plotly'"),
            ("importances", {"evaluator": "guess"}, "evaluator", "'ped_anova' or 'fanova'"),
            ("edf", {"params": "lr"}, "params", "unknown query parameter 'params'"),
        ],
    )
    def test_what_does_not_fit_is_named_with_its_remedy(
        self, quick: TestClient, sqlite_store: Store, kind: str, options: dict[str, Any], field: str, said: str
    ) -> None:
        error = refusal(quick, experiment_of(sqlite_store), kind, **options)
        assert said in error["error"]
        assert error["details"]["fields"][0]["field"] == field

    def test_one_objective_has_no_front(self, quick: TestClient, sqlite_store: Store) -> None:
        assert "one objective" in refusal(quick, experiment_of(sqlite_store), "pareto_front")["error"]

    def test_one_parameter_has_no_contour(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store, space=space_of([DEPTH]))
        assert "look at its slice" in refusal(quick, experiment, "contour")["error"]

    def test_importances_of_what_never_varies(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store)
        write(sqlite_store, experiment, [trial(n, 1.0) for n in range(10)])
        assert "the same value" in refusal(quick, experiment, "importances", evaluator="fanova")["error"]
        assert sum(data(quick, experiment, "importances")["importances"]) == pytest.approx(1)

    def test_importances_of_a_parameter_that_no_trial_has(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store)
        write(sqlite_store, experiment, [trial(n, loss(n)) for n in range(1, 20, 2)])
        for options in ({}, {"evaluator": "fanova"}, {"format": "plotly"}):
            error = refusal(quick, experiment, "importances", params="momentum", **options)
            assert "2 complete trials of finite value that have momentum, not 0" in error["error"]
        assert data(quick, experiment, "slice", params="momentum")["traces"] == []
        assert "no trials to show" in figure(quick, experiment, "slice", params="momentum").layout.title.text

    def test_an_unknown_experiment_is_not_found(self, quick: TestClient) -> None:
        for kind in ("", *(f"/{kind}" for kind in KINDS)):
            assert quick.get(f"/api/v1/experiments/99/analysis{kind}").status_code == 404

    def test_the_list_says_what_fits_and_why_others_do_not(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        write(store, experiment, [trial(0, 1.0)])
        listed = api.get(f"/api/v1/experiments/{experiment.id}/analysis").json()["analyses"]
        assert {each["kind"] for each in listed} == set(KINDS)
        reasons = {each["kind"]: each["reason"] for each in listed}
        assert {kind for kind, reason in reasons.items() if reason} == {
            "pareto_front", "importances", "intermediate_values"
        }  # fmt: skip
        assert "2 complete trials, and there are 1" in reasons["importances"]
        for each in listed:
            assert api.get(each["url"]).status_code == (
                200 if each["fits"] or each["kind"] == "intermediate_values" else 400
            )
