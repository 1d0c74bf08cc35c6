"""The function tool: a Python function called in this process, from a batch to an outcome."""

from __future__ import annotations

import hashlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import optuna
import pytest

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import function
from tuners.tools.callable_load import function_key
from tuners.tools.callable_trial import Trial
from tunesmith.domain import CallableTool, FunctionTool, Parameter, Scalar, TrialState, space_of
from tunesmith.storage import Storage
from tunesmith.testing.factories import spec

# The functions under test; they are imported by name from this very module.


def loss(x: float, n: int) -> float:
    return x * n


def metrics(x: float, n: int) -> dict[str, Any]:
    print("evaluating", n)
    print("a warning", file=sys.stderr)
    return {"loss": x, "size": n, "ok": True, "name": "7", "nothing": math.nan, "bad\0name": 1}


def nothing(x: float, n: int) -> None:
    pass


def broken(x: float, n: int) -> float:
    print("so far so good")
    raise ValueError(f"x={x} \0 \ud800 is impossible")


def leaving(x: float, n: int) -> float:
    sys.exit(3)


def endless(x: float, n: int) -> float:
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            print("never")


def training(x: float, n: int) -> Iterator[Any]:
    try:
        for epoch in range(n):
            yield {"loss": x + n - epoch, "accuracy": epoch / n, "step": 10 * epoch}
    finally:
        print("closed")


def wrong_step(x: float, n: int) -> Iterator[Any]:
    yield {"loss": 1.0, "step": "first"}


def evaluate(
    name: str, artifacts: Path, stop: Stop | None = None, timeout_s: float | None = None, **params: Scalar
) -> Outcome:
    module = sys.modules[__name__]
    sys.modules.setdefault("functions_under_test", module)
    tool = FunctionTool(entrypoint=f"functions_under_test:{name}")
    evaluation = Evaluation(3, {"x": 0.5, "n": 4} | params)
    batch = Batch("job-1", 42, spec(tool=tool, trial_timeout_s=timeout_s), (evaluation,), str(artifacts), 1.0)
    return function.evaluate(batch, evaluation, lambda _measured: stop)


def test_a_number_is_the_first_objective(tmp_path: Path) -> None:
    found = evaluate("loss", tmp_path)
    assert (found.state, found.metrics["loss"], found.log) == (TrialState.COMPLETE, 2.0, None)
    assert 0 <= found.metrics["wall_time_s"] < 1


def test_a_dictionary_is_all_metrics_that_are_numbers(tmp_path: Path) -> None:
    found = evaluate("metrics", tmp_path)
    assert found.metrics.keys() == {"loss", "size", "wall_time_s"}
    assert (tmp_path / str(found.log)).read_text() == "evaluating 4\na warning\n"


def test_no_value_is_a_failure(tmp_path: Path) -> None:
    found = evaluate("nothing", tmp_path)
    assert found.state is TrialState.FAILED
    assert "no finite value for objective 'loss'" in str(found.error)


def test_an_exception_is_a_failure_with_its_traceback(tmp_path: Path) -> None:
    found = evaluate("broken", tmp_path)
    assert found.state is TrialState.FAILED
    assert "in broken" in str(found.error)
    assert "x=0.5 \ufffd ? is impossible" in str(found.error)
    assert (tmp_path / str(found.log)).read_text() == "so far so good\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [("leaving", "SystemExit: 3"), ("missing", "has no attribute 'missing'"), ("__doc__", "is no function")],
)
def test_every_trouble_is_a_failure(tmp_path: Path, name: str, error: str) -> None:
    found = evaluate(name, tmp_path)
    assert found.state is TrialState.FAILED
    assert error in str(found.error)


def test_wrong_parameters_are_a_failure(tmp_path: Path) -> None:
    assert "unexpected keyword argument 'z'" in str(evaluate("loss", tmp_path, z=1).error)


def test_a_timeout_interrupts_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    found = evaluate("endless", tmp_path, timeout_s=0.3)
    assert time.monotonic() - begun < 3
    assert found.error == "still running after 0.3 s (trial_timeout_s); ended"


@pytest.mark.parametrize(("stop", "state"), [("pruned", TrialState.PRUNED), ("cancelled", TrialState.WAITING)])
def test_a_stop_interrupts_it(tmp_path: Path, stop: Stop, state: TrialState) -> None:
    assert evaluate("endless", tmp_path, stop=stop).state is state


def test_a_log_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = evaluate("metrics", tmp_path / "file")
    assert found.state is TrialState.FAILED
    assert str(found.error).startswith("the log could not be kept: ")
    assert found.metrics["loss"] == 0.5


def test_it_works_in_any_thread(tmp_path: Path) -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(evaluate("loss", tmp_path, timeout_s=5)))
    thread.start()
    thread.join()
    assert found[0].state is TrialState.COMPLETE


def test_a_generator_reports_what_it_yields(tmp_path: Path) -> None:
    sys.modules.setdefault("functions_under_test", sys.modules[__name__])
    reported: list[tuple[str, int, float]] = []
    tool = FunctionTool(entrypoint="functions_under_test:training")
    evaluation = Evaluation(3, {"x": 0.5, "n": 3})
    batch = Batch("job-1", 42, spec(tool=tool), (evaluation,), str(tmp_path), 1.0)
    found = function.evaluate(batch, evaluation, lambda measured: reported.extend(measured))
    assert [value for value in reported if value[0] == "loss"] == [
        ("loss", 0, 3.5),
        ("loss", 10, 2.5),
        ("loss", 20, 1.5),
    ]
    assert (found.metrics["loss"], found.metrics["accuracy"]) == (1.5, pytest.approx(2 / 3))


def test_a_generator_ends_at_the_yield_after_which_it_is_pruned(tmp_path: Path) -> None:
    found = evaluate("training", tmp_path, stop="pruned")
    assert (found.state, found.metrics) == (TrialState.PRUNED, {"loss": 4.5, "accuracy": 0.0})
    assert (tmp_path / str(found.log)).read_text() == "closed\n"


def test_a_step_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    assert "step 'first' of a yielded result is no whole number" in str(evaluate("wrong_step", tmp_path).error)


class TestShippedFunctions:
    def ship(self, shipped: Callable[..., Any] | bytes, artifacts: Path, by_run: bool = False) -> Batch:
        payload = shipped if isinstance(shipped, bytes) else cloudpickle.dumps(shipped)
        code = hashlib.sha256(payload).hexdigest()
        Storage(str(artifacts)).write(function_key(code), payload)
        tool = CallableTool(name="m:f", define_by_run=by_run)
        asked = spec(tool=tool, **({"space": space_of([])} if by_run else {}))
        evaluation = Evaluation(3, {} if by_run else {"x": 0.5, "n": 4})
        return Batch("job-1", 42, asked, (evaluation,), str(artifacts), 1.0, code=code)

    def run(self, batch: Batch, suggest: Callable[[Parameter], Scalar] | None = None) -> Outcome:
        return function.evaluate(batch, batch.evaluations[0], lambda _measured: None, suggest)

    def test_it_is_called_as_it_wants_to_be(self, tmp_path: Path) -> None:
        factor = 3.0
        for shipped in (lambda p: p.x * p["n"] * factor, lambda x, n: x * n * factor):
            found = self.run(self.ship(shipped, tmp_path))
            assert (found.state, dict(found.metrics)) == (TrialState.COMPLETE, {"loss": 6.0})

    def test_it_asks_for_its_parameters(self, tmp_path: Path) -> None:
        asked: list[Parameter] = []

        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", 1, 2, log=True)
            n = trial.suggest_int("n", 1, 9, step=2)
            kind = trial.suggest_categorical("kind", [None, "a"])
            trial.set_user_attr("number", trial.number)
            return float(x * n + (kind is None))

        def suggest(parameter: Parameter) -> Scalar:
            asked.append(parameter)
            return {"x": 1.5, "n": 3, "kind": None}[parameter.name]

        found = self.run(self.ship(objective, tmp_path, by_run=True), suggest)
        assert dict(found.metrics) == {"loss": 5.5, "number": 3.0}
        assert asked == [
            Parameter(name="x", minimum=1, maximum=2, log=True),
            Parameter(name="n", type="int", minimum=1, maximum=9, step=2),
            Parameter(name="kind", type="categorical", choices=(None, "a")),
        ]

    def test_it_can_give_itself_up(self, tmp_path: Path) -> None:
        def objective(trial: Trial) -> float:
            trial.report(3.0, 0)
            raise optuna.TrialPruned

        found = self.run(self.ship(objective, tmp_path, by_run=True), lambda _: 0)
        assert (found.state, dict(found.metrics)) == (TrialState.PRUNED, {"loss": 3.0})

    def test_one_that_cannot_be_loaded_is_a_failure_with_its_reason(self, tmp_path: Path) -> None:
        missing = b"cno_such_module_at_all\nobjective\n."
        found = self.run(self.ship(missing, tmp_path))
        assert found.state is TrialState.FAILED
        assert "the function could not be loaded" in str(found.error)
        assert "No module named 'no_such_module_at_all'" in str(found.error)

    def test_one_that_is_not_there_is_a_failure(self, tmp_path: Path) -> None:
        batch = self.ship(lambda p: 0.0, tmp_path / "a")
        assert "is not in the storage any more" in str(self.run(replace(batch, artifacts=str(tmp_path / "b"))).error)
        assert "submit it with Client.tune()" in str(self.run(replace(batch, code=None)).error)
