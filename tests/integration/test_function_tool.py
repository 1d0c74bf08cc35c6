"""The function tool: a Python function called in this process, from a batch to an outcome."""

from __future__ import annotations

import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import function
from tunesmith.domain import FunctionTool, Scalar, TrialState
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
