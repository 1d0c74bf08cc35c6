"""`tune` in this process: every style of objective, what it returns, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from tuners import Choice, Float, Int, Interrupted, Params, Result, Trial, load, tune
from tunesmith.errors import (
    ExperimentNotFound,
    InvalidBody,
    InvalidOptimizer,
    InvalidSpace,
    TrialNotFound,
    TunesmithError,
)

pytestmark = pytest.mark.filterwarnings("ignore:random is not steered by constraints")
SPACE = {"x": Float(-5, 5), "n": Int(1, 10), "kind": Choice("a", "b")}


def search(objective: Any, space: Any = SPACE, **options: Any) -> Result:
    return tune(objective, space, **{"trials": 10, "sampler": "random", "seed": 1, **options})


class TestWhatAnObjectiveMayBe:
    def test_one_that_takes_a_mapping(self) -> None:
        result = search(lambda params: params["x"] + params.n)
        assert result.best.value == result.best.params["x"] + result.best.params["n"]
        assert len(result) == 10

    def test_one_that_takes_keywords(self) -> None:
        def objective(x: float, n: int, kind: str) -> float:
            return x**2 + n + (kind == "b")

        best = search(objective).best
        assert best.value == objective(**best.params)

    def test_a_closure_and_a_method(self) -> None:
        class Model:
            offset = 3.0

            def loss(self, params: Params) -> float:
                return abs(params.x - self.offset) + shift

        shift = 1.0
        assert search(Model().loss).best.value >= 1

    def test_a_function_without_source(self) -> None:
        cell: dict[str, Any] = {}
        exec("def objective(x, n, kind):\n    return x * n", cell)  # as a notebook does
        assert search(cell["objective"], direction="maximize").best.value > 0

    def test_one_that_returns_a_dict_of_metrics(self) -> None:
        result = search(lambda p: {"loss": p.x, "size": p.n}, metric="loss", constraints=["size <= 5"])
        assert result.best.metrics["size"] <= 5
        feasible = result.dataframe().query("feasible")
        assert result.best.value == feasible["value"].min()

    def test_one_with_several_objectives_as_a_dict_or_a_tuple(self) -> None:
        both = {"loss": "minimize", "size": "maximize"}
        first = search(lambda p: {"loss": abs(p.x), "size": p.n}, objectives=both)
        second = search(lambda p: (abs(p.x), p.n), objectives=both)
        fronts = [[(t.params, t.values) for t in result.best_trials] for result in (first, second)]
        assert fronts[0] == fronts[1]
        points = [(t.values["loss"], -t.values["size"]) for t in first.best_trials]
        assert points == sorted(points)
        assert len({loss for loss, _ in points}) == len(points)
        with pytest.raises(RuntimeError, match="best_trials"):
            _ = first.best

    def test_conditions_and_constraints_between_parameters_hold(self) -> None:
        space = {"kind": Choice("a", "b"), "x": Float(0, 1, when={"kind": "a"}), "y": Float(0, 1), "z": Float(0, 1)}
        seen: list[Params] = []
        search(lambda p: seen.append(p) or 0.0, space, trials=30, parameter_constraints=["y + z <= 1"])
        assert all(("x" in p) == (p.kind == "a") for p in seen)
        assert all(p["y"] + p["z"] <= 1 for p in seen)

    def test_one_constraint_may_stand_alone(self) -> None:
        result = search(
            lambda p: {"loss": -p.x, "size": p.n},
            trials=30,
            metric="loss",
            constraints="size <= 5",
            parameter_constraints="x < 1",
        )
        assert max(result.trials["params_x"].to_pylist()) < 1
        feasible = {row["params_n"]: row["feasible"] for row in result.trials.to_pylist()}
        assert feasible == {n: n <= 5 for n in feasible}
        assert set(feasible.values()) == {True, False}

    def test_arguments_that_do_not_fit_are_refused_before_anything_runs(self) -> None:
        with pytest.raises(InvalidSpace, match="takes no parameter 'kind'"):
            search(lambda x, n: 0)


class TestIntermediateValues:
    def test_the_last_yielded_value_is_the_final_one(self) -> None:
        def training(p: Params) -> Iterator[float]:
            for step in range(5):
                yield abs(p.x) + 5 - step

        result = search(training)
        assert result.best.value == pytest.approx(abs(result.best.params["x"]) + 1)  # type: ignore[arg-type]
        assert result.study.trials[3].intermediate_values.keys() == {0, 1, 2, 3, 4}

    def test_a_returned_value_is_the_final_one(self) -> None:
        def training(p: Params) -> Any:
            yield {"loss": 1.0, "step": 10}
            yield {"loss": 2.0, "step": 20}
            return {"loss": 7.0, "size": 3}

        result = search(training, metric="loss", trials=1)
        assert (result.best.value, result.best.metrics) == (7.0, {"loss": 7.0, "size": 3.0})
        assert result.study.trials[0].intermediate_values == {10: 1.0, 20: 2.0}

    def test_hopeless_trials_are_pruned_at_a_yield_and_clean_up(self) -> None:
        closed: list[float] = []

        def training(p: Params) -> Iterator[float]:
            try:
                for _ in range(20):
                    yield abs(p.x)
            finally:
                closed.append(p.x)

        result = search(training, trials=30, pruner={"type": "median", "n_startup_trials": 3})
        assert result.counts["pruned"] > 3
        assert len(closed) == 30
        assert result.counts["complete"] + result.counts["pruned"] == 30

    def test_a_value_that_became_nan_is_no_final_value(self) -> None:
        def diverging(p: Params) -> Iterator[float]:
            yield 1.0
            yield float("nan") if p.x > 0 else 2.0

        result = search(diverging)
        assert 0 < result.counts["failed"] < 10
        assert "no finite value for objective 'value'; the function returned nan" in next(iter(result.errors.values()))


class TestDefineByRun:
    def test_parameters_are_asked_for_while_it_runs(self) -> None:
        def objective(trial: Trial) -> float:
            kind = trial.suggest_categorical("kind", ["line", "square"])
            x = trial.suggest_float("x", -5, 5)
            assert trial.suggest_float("x", -5, 5) == x
            if kind == "square":
                return x**2 + trial.suggest_int("n", 1, 8, log=True)
            trial.set_user_attr("slope", 2)
            assert trial.params.keys() == {"kind", "x"}
            return 2 * x

        result = search(objective, None, trials=20)
        assert result.counts["complete"] == 20
        table = result.dataframe()
        assert set(table["params_kind"]) == {"line", "square"}
        assert table["params_n"].notna().equals(table["params_kind"] == "square")
        assert table["metrics_slope"].notna().equals(table["params_kind"] == "line")

    def test_it_reports_and_prunes_as_with_optuna(self) -> None:
        def objective(trial: Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            for step in range(10):
                trial.report(x, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return x

        result = search(objective, None, trials=30, pruner={"type": "median", "n_startup_trials": 3})
        assert result.counts["pruned"] > 3
        assert result.counts["failed"] == 0

    def test_what_is_no_number_is_noted_for_the_trial_alone_with_a_warning(self) -> None:
        def objective(trial: Trial) -> float:
            trial.set_user_attr("path", "/tmp/model")
            trial.set_user_attr("size", 3)
            trial.set_user_attr("size", [3])
            trial.set_user_attr("depth", 4)
            assert trial.user_attrs == {"path": "/tmp/model", "size": [3], "depth": 4}
            return trial.suggest_float("x", 0, 1)

        with pytest.warns(UserWarning, match="a trial keeps finite numbers only") as told:
            result = search(objective, None, trials=5)
        assert result.counts["complete"] == 5
        assert result.best.metrics == {"value": result.best.value, "depth": 4.0}
        assert {str(warning.message).partition(":")[0] for warning in told} == {
            "set_user_attr('path')",
            "set_user_attr('size')",
        }
        assert {warning.filename for warning in told} == {__file__}

    def test_the_warning_comes_once_and_not_in_every_trial(self) -> None:
        def objective(trial: Trial) -> float:
            trial.set_user_attr("path", f"/tmp/{trial.number}")
            return 0.0

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")
            search(objective, None, trials=5)
        assert len([warning for warning in told if "set_user_attr" in str(warning.message)]) == 1

    def test_a_range_that_is_none_says_which(self) -> None:
        with pytest.raises(TunesmithError, match=r"parameter 'x': .*minimum 2 is above maximum 1"):
            search(lambda trial: trial.suggest_float("x", 2, 1), None, trials=1)


class TestHowItEnds:
    def test_a_failed_trial_keeps_its_traceback_and_the_search_goes_on(self) -> None:
        def objective(p: Params) -> float:
            if p.n > 5:
                raise ValueError(f"{p.n} is too many")
            return p.x

        result = search(objective, trials=20)
        assert 0 < result.counts["failed"] < 20
        assert all("is too many" in error and "in objective" in error for error in result.errors.values())

    def test_no_success_at_all_is_an_error_with_the_first_failure(self) -> None:
        with pytest.raises(TunesmithError, match=r"(?s)no trial succeeded.*ZeroDivisionError"):
            search(lambda p: 1 / 0)

    def test_too_many_failures_are_an_error(self) -> None:
        with pytest.raises(TunesmithError, match="2 trials failed"):
            search(lambda p: p.x if p.n > 3 else [][0], trials=50, max_failed_trials=2)

    def test_what_is_not_to_be_caught_is_raised_as_it_is(self) -> None:
        calls: list[int] = []

        def objective(p: Params) -> float:
            calls.append(1)
            raise ZeroDivisionError("here")

        with pytest.raises(ZeroDivisionError, match="here"):
            search(objective, catch=())
        assert len(calls) == 1

    def test_no_feasible_trial_is_said_when_the_best_is_asked_for(self) -> None:
        result = search(lambda p: {"loss": p.x, "size": 9}, metric="loss", constraints=["size <= 1"])
        with pytest.raises(TrialNotFound, match="10 complete"):
            _ = result.best
        assert "10 complete" in repr(result)

    def test_a_goal_and_patience_stop_it(self) -> None:
        reached = search(lambda p: p.n, trials=1000, goal=1)
        assert reached.best.value == 1
        assert len(reached) < 1000
        assert "goal" in str(reached.stopped)
        stale = search(lambda p: 1.0, trials=1000, patience=5)
        assert len(stale) == 6

    def test_a_budget_of_seconds_stops_it(self) -> None:
        result = search(lambda p: time.sleep(0.02) or p.x, trials=None, budget_s=0.3)
        assert 1 < len(result) < 20

    def test_an_evaluation_that_takes_too_long_fails(self) -> None:
        def objective(p: Params) -> float:
            while p.n > 5:
                time.sleep(0.01)
            return p.x

        result = search(objective, trials=5, timeout_s=0.3)
        assert result.errors
        assert all("still running after 0.3 s" in error for error in result.errors.values())

    def test_points_to_try_first_and_held_parameters(self) -> None:
        seen: list[Params] = []
        first = {"x": 1.0, "n": 2, "kind": "b"}
        search(lambda p: seen.append(p) or 0.0, trials=5, enqueue=[first], fixed={"kind": "b"})
        assert seen[0] == first
        assert {p.kind for p in seen} == {"b"}

    def test_noisy_objectives_are_averaged(self) -> None:
        values = iter(range(100))
        result = search(lambda p: next(values), trials=3, repeats=4)
        assert list(result.trials["value"].to_pylist()) == [1.5, 5.5, 9.5]
        assert result.best.metrics["value_stderr"] == pytest.approx(0.6455, abs=1e-3)

    def test_a_seed_makes_it_repeatable(self) -> None:
        points = [search(lambda p: p.x, sampler="tpe", trials=15).trials["params_x"].to_pylist() for _ in range(2)]
        assert points[0] == points[1]

    def test_a_grid_ends_by_itself(self) -> None:
        result = search(lambda p: p.n, {"n": Int(1, 3), "k": ["a", "b"]}, trials=None,
                        sampler={"type": "grid", "num_configs_per_param": 3}, seed=None)  # fmt: skip
        assert len(result) == 6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, InvalidBody, "trials: 0 is no number of trials"),
        ({"workers": 0}, InvalidBody, "workers: 0 is no number of processes"),
        ({"workers": 2, "catch": ()}, InvalidBody, "catch: only workers=1"),
        ({"space": {}}, InvalidSpace, "the space is empty"),
        ({"storage": "mysql://host/db"}, InvalidBody, "storage: 'mysql://host/db' is no database"),
        ({"sampler": "tppe"}, InvalidOptimizer, "did you mean 'tpe'"),
        ({"sampler": {"n": 1}}, InvalidOptimizer, 'sampler: it needs a "type"'),
        ({"sampler": {"type": "random", "speed": 1}}, InvalidOptimizer, "unknown field 'speed'"),
        ({"pruner": "medan"}, InvalidOptimizer, "did you mean 'median'"),
        ({"direction": "up"}, InvalidBody, "direction: Input should be 'minimize' or 'maximize'"),
        ({"metric": "a", "objectives": {"b": "minimize"}}, InvalidBody, "exclude each other"),
        ({"constraints": ["size < 3"]}, InvalidBody, "'size < 3' is no bound on a metric"),
        ({"parameter_constraints": ["x +"]}, InvalidSpace, "x +"),
        ({"fixed": {"y": 1}}, InvalidOptimizer, "no such parameter"),
        ({"name": " "}, InvalidBody, "name: it is empty"),
    ],
)
def test_wrong_arguments_are_refused_in_words(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refused:
        search(lambda p: 0.0, **options)
    assert message in str(refused.value)


class TestCtrlC:
    def test_what_was_found_is_kept_and_the_rest_goes_on_by_name(self, tmp_path: Path) -> None:
        url, calls = f"sqlite:///{tmp_path / 'runs.db'}", []

        def objective(p: Params) -> float:
            calls.append(p.x)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            return p.x

        with pytest.raises(Interrupted, match="interrupted after 3 trials; the same call goes on with it") as stopped:
            search(objective, storage=url, name="run")
        assert len(stopped.value.result) == 3
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        result = search(objective, storage=url, name="run")
        assert result.counts["complete"] == 10
        assert calls[4] == calls[3], "the interrupted trial keeps its point"
        assert len(calls) == 11

    def test_without_a_name_the_result_so_far_comes_with_the_exception(self) -> None:
        def objective(p: Params) -> float:
            if p.n > 5:
                raise KeyboardInterrupt
            return p.x

        with pytest.raises(KeyboardInterrupt) as stopped:
            search(objective, trials=100)
        assert isinstance(stopped.value, Interrupted)
        assert stopped.value.result.counts["failed"] == 0


class TestRunsByName:
    def test_the_same_call_again_finds_everything_there(self, tmp_path: Path) -> None:
        calls: list[float] = []

        def objective(p: Params) -> float:
            calls.append(p.x)
            return p.x

        runs = [search(objective, storage=tmp_path / "runs.db", name="run") for _ in range(2)]
        assert len(calls) == 10
        assert runs[0].best == runs[1].best
        more = search(objective, storage=tmp_path / "runs.db", name="run", trials=15)
        assert len(more) == len(calls) == 15
        assert load("run", tmp_path / "runs.db").best == more.best

    @pytest.mark.parametrize("limit", [{"patience": 5}, {"goal": 1.0}, {"budget_s": 0.2, "patience": None}])
    @pytest.mark.parametrize("sampler", ["random", "auto", "bayesopt", {"type": "tpe", "n_startup_trials": 3}])
    def test_one_that_stopped_by_itself_has_ended(self, limit: dict[str, Any], sampler: Any, tmp_path: Path) -> None:
        calls: list[float] = []

        def objective(p: Params) -> float:
            calls.append(p.x)
            time.sleep(0.01)
            return 1.0

        options = {"storage": tmp_path / "runs.db", "name": "run", "trials": 500, "sampler": sampler, **limit}
        options["enqueue"] = [{"x": 1.0, "n": 2, "kind": "b"}]
        first = search(objective, **options)
        made = len(calls)
        assert 0 < made < 500
        for seed in (1, 2, None):
            again = search(objective, **options | {"seed": seed})
            assert (again.best, again.stopped, len(calls)) == (first.best, first.stopped, made)
        assert first.stopped

    @pytest.mark.parametrize(
        "more", [{"patience": 8}, {"trials": 501}, {"sampler": "tpe"}, {"space": {**SPACE, "x": Float(-9, 5)}}]
    )
    def test_one_that_stopped_by_itself_goes_on_when_asked_for_more(self, more: dict[str, Any], tmp_path: Path) -> None:
        options: dict[str, Any] = {"storage": tmp_path / "runs.db", "name": "run", "trials": 500, "patience": 5}
        first = search(lambda p: 1.0, **options)
        assert len(search(lambda p: 1.0, **options)) == len(first)
        assert len(search(lambda p: 1.0, **options | more)) > len(first)

    def test_a_name_means_one_run_of_its_storage(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            assert len(search(lambda p: p.x, storage=tmp_path / "runs.db", name=name)) == 10
        with pytest.raises(ExperimentNotFound, match="there is no run 'three'"):
            load("three", tmp_path / "runs.db")

    def test_without_a_name_each_call_begins_afresh(self, tmp_path: Path) -> None:
        names = {search(lambda p: p.x, storage=tmp_path / "runs.db").name for _ in range(2)}
        assert len(names) == 2

    def test_a_wider_space_keeps_the_trials(self, tmp_path: Path) -> None:
        url = tmp_path / "runs.db"
        search(lambda p: p.x, {"x": Float(0, 1)}, storage=url, name="run")
        result = search(lambda p: p.x, {"x": Float(-9, 1)}, storage=url, name="run", trials=20, sampler="tpe")
        assert len(result) == 20
        assert result.best.value < 0
        assert result.plot("slice").data

    def test_other_parameters_are_another_run(self, tmp_path: Path) -> None:
        search(lambda p: p.x, {"x": Float(0, 1)}, storage=tmp_path / "runs.db", name="run")
        with pytest.raises(InvalidSpace, match=r"the run 'run' has another space.*give another name"):
            search(lambda p: p.y, {"y": Float(0, 1)}, storage=tmp_path / "runs.db", name="run")
        with pytest.raises(InvalidBody, match=r"the run 'run' was begun with other objectives"):
            search(lambda p: p.x, {"x": Float(0, 1)}, storage=tmp_path / "runs.db", name="run", direction="maximize")

    def test_a_run_that_failed_is_tried_again_once_the_function_is_right(self, tmp_path: Path) -> None:
        with pytest.raises(TunesmithError, match="no trial succeeded"):
            search(lambda p: 1 / 0, storage=tmp_path / "runs.db", name="run")
        result = search(lambda p: p.x, storage=tmp_path / "runs.db", name="run")
        assert result.counts["complete"] == 10

    def test_two_threads_share_a_run_without_doing_anything_twice(self, tmp_path: Path) -> None:
        calls: list[float] = []

        def objective(p: Params) -> float:
            calls.append(p.x)
            time.sleep(0.02)
            return p.x

        results: list[Result] = []
        threads = [
            threading.Thread(target=lambda: results.append(search(objective, storage=tmp_path / "r.db", name="run")))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(result) for result in results] == [10, 10, 10]
        assert len(calls) == 10

    def test_postgresql_keeps_runs_as_well(self, postgres_url: str) -> None:
        search(lambda p: p.x, storage=postgres_url, name="run", trials=5)
        assert len(search(lambda p: p.x, storage=postgres_url, name="run")) == 10
