"""Repeats: a noisy point evaluated several times, by commands and by functions, as means with standard errors."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.evaluate import evaluate
from tuners.tools.repeats import combined
from tunesmith.domain import CommandTool, FunctionTool, TrialState
from tunesmith.storage import trial_key
from tunesmith.testing.factories import spec

Steps = list[tuple[str, int, float]]

calls: list[int] = []


def noisy(x: float, n: int) -> dict[str, float]:
    calls.append(n)
    print("call", len(calls))
    return {"loss": [1.0, 4.0, 7.0][len(calls) - 1], "size": 2.0, f"only{len(calls)}": 1.0}


def failing(x: float, n: int) -> float:
    calls.append(n)
    if len(calls) == 2:
        raise ValueError("no luck")
    return 5.0


def quick(x: float, n: int) -> float:
    calls.append(n)
    time.sleep(0.02)
    return 1.0


def endless(x: float, n: int) -> float:
    calls.append(n)
    while len(calls) > 1:
        time.sleep(0.01)
    return 1.0


class Bench:
    """Evaluates a point several times, with artefacts in a directory."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.measured: Steps = []
        self.watch: Callable[[Steps], Stop | None] = self.note

    def note(self, measured: Steps) -> None:
        self.measured += measured

    def function(self, name: str, repeats: int = 3, **changes: Any) -> Outcome:
        calls.clear()
        sys.modules["repeated_functions"] = sys.modules[__name__]
        return self._evaluate(FunctionTool(entrypoint=f"repeated_functions:{name}"), repeats, **changes)

    def command(self, script: str, repeats: int = 3, setup: str | None = None, **changes: Any) -> Outcome:
        return self._evaluate(CommandTool(command=script, setup=setup), repeats, **changes)

    def _evaluate(self, tool: Any, repeats: int, **changes: Any) -> Outcome:
        evaluation = Evaluation(7, {"x": 0.5, "n": 3})
        batch = Batch("job-1", 42, spec(tool=tool, repeats=repeats, **changes), (evaluation,), str(self.artifacts), 1.0)
        return evaluate(batch, evaluation, self.watch)

    def log(self, found: Outcome) -> str:
        return (self.artifacts / str(found.log)).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "artifacts")


LOSS = """echo "{\\"loss\\": $((1 + 3 * TUNESMITH_REPEAT))}" >> $TUNESMITH_METRICS; echo repeat $TUNESMITH_REPEAT\n"""


def test_a_command_s_values_are_means_with_standard_errors(bench: Bench) -> None:
    found = bench.command(LOSS, constraints=({"metric": "wall_time_s", "max": 60},))
    assert found.state is TrialState.COMPLETE
    assert (found.metrics["loss"], found.metrics["exit_code"]) == (4.0, 0.0)
    assert found.metrics["loss_stderr"] == pytest.approx(3 / math.sqrt(3))
    assert {"wall_time_s", "wall_time_s_stderr", "cpu_time_s"} <= found.metrics.keys()
    assert not {"cpu_time_s_stderr", "exit_code_stderr"} & found.metrics.keys()
    assert [step for step in bench.measured if step[0] == "loss"] == [
        ("loss", 0, 1.0),
        ("loss", 1, 4.0),
        ("loss", 2, 7.0),
    ]
    assert (found.ended_at - found.started_at).total_seconds() >= 3 * found.metrics["wall_time_s"]


def test_a_function_s_values_are_means_of_what_all_repeats_gave(bench: Bench) -> None:
    found = bench.function("noisy")
    assert found.state is TrialState.COMPLETE
    assert (found.metrics["loss"], found.metrics["size"]) == (4.0, 2.0)
    assert found.metrics["loss_stderr"] == pytest.approx(3 / math.sqrt(3))
    assert not {"only1", "only2", "only3", "size_stderr"} & found.metrics.keys()
    assert bench.measured == [("loss", 0, 1.0), ("loss", 1, 4.0), ("loss", 2, 7.0)]


def test_the_log_has_the_repeats_one_after_another(bench: Bench) -> None:
    lines = bench.log(bench.command(LOSS)).splitlines()
    assert lines == [
        "==> repeat 1 of 3 <==", "repeat 0", "==> repeat 2 of 3 <==", "repeat 1", "==> repeat 3 of 3 <==", "repeat 2",
    ]  # fmt: skip
    lines = bench.log(bench.function("noisy")).splitlines()
    assert lines == [
        "==> repeat 1 of 3 <==", "call 1", "==> repeat 2 of 3 <==", "call 2", "==> repeat 3 of 3 <==", "call 3",
    ]  # fmt: skip


def test_a_silent_function_has_no_log(bench: Bench) -> None:
    assert bench.function("quick").log is None


def test_what_the_tool_reports_by_step_is_kept_by_repeat(bench: Bench) -> None:
    found = bench.command('echo \'{"loss": 5, "step": 2}\' >> $TUNESMITH_METRICS; sleep 0.1', repeats=2)
    assert found.metrics["loss"] == 5
    assert bench.measured == [("loss.repeat0", 2, 5.0), ("loss", 0, 5.0), ("loss.repeat1", 2, 5.0), ("loss", 1, 5.0)]


def test_each_repeat_has_a_directory_of_its_own(bench: Bench) -> None:
    found = bench.command("ls; touch made; " + LOSS)
    assert bench.log(found).count("made") == 0
    directory = bench.artifacts / trial_key(42, 7)
    assert all((directory / f"repeat{repeat}" / "made").exists() for repeat in range(3))


def test_one_evaluation_is_no_repeat(bench: Bench) -> None:
    found = bench.command(LOSS, repeats=1)
    assert bench.log(found) == "repeat 0\n"
    assert "loss_stderr" not in found.metrics
    assert bench.measured == []


# Failures and stops


def test_a_failing_repeat_fails_the_trial_and_says_which(bench: Bench) -> None:
    found = bench.command(LOSS + "[ $TUNESMITH_REPEAT = 1 ] && exit 3; true")
    assert found.state is TrialState.FAILED
    assert found.error == "repeat 2 of 3: exit code 3; its output ends with:\nrepeat 1"
    assert (found.metrics["loss"], found.metrics["exit_code"]) == (1.0, 3.0)
    found = bench.function("failing")
    assert found.state is TrialState.FAILED
    assert str(found.error).startswith("repeat 2 of 3: Traceback")
    assert len(calls) == 2


def test_a_repeat_without_a_value_fails_the_trial(bench: Bench) -> None:
    found = bench.command("true")
    assert str(found.error).startswith("repeat 1 of 3: no finite value for objective 'loss'")


@pytest.mark.parametrize(("reason", "state"), [("pruned", TrialState.PRUNED), ("cancelled", TrialState.WAITING)])
def test_a_stop_between_two_repeats_ends_the_trial(bench: Bench, reason: Stop, state: TrialState) -> None:
    bench.watch = lambda measured: reason if ("loss", 1, 4.0) in measured else None
    found = bench.command(LOSS)
    assert (found.state, found.error) == (state, None)
    assert found.metrics["loss"] == 2.5
    assert bench.log(found).count("==>") == 2


def test_a_stop_within_a_repeat_ends_the_trial(bench: Bench) -> None:
    seen: Steps = []

    def watch(measured: Steps) -> Stop | None:
        seen.extend(measured)
        return "pruned" if seen else None

    bench.watch = watch
    found = bench.command(LOSS + "[ $TUNESMITH_REPEAT = 0 ] || sleep 60", repeats=2)
    assert found.state is TrialState.PRUNED
    assert seen == [("loss", 0, 1.0)]


def test_the_last_repeat_s_stop_comes_too_late(bench: Bench) -> None:
    bench.watch = lambda measured: "pruned" if ("loss", 2, 7.0) in measured else None
    assert bench.command(LOSS).state is TrialState.COMPLETE


def test_the_timeout_is_for_all_repeats(bench: Bench) -> None:
    found = bench.command(LOSS + "sleep 0.4", repeats=10, trial_timeout_s=1.0)
    assert found.state is TrialState.FAILED
    assert "still running after 1 s (trial_timeout_s); ended" in str(found.error)
    assert str(found.error).startswith(("repeat 2 of 10: ", "repeat 3 of 10: "))
    found = bench.function("endless", trial_timeout_s=0.5)
    assert str(found.error) == "repeat 2 of 3: still running after 0.5 s (trial_timeout_s); ended"
    found = bench.function("quick", repeats=1000, trial_timeout_s=0.5)
    assert "after 0.5 s (trial_timeout_s)" in str(found.error)
    assert len(calls) < 30


# The numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=30))
def test_means_and_errors_are_finite_for_any_values(values: list[float]) -> None:
    found = combined(spec(), [{"loss": value} for value in values])
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= found["loss"] <= max(values) + slack
    assert 0 <= found["loss_stderr"] < math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_error_is_the_sample_s_deviation_over_the_root_of_their_number(values: list[float]) -> None:
    found = combined(spec(), [{"loss": value} for value in values])
    assert found["loss"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found["loss_stderr"] == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-9)
