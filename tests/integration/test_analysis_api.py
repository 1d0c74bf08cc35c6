"""Analyses over REST, on every database: beside Optuna's own, sampled, cached, and what is refused."""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.io
import pytest
from conftest import served
from fastapi import FastAPI
from fastapi.testclient import TestClient
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from typer.testing import CliRunner, Result

from serve_app.app import build
from tunesmith import BadRequest, Client
from tunesmith.cli.app import app as cli
from tunesmith.domain import Constraint, Experiment, ExternalTool, Trial, TrialState, space_of, utcnow
from tunesmith.optuna import Storage
from tunesmith.optuna.frozen import DISTRIBUTIONS
from tunesmith.schemas.analysis import ANSWERS, HistoryAnswer
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.tables import trials as trials_table
from tunesmith.testing import new_experiment
from tunesmith.testing.factories import EPOCH

KINDS = list(ANSWERS)
OF_ONE = ["history", "slice", "contour", "parallel_coordinates", "edf", "importances"]
LR: dict[str, Any] = {"name": "lr", "minimum": 1e-4, "maximum": 1.0, "log": True}
DEPTH: dict[str, Any] = {"name": "depth", "type": "int", "minimum": 1, "maximum": 8}
OPT: dict[str, Any] = {"name": "opt", "type": "categorical", "choices": ["sgd", "adam"]}
MOMENTUM: dict[str, Any] = {"name": "momentum", "minimum": 0, "maximum": 1, "when": {"opt": ["sgd"]}}
SPACE = [LR, DEPTH, OPT, MOMENTUM]
THEIRS: Mapping[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1, log=True),
    "depth": IntDistribution(1, 8),
    "opt": CategoricalDistribution(("sgd", "adam")),
    "momentum": FloatDistribution(0, 1),
}
PLOTS = {
    "history": optuna.visualization.plot_optimization_history,
    "slice": optuna.visualization.plot_slice,
    "contour": optuna.visualization.plot_contour,
    "parallel_coordinates": optuna.visualization.plot_parallel_coordinate,
    "edf": optuna.visualization.plot_edf,
    "importances": optuna.visualization.plot_param_importances,
}
STATES = {
    TrialState.WAITING: optuna.trial.TrialState.WAITING,
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[TestClient]:
    with TestClient(build(settings, store=store)) as client:
        yield client


@pytest.fixture
def quick(settings: Settings, sqlite_store: Store) -> Iterator[TestClient]:
    """The application on one database, where the database makes no difference."""
    with TestClient(build(settings, store=sqlite_store)) as client:
        yield client


def experiment_of(store: Store, objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    return new_experiment(store, objectives, **{"space": space_of(SPACE), **changes})


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, **changes: Any) -> Trial:
    """A trial of SPACE, with parameters of its number."""
    rng = np.random.default_rng(number)
    params: dict[str, Any] = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "depth": int(rng.integers(1, 9)),
        "opt": ("sgd", "adam")[number % 2],
    }
    if params["opt"] == "sgd":
        params["momentum"] = float(rng.random())
    began = EPOCH + timedelta(seconds=number)
    content = {
        "experiment_id": 1,
        "number": number,
        "job_id": None,
        "run_number": None,
        "state": state,
        "params": params,
        "values": values or None,
        "started_at": None if state is TrialState.WAITING else began,
        "ended_at": began + timedelta(seconds=1) if state.finished else None,
    }
    return Trial.model_validate(content | changes)


def loss(number: int) -> float:
    """A value that depends on the parameters of `trial(number)`."""
    params = trial(number).params
    return abs(math.log10(float(params["lr"])) + 2) + 0.1 * float(params["depth"])  # type: ignore[arg-type]


def write(store: Store, experiment: Experiment, found: Sequence[Trial], **measured: Any) -> None:
    with store.write() as tx:
        mine = [each.evolve(experiment_id=experiment.id) for each in found]
        tx.add_records(experiment, mine, {int(number[1:]): rows for number, rows in measured.items()})


def peer(
    found: Sequence[Trial],
    directions: Sequence[str] = ("minimize",),
    distributions: Mapping[str, BaseDistribution] = THEIRS,
    curves: Mapping[int, dict[int, float]] | None = None,
) -> optuna.Study:
    """The same trials as a plain study in memory."""
    study = optuna.create_study(directions=list(directions))
    for each in found:
        made = optuna.trial.create_trial(
            state=STATES[each.state],
            values=list(each.values) if each.values else None,
            params=dict(each.params),
            distributions={name: distributions[name] for name in each.params},
            intermediate_values=(curves or {}).get(each.number, {}),
            constraints=None if each.violation is None else {"c": each.violation},
        )
        made.datetime_start = each.started_at and each.started_at.astimezone().replace(tzinfo=None)
        made.datetime_complete = each.ended_at and each.ended_at.astimezone().replace(tzinfo=None)
        study.add_trial(made)
    return study


def data(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> dict[str, Any]:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params=options)
    assert answer.status_code == 200, answer.text
    ANSWERS[kind].model_validate(answer.json())
    return dict(answer.json())


def figure(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> Any:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params={"format": "plotly", **options})
    assert answer.status_code == 200, answer.text
    return plotly.io.from_json(answer.text)


def refusal(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> dict[str, Any]:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params=options)
    assert answer.status_code == 400, answer.text
    return dict(answer.json())


def points(drawn: Any) -> list[dict[str, Any]]:
    """The traces of a figure as plain JSON, without names and colours' array form."""
    found = json.loads(drawn.to_json())["data"]
    return [{key: value for key, value in trace.items() if key not in ("text", "customdata")} for trace in found]


def array(sent: Any) -> list[float]:
    """Numbers as Plotly sends them, packed or not."""
    return np.frombuffer(base64.b64decode(sent["bdata"]), sent["dtype"]).tolist() if isinstance(sent, dict) else sent


def mixed() -> list[Trial]:
    """Complete trials among others of every state, one infeasible, one of infinite value."""
    found = [trial(number, loss(number)) for number in range(40)]
    found[3] = trial(3, state=TrialState.FAILED)
    found[5] = trial(5, 0.7, state=TrialState.PRUNED)
    found[7] = trial(7, 0.01, violation=1.0)
    found[9] = trial(9, math.inf)
    return [*found, trial(40, state=TrialState.RUNNING), trial(41, state=TrialState.WAITING)]


class TestFiguresBesideOptuna:
    """Where nothing is sampled, a figure is the one that Optuna draws from a plain study."""

    @pytest.mark.parametrize("kind", [kind for kind in OF_ONE if kind not in ("history", "edf")])
    def test_of_one_objective(self, api: TestClient, store: Store, kind: str) -> None:
        experiment = experiment_of(store)
        found = [each for each in mixed() if each.violation is None]
        write(store, experiment, found)
        renumbered = peer(found)
        for theirs, ours in zip(renumbered._storage._studies[renumbered._study_id].trials, found, strict=True):  # type: ignore[attr-defined]
            theirs.number = ours.number
        renumbered.set_metric_names(["loss"])
        names = {} if kind == "importances" else {"target_name": "loss"}
        every = {"params": "lr,depth,opt,momentum"} if kind == "contour" else {}
        assert points(figure(api, experiment, kind, **every)) == points(PLOTS[kind](renumbered, **names))

    def test_of_constrained_trials(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store, constraints=(Constraint(metric="size", max=5),))
        found = [
            trial(number, loss(number), metrics={"size": float(number % 8)}, violation=max(0.0, number % 8 - 5.0))
            for number in range(30)
        ]
        write(sqlite_store, experiment, found)
        for kind in ("slice", "parallel_coordinates", "contour"):
            drawn = PLOTS[kind](peer(found), target_name="loss")
            every = {"params": "lr,depth,opt,momentum"} if kind == "contour" else {}
            assert points(figure(quick, experiment, kind, **every)) == points(drawn), kind

    def test_history_and_distribution_have_the_same_points(self, api: TestClient, store: Store) -> None:
        experiment, found = experiment_of(store), mixed()
        write(store, experiment, found)
        ours = {trace["name"]: trace for trace in points(figure(api, experiment, "history"))}
        drawn = optuna.visualization.plot_optimization_history(peer(found), target_name="loss")
        theirs = {trace["name"]: trace for trace in points(drawn)}
        for name in ("loss", "Infeasible Trial"):
            assert ours[name] == theirs[name]
        line = dict(zip(theirs["Best Value"]["x"], theirs["Best Value"]["y"], strict=True))
        staircase = ours["Best Value"]
        assert all(line[x] == y for x, y in zip(staircase["x"], staircase["y"], strict=True))
        assert staircase["line"]["shape"] == "hv"
        (ours_edf,) = points(figure(api, experiment, "edf"))
        (theirs_edf,) = points(optuna.visualization.plot_edf(peer(found), target_name="loss"))
        for axis in ("x", "y"):
            assert array(ours_edf[axis]) == pytest.approx(array(theirs_edf[axis]))

    def test_the_pareto_front(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("loss", "-accuracy"))
        rng = np.random.default_rng(1)
        found = [trial(number, *map(float, rng.integers(0, 9, 2))) for number in range(60)]  # with ties
        write(store, experiment, found)
        drawn = optuna.visualization.plot_pareto_front(
            peer(found, ("minimize", "maximize")), target_names=["loss", "accuracy"]
        )
        assert points(figure(api, experiment, "pareto_front")) == points(drawn)

    def test_intermediate_values_and_timeline(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        found = [
            trial(0, 0.5),
            trial(1, 0.7, state=TrialState.PRUNED),
            trial(2, state=TrialState.FAILED),
            trial(3, state=TrialState.WAITING),
        ]
        curves = {0: {2: 0.6, 1: 0.9, 10: 0.5}, 1: {1: math.nan, 2: 0.7}, 2: {1: 0.3}}
        measured = {f"n{n}": [("loss", step, value) for step, value in curve.items()] for n, curve in curves.items()}
        write(store, experiment, found, **measured)
        study = peer(found, curves=curves)
        theirs = optuna.visualization.plot_intermediate_values(study)
        assert points(figure(api, experiment, "intermediate_values")) == points(theirs)
        assert points(figure(api, experiment, "timeline")) == points(optuna.visualization.plot_timeline(study))

    def test_an_objective_among_several_keeps_its_direction(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("time", "-score"))
        found = [trial(number, float(number), -loss(number)) for number in range(40)]
        write(store, experiment, found)
        alone = peer([each.evolve(values=each.values[1:]) for each in found if each.values], ("maximize",))
        for kind in ("slice", "contour", "parallel_coordinates"):
            drawn = PLOTS[kind](alone, target_name="score")
            every = {"params": "lr,depth,opt,momentum"} if kind == "contour" else {}
            assert points(figure(api, experiment, kind, objective="score", **every)) == points(drawn), kind
        theirs = optuna.importance.get_param_importances(alone)
        ours = data(api, experiment, "importances", objective="score")
        assert dict(zip(ours["params"], ours["importances"], strict=True)) == pytest.approx(theirs)
        history = data(api, experiment, "history", objective="score")
        assert history["best"]["values"][-1] == max(history["values"])


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


class TestStudies:
    """Experiments whose trials ask for their parameters while they run."""

    def study(self, store: Store, objective: Any, trials: int) -> Experiment:
        study = optuna.create_study(
            storage=Storage(store.engine.url.render_as_string(hide_password=False)), study_name="s"
        )
        study.optimize(objective, n_trials=trials, catch=())
        with store.read() as tx:
            return tx.experiment(study._study_id)

    def test_their_parameters_are_those_of_the_trials(self, quick: TestClient, sqlite_store: Store) -> None:
        def objective(trial: optuna.Trial) -> float:
            kind = trial.suggest_categorical("kind", ["a", "b"])
            rare = trial.suggest_float("rare", 0, 1) if trial.number == 5 else 0.0
            return trial.suggest_float("x", -1, 1) ** 2 + rare + (kind == "a")

        experiment = self.study(sqlite_store, objective, 30)
        assert [trace["axis"]["name"] for trace in data(quick, experiment, "slice")["traces"]] == ["kind", "rare", "x"]
        (rare,) = data(quick, experiment, "slice", params="rare", max_trials=2)["traces"]
        assert rare["numbers"] == [5]
        for kind in ("slice", "contour", "parallel_coordinates", "importances"):
            figure(quick, experiment, kind)
        assert "there is no parameter 'y'" in refusal(quick, experiment, "slice", params="y")["error"]

    def test_a_range_may_change_between_trials(self, quick: TestClient, sqlite_store: Store) -> None:
        def objective(trial: optuna.Trial) -> float:
            trial.suggest_float("x", 0, 1)
            return trial.suggest_float("scale", -float(trial.number), float(trial.number + 1))

        experiment = self.study(sqlite_store, objective, 20)
        axes = {trace["axis"]["name"]: trace["axis"] for trace in data(quick, experiment, "slice")["traces"]}
        assert (axes["scale"]["low"], axes["scale"]["high"]) == (-19.0, 20.0)
        for kind in ("slice", "contour", "parallel_coordinates", "importances"):
            assert figure(quick, experiment, kind).data

    def test_trials_may_disagree_about_what_a_parameter_is(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store, space=space_of([]), tool=ExternalTool(study="s"))
        kinds = [IntDistribution(1, 5), CategoricalDistribution(["1", "two"]), FloatDistribution(0.5, 4, log=True)]
        values: list[Any] = [3, "1", 2.5]
        x = FloatDistribution(0, 100)
        found = [
            trial(
                n,
                float(n),
                params={"p": values[n % 3], "x": float(n)},
                system_attrs={DISTRIBUTIONS: {"p": distribution_to_json(kinds[n % 3]), "x": distribution_to_json(x)}},
            )
            for n in range(12)
        ]
        write(sqlite_store, experiment, found)
        (p, _) = data(quick, experiment, "slice")["traces"]
        assert (p["axis"]["type"], set(p["axis"]["choices"])) == ("categorical", {"1", "two", 3, 2.5})
        assert p["x"] == values * 4
        for kind in ("slice", "contour", "parallel_coordinates", "importances"):
            assert figure(quick, experiment, kind).data
        assert len(figure(quick, experiment, "slice", params="p").data[0].x) == 12
        data(quick, experiment, "importances", evaluator="fanova")

    def test_constraints_that_optuna_keeps_with_its_trials_count(self, quick: TestClient, sqlite_store: Store) -> None:
        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            trial.set_constraint("c", float(trial.number % 3 == 0))
            return x

        experiment = self.study(sqlite_store, objective, 9)
        expected = [number % 3 != 0 for number in range(9)]
        assert data(quick, experiment, "history")["feasible"] == expected
        assert data(quick, experiment, "slice")["traces"][0]["feasible"] == expected


class TestSamples:
    """Large experiments: what is shown is a sample, what is reckoned over all stays so."""

    @pytest.fixture
    def large(self, store: Store) -> Experiment:
        experiment = experiment_of(store)
        write(store, experiment, [trial(number, loss(number)) for number in range(3000)])
        return experiment

    def test_the_sample_has_the_best_the_newest_and_the_ends(self, api: TestClient, large: Experiment) -> None:
        best = sorted(range(3000), key=loss)[:25]
        for kind in ("history", "slice", "parallel_coordinates", "contour"):
            answer = data(api, large, kind, max_trials=100)
            shown = answer["numbers"] if "numbers" in answer else answer["traces"][0]["numbers"]
            assert (answer["total"], answer["shown"], len(shown)) == (3000, 100, 100)
            assert shown == sorted(set(shown))
            assert set(best) <= set(shown)
            assert set(range(2975, 3000)) <= set(shown)
            assert min(shown) == 0

    def test_the_best_so_far_and_the_distribution_are_those_of_all(self, api: TestClient, large: Experiment) -> None:
        every = [loss(number) for number in range(3000)]
        line = data(api, large, "history", max_trials=50)["best"]
        running = np.minimum.accumulate(every)
        steps = [n for n in range(3000) if n == 0 or running[n] < running[n - 1]]
        assert line["numbers"] == sorted({*steps, 2999})
        assert line["values"] == [running[n] for n in line["numbers"]]
        distribution = data(api, large, "edf")
        share = [sum(value <= x for value in every) / 3000 for x in distribution["x"]]
        assert distribution["probability"] == pytest.approx(share)

    def test_a_figure_shows_the_sample_of_its_data(self, api: TestClient, large: Experiment) -> None:
        drawn = figure(api, large, "history", max_trials=100)
        assert list(drawn.data[0].x) == data(api, large, "history", max_trials=100)["numbers"]
        assert list(drawn.data[0].y) == [loss(number) for number in drawn.data[0].x]

    def test_a_front_that_is_too_large_to_show_is_still_a_front(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store, ("a", "b"))
        front = [trial(n, float(n), float(200 - n)) for n in range(200)]
        behind = [trial(200 + n, n + 0.5, 200.5 - n) for n in range(200)]
        write(store, experiment, [*front, *behind])
        answer = data(api, experiment, "pareto_front", max_trials=40)
        assert (answer["front_total"], answer["total"], len(answer["numbers"])) == (200, 400, 40)
        assert all((rank == "front") == (n < 200) for n, rank in zip(answer["numbers"], answer["ranks"], strict=True))
        best = figure(api, experiment, "pareto_front", max_trials=40).data[1]
        assert all(x + y == 200 for x, y in zip(best.x, best.y, strict=True))

    def test_long_curves_are_thinned_in_the_database(self, api: TestClient, store: Store) -> None:
        experiment = experiment_of(store)
        rows = [("loss", step, float(step)) for step in range(1000)]
        write(store, experiment, [trial(0, 1.0), trial(1, 1.0)], n0=rows, n1=rows[:7])
        long, short = data(api, experiment, "intermediate_values")["traces"]
        assert (long["steps"][0], long["steps"][-1], short["steps"]) == (0, 999, list(range(7)))
        assert 200 <= len(long["steps"]) <= 201
        assert max(b - a for a, b in zip(long["steps"], long["steps"][1:], strict=False)) <= 6
        assert long["values"] == [float(step) for step in long["steps"]]

    def test_running_trials_are_never_left_out_of_a_timeline(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store)
        found = [trial(n, 1.0) if n % 100 else trial(n, state=TrialState.RUNNING) for n in range(1000)]
        write(sqlite_store, experiment, found)
        answer = data(quick, experiment, "timeline", max_trials=100)
        assert [n for n, state in zip(answer["numbers"], answer["states"], strict=True) if state == "running"] == list(
            range(0, 1000, 100)
        )


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


class TestClientAndCommand:
    @pytest.fixture
    def known(self, sqlite_store: Store) -> Experiment:
        experiment = experiment_of(sqlite_store)
        write(sqlite_store, experiment, mixed())
        return experiment

    @pytest.fixture
    def url(self, app: FastAPI) -> Iterator[str]:
        with served(app) as url:
            yield url

    def test_the_client_reads_arrays_and_figures(self, url: str, known: Experiment) -> None:
        with Client(url) as client:
            experiment = client.experiment(known.id)
            history = experiment.analysis("history", max_trials=10)
            assert isinstance(history, HistoryAnswer)
            assert (len(history.numbers), history.objective) == (10, "loss")
            whole = experiment.analysis("history")
            assert isinstance(whole, HistoryAnswer)
            assert math.inf in whole.values
            drawn = experiment.figure("slice", params=["lr", "depth"])
            assert {axis.title.text for axis in drawn.select_xaxes()} == {"lr", "depth"}
            assert {one.kind for one in experiment.analyses() if not one.fits} == {
                "pareto_front",
                "intermediate_values",
            }
            with pytest.raises(BadRequest, match="did you mean 'history'"):
                experiment.analysis("histori")
            with pytest.raises(BadRequest, match="there is no parameter 'x'"):
                experiment.figure("slice", params=["x"])

    def test_the_command_draws_into_files(
        self, url: str, known: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        number = str(known.id)
        run(url, "plot", number, "history")
        assert "Plotly.newPlot" in (tmp_path / f"experiment-{number}-history.html").read_text()
        run(url, "plot", number, "importances", "-o", "shares.json", "--evaluator", "fanova")
        assert plotly.io.from_json((tmp_path / "shares.json").read_text()).data
        printed = json.loads(
            run(url, "plot", number, "slice", "--params", "lr,opt", "--max-trials", "5", "--json").stdout
        )
        assert [trace["axis"]["name"] for trace in printed["traces"]] == ["lr", "opt"]
        assert printed["shown"] == 5
        for wrong in (["history", "-o", "a.png"], ["histori"], ["pareto_front"]):
            assert run(url, "plot", number, *wrong, code=2).stderr.startswith("error:")


def run(url: str, *arguments: str, code: int = 0) -> Result:
    """A command against a platform."""
    ended = CliRunner().invoke(cli, [*arguments, "--url", url])
    assert ended.exit_code == code, ended.output
    return ended
