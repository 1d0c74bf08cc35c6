"""The algorithm tool: algorithms and models of a plugin, evaluated in a child process, from a batch to an outcome."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3 import bucket

from tuners.hosting import pool
from tuners.hosting.plugins import ship
from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.evaluate import evaluate
from tunesmith.data import DataSource
from tunesmith.data.files import new_files, write_tables
from tunesmith.domain import AlgorithmTool, KpiSpec, TrialState
from tunesmith.models import model
from tunesmith.plugins import Plugin
from tunesmith.scenarios import Algorithm, Float, Integer, Kpi
from tunesmith.storage import Storage, trial_key
from tunesmith.testing.factories import spec

# The plugin under test; it is imported by name from this very module.


class Doing(Algorithm):
    """Does what the test wants: `what` names a function of this module."""

    n = Integer(default=1)
    x = Float(default=0.5)

    def run(self, data: DataSource, progress: Any) -> Any:
        what = (Path.cwd().parent / "what").read_text()
        return globals()[what](self, data, progress)


class Sum(Kpi):
    better_when = "LOWER"

    def compute(self, result: Any, data: DataSource) -> Any:
        return result["sum"]


class Broken(Kpi):
    name = "On time?"
    better_when = "HIGHER"

    def compute(self, result: Any, data: DataSource) -> float:
        return float(result["late"] / 0)


class Fatal(Kpi):
    """Does what the result wants: `then` names a function of this module."""

    better_when = "LOWER"

    def compute(self, result: Any, data: DataSource) -> Any:
        return globals()[result["then"]]()


class Short(Doing):
    """Has a limit of its own."""

    timeout_s = 0.3


@model(id="doubling", params={"times": [3, 5]}, inputs={"start": Float(default=1.0)})
def doubling(inputs: dict[str, Any], progress: Any) -> Any:
    progress(50, "doubling")
    return [{"step": n, "value": inputs["start"] * 2**n} for n in range(inputs["times"])]


@model(id="freely")
def freely(inputs: dict[str, Any], progress: Any) -> Any:
    what = (Path.cwd().parent / "what").read_text()
    return globals()[what]()


plugin = Plugin(algorithms=[Doing, Short], kpis=[Sum, Broken, Fatal], models=[doubling, freely])


# What algorithms do


def add_up(algorithm: Doing, data: DataSource, progress: Any) -> Any:
    progress(40, "adding up")
    print("adding", algorithm.n)
    return {"sum": algorithm.n + algorithm.x, "tables": data.list_tables()}


def change_the_data(algorithm: Doing, data: DataSource, progress: Any) -> Any:
    frame = data["orders"]
    total = int(frame["pallets"].sum())
    frame["pallets"] = 0
    frame.loc[0, "pallets"] = 99
    data.add_table("orders", frame)
    return {"sum": total}


def raise_it(*_: Any) -> Any:
    raise ValueError("no slot is free")


def leave(*_: Any) -> Any:
    sys.exit()


def vanish(*_: Any) -> Any:
    os._exit(3)


def kill_itself(*_: Any) -> Any:
    os.kill(os.getpid(), 9)


def sleep(*_: Any) -> Any:
    time.sleep(1e9)


def then_vanish(*_: Any) -> Any:
    return {"sum": 1, "then": "vanish"}


def then_kill_itself(*_: Any) -> Any:
    return {"sum": 1, "then": "kill_itself"}


def then_sleep(*_: Any) -> Any:
    return {"sum": 1, "then": "sleep"}


def sleep_a_little(algorithm: Doing, *_: Any) -> Any:
    time.sleep(algorithm.x)
    return {"sum": 1}


def say_much(_algorithm: Doing, _data: DataSource, progress: Any) -> Any:
    for percent in (10, 60, 30, math.nan, 1000):
        progress(percent, f"at {percent}")
        time.sleep(0.1)
    return {"sum": 1}


def work(*_: Any) -> Any:
    end = time.process_time() + 0.3
    held = bytearray(300_000_000)
    while time.process_time() < end:
        pass
    return {"sum": len(held)}


def a_lock(*_: Any) -> Any:
    return {"sum": 1, "plan": [0, {"guard": threading.Lock()}]}


def itself(*_: Any) -> Any:
    result: dict[str, Any] = {"sum": 1}
    result["me"] = result
    return result


def odd_keys(*_: Any) -> Any:
    return {"sum": 1, "slots": {("a", 1): 2}}


def two_columns(*_: Any) -> Any:
    return {"sum": 1, "table": pd.DataFrame([[1, 2]], columns=["a", "a"])}


@dataclass
class Move:
    product: str
    slot: np.int64


def everything(*_: Any) -> Any:
    day = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC)
    return {
        "sum": np.float64(1.5),
        "nan": math.nan,
        "infinite": [-math.inf, np.float32("inf")],
        "array": np.arange(4).reshape(2, 2),
        "days": np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"),
        "moves": (Move("a", np.int64(3)), {"x"}),
        "frame": pd.DataFrame({"day": [day, None], "n": [1, 2], "y": [0.5, math.nan]}, index=[7, 8]),
        "arrow": pa.table({"s": ["a", None], "d": [decimal.Decimal("1.5"), None]}),
        "when": day,
        "price": decimal.Decimal("2.25"),
        "text": "lone \ud800 surrogate",
        5: None,
        "large": 2**80,
    }


def rows_with_gaps() -> Any:
    return [{"region": "EU", "value": 1.0}, {"region": "US", "value": math.nan, "note": "none"}], {
        "best": "EU",
        "rows": 7,
    }


def a_frame() -> Any:
    return pd.DataFrame({"kpi": ["a", "b"], "value": [1, 3]}), {"spread": 2.0, "bad": math.nan}


def no_rows() -> Any:
    return []


def no_table() -> Any:
    return {"a": 1}


def mixed() -> Any:
    return [{"value": 1}, {"value": "two"}]


# Fixtures


def specs(*names: str) -> tuple[KpiSpec, ...]:
    """What a spec says of KPIs."""
    return tuple(KpiSpec(name=name, better_when="LOWER") for name in names)


class Bench:
    """Evaluates algorithms, with artefacts in a directory."""

    def __init__(self, artifacts: str) -> None:
        self.artifacts, self.number = artifacts, 0
        self.told: list[tuple[int, str | None]] = []
        self.tool = AlgorithmTool(name="Doing", plugin="test_algorithm_tool:plugin", kpis=specs("Sum"))

    def __call__(self, what: str = "", stop_after_s: float | None = None, **changes: Any) -> Outcome:
        self.number += 1
        tool = self.tool.evolve(
            **{name: changes.pop(name) for name in list(changes) if name in AlgorithmTool.model_fields}
        )
        params = changes.pop("params", {})
        built = spec(tool=tool, objectives=(changes.pop("objective", "Sum"),), **changes)
        evaluation = Evaluation(self.number, params)
        batch = Batch("job", 1, built, (evaluation,), self.artifacts, 0.5)
        if what:
            (self.directory.parent / "what").parent.mkdir(parents=True, exist_ok=True)
            (self.directory.parent / "what").write_text(what)
        end = math.inf if stop_after_s is None else time.monotonic() + stop_after_s

        def watch(_measured: list[tuple[str, int, float]]) -> Stop | None:
            return "cancelled" if time.monotonic() >= end else None

        return evaluate(batch, evaluation, watch, None, lambda *word: self.told.append(word))

    @property
    def directory(self) -> Path:
        return Path(self.artifacts) / trial_key(1, self.number)

    @property
    def result(self) -> Any:
        return json.loads((self.directory / "result.json").read_text())

    @property
    def log(self) -> str:
        return (self.directory / "log.txt").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(str(tmp_path))


@pytest.fixture(autouse=True, scope="module")
def _no_child_stays() -> Iterator[None]:
    yield
    pool.close_idle()


# What works


def test_a_result_its_kpis_and_what_it_took(bench: Bench) -> None:
    found = bench("add_up", params={"n": 3}, parameters={"n": 7, "x": 0.25})
    assert (found.state, found.error) == (TrialState.COMPLETE, None)
    assert found.metrics.keys() == {"Sum", "wall_time_s", "cpu_time_s", "max_rss_bytes"}
    assert found.metrics["Sum"] == 3.25
    assert bench.result == {"sum": 3.25, "tables": []}
    assert bench.log == "adding 3\n"
    assert found.log == f"{trial_key(1, 1)}/log.txt"
    assert bench.told == [(40, "adding up")]


def test_a_run_that_prints_nothing_leaves_no_log(bench: Bench) -> None:
    found = bench("everything")
    assert found.log is None
    assert sorted(path.name for path in bench.directory.iterdir()) == ["result.json"]


def test_time_processor_and_memory_are_the_runs_own(bench: Bench) -> None:
    large = bench("work").metrics
    small = bench("add_up").metrics
    assert large["cpu_time_s"] >= 0.3 > small["cpu_time_s"]
    assert large["wall_time_s"] >= 0.3 > small["wall_time_s"]
    assert large["max_rss_bytes"] > small["max_rss_bytes"] + 200_000_000


def test_anything_that_json_can_hold_is_a_result(bench: Bench) -> None:
    assert bench("everything").error is None
    assert bench.result == {
        "sum": 1.5,
        "nan": None,
        "infinite": [None, None],
        "array": [[0, 1], [2, 3]],
        "days": ["2026-01-01", None],
        "moves": [{"product": "a", "slot": 3}, ["x"]],
        "frame": [
            {"day": "2026-03-01T12:30:00+00:00", "n": 1, "y": 0.5},
            {"day": None, "n": 2, "y": None},
        ],
        "arrow": [{"s": "a", "d": 1.5}, {"s": None, "d": None}],
        "when": "2026-03-01T12:30:00+00:00",
        "price": 2.25,
        "text": "lone \ufffd surrogate",
        "5": None,
        "large": 2**80,
    }


def test_no_evaluation_sees_what_another_did_to_the_data(bench: Bench) -> None:
    files = new_files()
    orders = pd.DataFrame({"pallets": [1, 2, 3]})
    write_tables(Storage(bench.artifacts), files, DataSource("example", {"orders": orders}))
    assert [bench("change_the_data", files=files).metrics.get("Sum") for _ in range(3)] == [6.0, 6.0, 6.0]


def test_progress_is_told_while_it_runs(bench: Bench) -> None:
    bench("say_much")
    assert bench.told == [(10, "at 10"), (60, "at 60"), (30, "at 30"), (30, "at nan"), (100, "at 1000")]


def test_repeats_are_means_and_their_progress_is_the_trials(bench: Bench) -> None:
    found = bench("add_up", repeats=2)
    assert found.metrics["Sum"] == 1.5
    assert found.metrics["Sum_stderr"] == 0
    assert bench.log == "==> repeat 1 of 2 <==\nadding 1\n==> repeat 2 of 2 <==\nadding 1\n"
    assert bench.told == [(20, "adding up"), (70, "adding up")]


def test_a_plugin_that_is_no_module_is_shipped(bench: Bench) -> None:
    class Local(Algorithm):
        def run(self, data: DataSource, progress: Any) -> Any:
            return {"sum": 42}

    reference = ship(Plugin(algorithms=[Local], kpis=[Sum]), Storage(bench.artifacts))
    assert bench(name="Local", plugin=reference).metrics["Sum"] == 42


def test_results_and_logs_reach_another_storage() -> None:
    pool.close_idle()  # a new child, which knows the keys
    with bucket("algorithms/here") as root:
        elsewhere = Bench(root)
        files = new_files()
        write_tables(Storage(root), files, DataSource("example", {"orders": pd.DataFrame({"pallets": [4]})}))
        found = elsewhere(
            name="Counting", files=files, plugin="test_algorithm_tool:counting", kpis=(), objective="wall_time_s"
        )
        assert found.error is None
        key = trial_key(1, 1)
        assert json.loads(b"".join(Storage(root).read(f"{key}/result.json"))) == {"pallets": 4}
        assert b"".join(Storage(root).read(f"{key}/log.txt")) == b"counted\n"


class Counting(Algorithm):
    """Counts pallets."""

    def run(self, data: DataSource, progress: Any) -> Any:
        print("counted")
        return {"pallets": data["orders"]["pallets"].sum()}


counting = [Counting]


# What fails, and the next one on the same worker

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("raise_it", {}, "ValueError: no slot is free"),
    ("leave", {}, "the algorithm ended its process (exit code 0)"),
    ("vanish", {}, "the algorithm ended its process (exit code 3)"),
    (
        "kill_itself",
        {},
        "the process of the algorithm was killed by SIGKILL; on Linux that is often the out-of-memory killer",
    ),
    ("then_vanish", {"kpis": specs("Sum", "Fatal")}, "KPI 'Fatal' ended its process (exit code 3)"),
    ("then_kill_itself", {"kpis": specs("Sum", "Fatal")}, "the process of KPI 'Fatal' was killed by SIGKILL; on Linux"),
    (
        "then_sleep",
        {"kpis": specs("Sum", "Fatal"), "trial_timeout_s": 0.4},
        "KPI 'Fatal': still running after 0.4 s (trial_timeout_s); ended",
    ),
    ("a_lock", {}, "result['plan'][1]['guard'] is a _thread.lock, which JSON cannot hold; "),
    ("itself", {}, "is nested more than 100 levels deep, or contains itself"),
    ("odd_keys", {}, "result['slots'] has the key ('a', 1), a tuple; keys of JSON are texts"),
    ("two_columns", {}, "result['table'] is a table with two columns 'a'"),
    ("sleep", {"trial_timeout_s": 0.4}, "still running after 0.4 s (trial_timeout_s); ended"),
    ("sleep", {"name": "Short"}, "still running after 0.3 s (the algorithm's timeout_s); ended"),
    (
        "sleep",
        {"name": "Short", "trial_timeout_s": 50.0},
        "still running after 0.3 s (the algorithm's timeout_s); ended",
    ),
    ("add_up", {"kpis": specs("Sum", "On time?")}, "KPI 'On time?': KeyError: 'late'"),
    ("add_up", {"kpis": specs("Sum", "Gone")}, "the plugin test_algorithm_tool:plugin has no KPI 'Gone' any more"),
    ("add_up", {"name": "Gone"}, "the plugin test_algorithm_tool:plugin has no algorithm 'Gone' any more"),
    ("add_up", {"parameters": {"m": 1}}, 'Doing has no parameter "m"; it takes n, x'),
    ("add_up", {"params": {"n": 1.5}}, "Doing.n: 1.5 is no integer; give an integer"),
    ("add_up", {"plugin": "no.such.module:plugin"}, "the plugin no.such.module:plugin could not be loaded"),
    ("add_up", {"plugin": "code:0123456789abcdef"}, "the plugin 0123456789ab is not in the storage any more"),
    ("add_up", {"files": "datasets/gone"}, "the dataset could not be read"),
    ("add_up", {"objective": "cost"}, "no finite value for objective 'cost'; it measured: Sum, cpu_time_s, "),
    ("add_up", {"repeats": 2, "kpis": specs("On time?")}, "repeat 1 of 2: KPI 'On time?': KeyError: 'late'"),
]


@pytest.mark.parametrize(("what", "changes", "error"), BAD)
def test_what_goes_wrong_is_said_and_the_next_one_works(
    bench: Bench, what: str, changes: dict[str, Any], error: str
) -> None:
    found = bench(what, **changes)
    assert found.state is TrialState.FAILED
    assert error in str(found.error)
    assert not (bench.directory / "result.json.partial").exists()
    assert bench("add_up").state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("value", "shown"),
    [("math.nan", "nan"), ("math.inf", "inf"), ("'7'", "'7'"), ("None", "None"), ("[1]", "[1]"), ("10**400", "1000")],
)
def test_a_kpi_that_is_no_finite_number_fails_the_trial(
    bench: Bench, tmp_path: Path, value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"odd_kpi_{abs(hash(value))}"
    (tmp_path / f"{name}.py").write_text(
        "import math\nfrom tunesmith.scenarios import Algorithm, Kpi\n"
        "class Nothing(Algorithm):\n    def run(self, data, progress): return {}\n"
        f"class Odd(Kpi):\n    better_when = 'LOWER'\n    def compute(self, result, data): return {value}\n"
        "plugin = [Nothing, Odd]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool.close_idle()  # a new child, with the new path
    found = bench(name="Nothing", plugin=f"{name}:plugin", kpis=specs("Odd"), objective="Odd")
    assert str(found.error).startswith(f"KPI 'Odd' gave {shown}")
    assert str(found.error).endswith("which is no finite number")
    pool.close_idle()


def test_the_traceback_is_in_the_log(bench: Bench) -> None:
    bench("raise_it")
    assert "Traceback (most recent call last)" in bench.log
    assert "ValueError: no slot is free" in bench.log
    bench("add_up", kpis=specs("On time?"))
    assert 'result["late"] / 0' in bench.log


def test_a_plugin_that_raises_when_it_is_imported(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("1 / 0", "import sys; sys.exit(4)", "def ("):
        name = f"bad_plugin_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        pool.close_idle()
        found = bench(plugin=f"{name}:plugin")
        assert f"the plugin {name}:plugin could not be loaded: " in str(found.error)
    pool.close_idle()


def test_a_run_that_is_stopped_may_run_again(bench: Bench) -> None:
    began = time.monotonic()
    found = bench("sleep", stop_after_s=0.5)
    assert found.state is TrialState.WAITING
    assert time.monotonic() - began < 3
    assert bench("add_up").state is TrialState.COMPLETE


def test_the_time_of_all_repeats_is_the_trials(bench: Bench) -> None:
    found = bench("sleep_a_little", parameters={"x": 0.4}, repeats=5, trial_timeout_s=1.0)
    assert found.state is TrialState.FAILED
    assert "of 5: " in str(found.error)
    assert "1 s (trial_timeout_s)" in str(found.error)


# Models


def rows_of(bench: Bench) -> list[dict[str, Any]]:
    return pq.read_table(bench.directory / "rows.parquet").to_pylist()  # type: ignore[no-any-return]


def run_model(bench: Bench, name: str, what: str = "", **changes: Any) -> Outcome:
    return bench(what, kind="model", name=name, kpis=(), objective="wall_time_s", **changes)


def test_a_model_gives_rows_and_a_summary(bench: Bench) -> None:
    found = run_model(bench, "doubling", parameters={"start": 2.0})
    assert found.state is TrialState.COMPLETE
    assert rows_of(bench) == [{"step": 0, "value": 2.0}, {"step": 1, "value": 4.0}, {"step": 2, "value": 8.0}]
    assert bench.result == {"summary": {"rows": 3, "avg_value": pytest.approx(14 / 3)}}
    assert found.metrics["rows"] == 3
    assert bench.told == [(50, "doubling")]


def test_the_summary_agrees_with_the_rows(bench: Bench) -> None:
    run_model(bench, "freely", "rows_with_gaps")
    assert rows_of(bench) == [
        {"region": "EU", "value": 1.0, "note": None},
        {"region": "US", "value": None, "note": "none"},
    ]
    assert bench.result == {"summary": {"rows": 2, "avg_value": 1.0, "best": "EU"}}
    run_model(bench, "freely", "a_frame")
    assert bench.result == {"summary": {"rows": 2, "avg_value": 2.0, "spread": 2.0, "bad": None}}
    run_model(bench, "freely", "no_rows")
    assert (rows_of(bench), bench.result) == ([], {"summary": {"rows": 0}})


@pytest.mark.parametrize(
    ("name", "what", "changes", "error"),
    [
        ("freely", "no_table", {}, "the model gave {'a': 1}; it has to give rows"),
        ("freely", "mixed", {}, "the rows' column 'value' has no one type"),
        ("freely", "raise_it", {}, "ValueError: no slot is free"),
        ("freely", "vanish", {}, "the model ended its process (exit code 3)"),
        ("gone", "", {}, "the plugin test_algorithm_tool:plugin has no model 'gone' any more"),
        ("doubling", "", {"parameters": {"times": 4}}, "times"),
    ],
)
def test_a_model_that_fails_says_why(bench: Bench, name: str, what: str, changes: dict[str, Any], error: str) -> None:
    found = run_model(bench, name, what, **changes)
    assert found.state is TrialState.FAILED
    assert error in str(found.error)


def test_short_evaluations_are_fast(bench: Bench, benchmark_s: Callable[[Callable[[], Any]], float]) -> None:
    files = new_files()
    write_tables(Storage(bench.artifacts), files, DataSource("example", {"orders": pd.DataFrame({"pallets": [1, 2]})}))
    bench("add_up", files=files)
    assert benchmark_s(lambda: bench("add_up", files=files)) < 0.02


@pytest.fixture
def benchmark_s() -> Callable[[Callable[[], Any]], float]:
    """The fastest of many calls: what others do on this machine is not its fault."""

    def measure(call: Callable[[], Any]) -> float:
        times = []
        for _ in range(50):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        return min(times)

    return measure
