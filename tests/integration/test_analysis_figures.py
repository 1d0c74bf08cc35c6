"""Analyses beside Optuna's own: figures of the same trials, studies that define by run, and samples of many trials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from analysing import (
    OF_ONE,
    PLOTS,
    array,
    data,
    experiment_of,
    figure,
    loss,
    mixed,
    peer,
    points,
    refusal,
    trial,
    write,
)
from fastapi.testclient import TestClient
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from serve_app.app import build
from tunesmith.domain import Constraint, Experiment, ExternalTool, TrialState, space_of
from tunesmith.optuna import Storage
from tunesmith.optuna.frozen import DISTRIBUTIONS
from tunesmith.settings import Settings
from tunesmith.store import Store

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

    def test_a_front_that_nobody_keeps_the_constraints_of(self, quick: TestClient, sqlite_store: Store) -> None:
        experiment = experiment_of(sqlite_store, ("loss", "-accuracy"))
        write(sqlite_store, experiment, [trial(n, float(n), 1.0, violation=1.0) for n in range(3)])
        answer = data(quick, experiment, "pareto_front")
        assert (answer["ranks"], answer["front_total"]) == (["infeasible"] * 3, 0)
        figure(quick, experiment, "pareto_front")

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
        for kind in ("slice", "importances"):
            refused = refusal(quick, experiment, kind, params="y")["error"]
            assert "there is no parameter 'y'; there are: kind, rare, x" in refused
        with_others = data(quick, experiment, "slice", params="x,rare", max_trials=1)
        assert [trace["axis"]["name"] for trace in with_others["traces"]] == ["x"]  # the one shown has no other

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

    def test_a_parameter_that_not_all_have_is_sampled_among_those_that_have_it(
        self, api: TestClient, large: Experiment
    ) -> None:
        answer = data(api, large, "slice", params="momentum", max_trials=100)
        assert (answer["total"], len(answer["traces"][0]["numbers"])) == (1500, 100)
        assert data(api, large, "slice", params="momentum,lr")["total"] == 3000

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
