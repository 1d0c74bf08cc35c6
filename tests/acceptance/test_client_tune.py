"""`Client.tune` on a running platform: scripts and closures, pruned, by their run, by name, interrupted."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Platform, until

from tuners import Choice, Float, Int, Interrupted, Params, Trial
from tunesmith import Client
from tunesmith.errors import InvalidBody, InvalidOptimizer, PayloadTooLarge, TunesmithError

pytestmark = pytest.mark.timeout(300)
SPACE = {"x": Float(-5, 5), "n": Int(1, 10), "kind": Choice("a", "b")}
RANDOM: dict[str, Any] = {"sampler": "random", "seed": 1}

SCRIPT = """
import math
from beside import penalty
from tuners import Float
from tunesmith import Client

class Model:
    def __init__(self, x):
        self.x = x

    def loss(self):
        return math.cos(self.x) + penalty(self.x)

def objective(params):
    return Model(params.x).loss()

with Client() as client:
    result = client.tune(objective, {"x": Float(-5, 5)}, trials=12, sampler="random", seed=1)
    assert result.best.value == Model(result.best.params["x"]).loss()
    print(result)
"""


@pytest.fixture
def name() -> str:
    return f"run-{secrets.token_hex(4)}"


def test_a_scripts_own_function_with_its_classes_and_the_module_beside_it(shared: Platform, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("def penalty(x):\n    return 0.1 * x * x\n")
    env = {**os.environ, "TUNESMITH_URL": shared.url}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "12 complete" in done.stdout


def test_the_result_is_the_same_as_in_process(client: Client) -> None:
    offset = 2.0

    def objective(x: float, n: int, kind: str) -> dict[str, float]:
        return {"loss": (x - offset) ** 2 + n, "size": float(n)}

    result = client.tune(objective, SPACE, trials=20, metric="loss", constraints=["size <= 5"], **RANDOM)
    frame = result.dataframe()
    assert len(frame) == len(result) == 20
    assert list(frame.columns[:6]) == ["number", "state", "value", "params_x", "params_n", "params_kind"]
    assert result.best.value == frame[frame.feasible].value.min()
    assert result.best.metrics["size"] <= 5
    assert result.plot("contour", params=["x", "n"]).data
    assert len(result.study.trials) == 20


def test_generators_are_pruned_and_their_curves_come_back(client: Client) -> None:
    def training(params: Params) -> Iterator[float]:
        for _ in range(15):
            time.sleep(0.05)
            yield abs(params.x)

    pruner = {"type": "median", "n_startup_trials": 3}
    result = client.tune(training, SPACE, trials=16, pruner=pruner, workers=2, **RANDOM)
    assert result.counts["pruned"] > 0
    assert result.counts["complete"] + result.counts["pruned"] == 16
    curve = result.study.trials[result.best.number].intermediate_values
    assert curve == dict.fromkeys(range(15), result.best.value)


def test_define_by_run_asks_the_platform_for_its_parameters(client: Client) -> None:
    def objective(trial: Trial) -> float:
        kind = trial.suggest_categorical("kind", ["line", "square"])
        x = trial.suggest_float("x", -5, 5)
        trial.set_user_attr("seen", trial.number)
        return x**2 if kind == "square" else 2 * x + trial.suggest_int("n", 1, 4)

    result = client.tune(objective, trials=12, **RANDOM)
    frame = result.dataframe()
    assert frame["params_n"].notna().equals(frame["params_kind"] == "line")
    assert list(frame["metrics_seen"]) == list(frame["number"])


def test_several_objectives_give_a_front(client: Client) -> None:
    result = client.tune(
        lambda p: {"loss": abs(p.x), "size": p.n},
        SPACE,
        objectives={"loss": "minimize", "size": "maximize"},
        trials=15,
        **RANDOM,
    )
    assert 0 < len(result.best_trials) < 15
    assert result.plot("pareto").data


def test_a_function_that_always_fails_says_why(client: Client) -> None:
    with pytest.raises(TunesmithError, match=r"(?s)no trial succeeded.*ZeroDivisionError"):
        client.tune(lambda p: 1 / 0, SPACE, trials=4, **RANDOM)


def test_what_the_platform_refuses_is_refused_here(client: Client) -> None:
    with pytest.raises(InvalidOptimizer, match="did you mean 'random'"):
        client.tune(lambda p: 0.0, SPACE, sampler="randm")
    with pytest.raises(TypeError, match="storage"):
        client.tune(lambda p: 0.0, SPACE, storage="sqlite://")  # type: ignore[call-arg]
    data = secrets.token_bytes(5_000_000)
    with pytest.raises(PayloadTooLarge, match="Load data inside the function"):
        client.tune(lambda p: len(data), SPACE, trials=1)


def test_a_name_goes_on_with_a_run_and_widens_its_space(client: Client, name: str) -> None:
    options: dict[str, Any] = {"name": name, **RANDOM}
    first = client.tune(lambda p: p.x, {"x": Float(0, 1)}, trials=6, **options)
    again = client.tune(lambda p: p.x, {"x": Float(0, 1)}, trials=6, **options)
    assert again.trials.equals(first.trials)
    wider = client.tune(lambda p: p.x, {"x": Float(-9, 1)}, trials=14, **options)
    assert len(wider) == 14
    assert wider.best.value < 0
    with pytest.raises(InvalidBody, match="was begun with other objectives"):
        client.tune(lambda p: p.x, {"x": Float(-9, 1)}, trials=14, direction="maximize", **options)


@pytest.mark.parametrize(("limit", "more"), [({"patience": 5}, {"patience": 9}), ({"goal": 1.0}, {"goal": 0.5})])
def test_a_run_that_stopped_by_itself_goes_on_only_when_asked_for_more(
    client: Client, name: str, limit: dict[str, Any], more: dict[str, Any]
) -> None:
    def objective(params: Params) -> float:
        time.sleep(0.02)
        return 1.0

    options: dict[str, Any] = {"trials": 60, "name": name, "sampler": "auto", **limit}
    first = client.tune(objective, {"x": Float(0, 1)}, **options)
    again = client.tune(objective, {"x": Float(0, 1)}, seed=2, **options)
    assert again.trials.equals(first.trials)
    assert first.stopped is not None
    assert again.stopped == first.stopped
    assert len(client.tune(objective, {"x": Float(0, 1)}, **options | more)) > len(first)


def test_a_second_caller_follows_what_the_first_one_began(client: Client, shared: Platform, name: str) -> None:
    def objective(params: Params) -> float:
        time.sleep(0.2)
        return params.x

    found = []

    def follow() -> None:
        with Client(shared.url) as other:
            found.append(other.tune(objective, {"x": Float(0, 1)}, trials=20, name=name, workers=1, **RANDOM))

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(result) for result in found] == [20, 20]
    assert found[0].trials.equals(found[1].trials)


def test_ctrl_c_pauses_a_named_run_which_goes_on_later(client: Client, name: str) -> None:
    def objective(params: Params) -> float:
        time.sleep(0.2)
        return params.x

    options: dict[str, Any] = {"trials": 15, "name": name, "workers": 1, **RANDOM}

    def interrupt() -> None:
        until(lambda: any(e.info.trial_counts["complete"] > 2 for e in client.experiments(name)))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="the same call goes on with it") as stopped:
        client.tune(objective, {"x": Float(0, 1)}, **options)
    thread.join()
    assert 2 < len(stopped.value.result) < 15
    (experiment,) = client.experiments(name)
    until(lambda: (job := experiment.job()) is not None and job.info.job_status == "paused")
    result = client.tune(objective, {"x": Float(0, 1)}, **options)
    assert result.trials["number"].to_pylist() == list(range(15))
    assert result.counts["complete"] == 15


def test_the_example_for_a_platform_gets_near_a_minimum(shared: Platform) -> None:
    script = Path(__file__).resolve().parents[2] / "examples" / "python_api" / "on_a_platform.py"
    env = {**os.environ, "TUNESMITH_URL": shared.url}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[2]) < 60
