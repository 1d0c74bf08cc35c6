"""The command tool: setup, command and finish as real processes, from a batch to an outcome."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import command
from tunesmith.domain import CommandTool, Scalar, TrialState
from tunesmith.storage import trial_key
from tunesmith.testing.factories import spec

BUILT_IN = {"wall_time_s", "cpu_time_s", "max_rss_bytes", "exit_code"}
Step = tuple[str, int, float]


class Bench:
    """Evaluates command tools with artefacts in a directory."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.measured: list[Step] = []
        self.watch: Callable[[list[Step]], Stop | None] = self.note

    def note(self, measured: list[Step]) -> None:
        self.measured += measured

    def __call__(
        self,
        script: str,
        setup: str | None = None,
        finish: str | None = None,
        patterns: dict[str, str] | None = None,
        params: dict[str, Scalar] | None = None,
        objectives: Sequence[str] = ("wall_time_s",),
        number: int = 7,
        attempt: int = 1,
        grace_s: float = 1.0,
        **changes: Any,
    ) -> Outcome:
        tool = CommandTool(command=script, setup=setup, finish=finish, patterns=patterns or {})
        wanted = spec(objectives=objectives, tool=tool, **changes)
        evaluation = Evaluation(number, {"x": 0.5, "n": 3} if params is None else params, attempt)
        batch = Batch("job-1", 42, wanted, (evaluation,), str(self.artifacts), grace_s)
        return command.evaluate(batch, evaluation, self.watch)

    def log(self, found: Outcome) -> str:
        return "" if found.log is None else (self.artifacts / found.log).read_text(errors="replace")

    @property
    def directory(self) -> Path:
        return self.artifacts / trial_key(42, 7)


@pytest.fixture
def evaluate(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "artifacts")


# What comes of it


def test_a_good_command_is_complete(evaluate: Bench) -> None:
    found = evaluate("sleep 0.2; echo $(( ${n} + 1 )) ${x}")
    assert (found.state, found.error, found.job_id, found.number) == (TrialState.COMPLETE, None, "job-1", 7)
    assert found.metrics.keys() == BUILT_IN
    assert 0.2 <= found.metrics["wall_time_s"] < 2
    assert found.metrics["exit_code"] == 0
    assert (found.ended_at - found.started_at).total_seconds() >= 0.2
    assert evaluate.log(found) == "4 0.5\n"


def test_metrics_come_from_the_file_and_from_patterns(evaluate: Bench) -> None:
    script = (
        'for i in 1 2 3; do echo "{\\"loss\\": 0.$i, \\"step\\": $i}" >> $TUNESMITH_METRICS; done\n'
        'echo \'{"size": 10}\' >> "$TUNESMITH_METRICS"\n'
        "echo ratio=1.5; echo ratio=9 >&2; echo 'ratio=2.5 in the end'"
    )
    found = evaluate(script, patterns={"ratio": "ratio=([0-9.]+)"}, objectives=("-ratio", "loss"))
    assert found.state is TrialState.COMPLETE
    assert {name: found.metrics[name] for name in ("loss", "size", "ratio")} == {"loss": 0.3, "size": 10, "ratio": 2.5}
    assert found.metrics.keys() >= BUILT_IN
    assert evaluate.measured == [("loss", 1, 0.1), ("loss", 2, 0.2), ("loss", 3, 0.3)]
    assert sorted(evaluate.log(found).splitlines()) == ["ratio=1.5", "ratio=2.5 in the end", "ratio=9"]


def test_intermediate_values_are_seen_while_it_runs(evaluate: Bench) -> None:
    seen: list[tuple[float, list[Step]]] = []

    def watch(measured: list[Step]) -> None:
        seen.append((time.monotonic(), measured))

    evaluate.watch = watch
    begun = time.monotonic()
    evaluate(
        'echo \'{"loss": 1, "step": 1}\' >> $TUNESMITH_METRICS; sleep 1; '
        'echo \'{"loss": 2, "step": 2}\' >> $TUNESMITH_METRICS'
    )
    at, first = next((at, measured) for at, measured in seen if measured)
    assert first == [("loss", 1, 1.0)]
    assert at - begun < 0.9


def test_the_built_in_metrics_cannot_be_overwritten(evaluate: Bench) -> None:
    found = evaluate(
        'echo \'{"wall_time_s": 99, "exit_code": 5}\' >> $TUNESMITH_METRICS; echo t=77',
        patterns={"cpu_time_s": "t=(.*)"},
    )
    assert found.metrics["wall_time_s"] < 9
    assert found.metrics["cpu_time_s"] < 9
    assert found.metrics["exit_code"] == 0


def test_problems_in_the_metrics_file_are_in_the_log(evaluate: Bench) -> None:
    found = evaluate('printf \'oops\\n{"loss": NaN}\\n{"a\\\\u0000": 1}\\n{"a": 1}\' >> $TUNESMITH_METRICS')
    assert found.state is TrialState.COMPLETE
    assert found.metrics["a"] == 1
    assert "in $TUNESMITH_METRICS: no JSON object: 'oops'" in evaluate.log(found)
    assert "loss: nan is no finite number" in evaluate.log(found)


def test_a_missing_objective_fails_and_says_what_to_do(evaluate: Bench) -> None:
    found = evaluate(
        "echo '{\"los\": 1}' >> $TUNESMITH_METRICS", objectives=("loss",), constraints=({"metric": "size", "max": 1},)
    )
    assert found.state is TrialState.FAILED
    assert found.error is not None
    assert found.error.startswith("no finite value for objective 'loss', constraint 'size'; it measured: ")
    assert "los," in found.error
    assert "JSON line to the file $TUNESMITH_METRICS" in found.error
    assert found.metrics["los"] == 1


# Failures


def test_a_failure_quotes_exit_code_and_output(evaluate: Bench) -> None:
    found = evaluate("echo '{\"loss\": 1}' >> $TUNESMITH_METRICS; echo all is lost >&2; exit 3", objectives=("loss",))
    assert found.state is TrialState.FAILED
    assert found.error == "exit code 3; its output ends with:\nall is lost"
    assert found.metrics["loss"] == 1
    assert found.metrics["exit_code"] == 3


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 1", "exit code 1; it printed nothing"),
        ("kill $$", "killed by SIGTERM; it printed nothing"),
        ("kill -9 $$", "killed by SIGKILL; on Linux that is often the out-of-memory killer; it printed nothing"),
        ("kill -40 $$", "killed by signal 40; it printed nothing"),
        ("no-such-tool --flag", "exit code 127; its output ends with:\n"),
        ("#!/no/such/interpreter -x\n", "/no/such/interpreter: not found on this node; it is what the script's #!"),
        ("#!/usr/bin/env no-such-interpreter\n", "exit code 127; its output ends with:\n/usr/bin/env: "),
    ],
)  # fmt: skip
def test_every_way_to_fail_has_its_message(evaluate: Bench, script: str, error: str) -> None:
    found = evaluate(script)
    assert found.state is TrialState.FAILED
    assert (found.error or "").startswith(error)


def test_binary_output_is_quoted_readably(evaluate: Bench) -> None:
    found = evaluate("printf '\\377\\000\\001abc\\n'; head -c 5000 /dev/urandom; printf '\\000tail'; exit 1")
    assert found.error is not None
    assert found.error.endswith("\ufffdtail")
    assert "\0" not in found.error
    assert len(found.error) < 8001


@pytest.mark.parametrize("patterns", [{}, {"a": "a=(.)"}])
def test_a_hundred_megabytes_of_output_take_bounded_memory(evaluate: Bench, patterns: dict[str, str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = evaluate("head -c 100000000 /dev/zero; echo; echo a=1; exit 1", patterns=patterns)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
    assert (evaluate.artifacts / (found.log or "")).stat().st_size > 100_000_000
    assert (found.error or "").endswith("a=1")
    assert found.metrics.get("a") == (1.0 if patterns else None)


def test_a_value_that_could_be_code_fails_the_trial(evaluate: Bench) -> None:
    found = evaluate("echo $(( ${x} ))", params={"x": "a[$(touch pwned)]", "n": 1})
    assert found.state is TrialState.FAILED
    assert "is no number, but the script reckons with it" in (found.error or "")
    assert not (evaluate.directory / "pwned").exists()


# Time


def test_a_timeout_fails_with_what_was_measured(evaluate: Bench) -> None:
    script = 'echo \'{"loss": 1, "step": 1}\' >> $TUNESMITH_METRICS; echo working; sleep 60 & sleep 60'
    begun = time.monotonic()
    found = evaluate(script, trial_timeout_s=0.5)
    assert time.monotonic() - begun < 5
    assert found.state is TrialState.FAILED
    assert found.error == "still running after 0.5 s (trial_timeout_s); ended; its output ends with:\nworking"
    assert found.metrics["loss"] == 1


def test_setup_counts_for_the_timeout_but_not_for_the_time(evaluate: Bench) -> None:
    found = evaluate("true", setup="sleep 0.4", finish="sleep 0.4")
    assert found.metrics["wall_time_s"] < 0.4
    found = evaluate("true", setup="sleep 9", trial_timeout_s=0.3)
    assert found.error == "the setup script: still running after 0.3 s (trial_timeout_s); ended; it printed nothing"


@pytest.mark.parametrize(("reason", "state"), [("pruned", TrialState.PRUNED), ("cancelled", TrialState.WAITING)])
def test_a_stop_from_outside_is_no_failure(evaluate: Bench, reason: Stop, state: TrialState) -> None:
    evaluate.watch = lambda measured: reason if measured or reason == "cancelled" else None
    found = evaluate('echo \'{"loss": 5, "step": 1}\' >> $TUNESMITH_METRICS; sleep 60', finish="echo finished")
    assert (found.state, found.error) == (state, None)
    assert found.metrics["loss"] == 5


@pytest.mark.parametrize("grace_s", [0.0, 30.0])
def test_a_pruned_command_that_ignores_the_request_is_gone_within_two_seconds(evaluate: Bench, grace_s: float) -> None:
    decided: list[float] = []

    def watch(_measured: list[Step]) -> Stop | None:
        if not (evaluate.directory / "group").exists():
            return None
        decided.append(time.monotonic())
        return "pruned"

    evaluate.watch = watch
    found = evaluate("trap '' TERM; sleep 60 & echo $$ > group; while true; do sleep 60; done", grace_s=grace_s)
    assert found.state is TrialState.PRUNED
    assert time.monotonic() - decided[0] < 2
    with pytest.raises(ProcessLookupError):
        os.killpg(int((evaluate.directory / "group").read_text()), 0)


def test_a_stop_during_setup_starts_no_command(evaluate: Bench) -> None:
    evaluate.watch = lambda _measured: "cancelled"
    assert evaluate("touch started", setup="sleep 60").state is TrialState.WAITING
    assert not (evaluate.directory / "started").exists()


SLOW = {"slow": "((?:a+)+)b", "a": "a=(.)"}
PRINT_SLOW = "echo a=1; printf 'a%.0s' {1..48}; echo"


@pytest.mark.slow
def test_a_slow_pattern_ends_with_the_trials_time(evaluate: Bench) -> None:
    begun = time.monotonic()
    found = evaluate(PRINT_SLOW + "; sleep 60", patterns=SLOW, trial_timeout_s=0.7)
    assert time.monotonic() - begun < 5
    assert found.state is TrialState.FAILED
    assert (found.error or "").startswith("metrics.patterns.slow took too long on a line of the output; ")
    assert found.metrics["a"] == 1
    assert evaluate.log(found).startswith("a=1\naaa")
    found = evaluate(PRINT_SLOW, patterns=SLOW, trial_timeout_s=0.7)  # a command that has ended long ago
    assert (found.error or "").startswith("metrics.patterns.slow took too long")


@pytest.mark.parametrize("rest", ["", "; sleep 60"])
@pytest.mark.slow
def test_a_slow_pattern_does_not_hold_up_a_stop(evaluate: Bench, rest: str) -> None:
    begun = time.monotonic()
    evaluate.watch = lambda _measured: "cancelled" if time.monotonic() - begun > 1 else None
    assert evaluate(PRINT_SLOW + rest, patterns=SLOW).state is TrialState.WAITING
    assert time.monotonic() - begun < 4


def test_patterns_cost_little(evaluate: Bench) -> None:
    def seconds(patterns: dict[str, str]) -> float:
        begun = time.perf_counter()
        evaluate("echo a=1", patterns=patterns)
        return time.perf_counter() - begun

    evaluate("true")
    least = min(seconds({"a": "a=(.)"}) for _ in range(10)) - min(seconds({}) for _ in range(10))
    assert least < 0.1


# Setup and finish


def test_the_order_is_setup_command_finish(evaluate: Bench) -> None:
    found = evaluate(
        "echo command; cat made",
        setup="echo setup ${n}; echo made > made",
        finish='echo finish "$TUNESMITH_EXIT_CODE"; cat made',
    )
    assert found.state is TrialState.COMPLETE
    assert evaluate.log(found).split("\n") == ["setup 3", "command", "made", "finish 0", "made", ""]


def test_a_failing_setup_stops_the_trial(evaluate: Bench) -> None:
    found = evaluate("echo command", setup="echo no input; exit 4", finish="echo finish")
    assert found.state is TrialState.FAILED
    assert found.error == "the setup script: exit code 4; its output ends with:\nno input"
    assert evaluate.log(found) == "no input\n"


def test_finish_runs_after_a_failure_and_knows_the_exit_code(evaluate: Bench) -> None:
    found = evaluate("exit 3", finish="echo code $TUNESMITH_EXIT_CODE; exit 9")
    assert evaluate.log(found) == "code 3\n"
    assert (found.error or "").startswith("exit code 3;")
    assert found.metrics["exit_code"] == 3
    found = evaluate("sleep 60", finish="sleep 0.1; echo code $TUNESMITH_EXIT_CODE", trial_timeout_s=0.3)
    assert "code -15" in evaluate.log(found)


def test_a_failing_finish_fails_the_trial(evaluate: Bench) -> None:
    found = evaluate("echo '{\"loss\": 1}' >> $TUNESMITH_METRICS", finish="exit 2", objectives=("loss",))
    assert found.error == "the finish script: exit code 2; it printed nothing"
    assert found.metrics["exit_code"] == 0


def test_finish_may_measure_what_the_command_made(evaluate: Bench) -> None:
    found = evaluate(
        "head -c 100 /dev/zero > made",
        finish='echo "{\\"size\\": $(wc -c < made)}" >> $TUNESMITH_METRICS',
        objectives=("size",),
    )
    assert found.state is TrialState.COMPLETE
    assert found.metrics["size"] == 100


# Surroundings


def test_the_environment_is_the_trials(evaluate: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("AWS_PROFILE", "research")
    found = evaluate("env | grep -E '^(TUNESMITH|RAY|AWS_PROFILE)' | sort; pwd -P", attempt=2)
    *lines, directory = evaluate.log(found).splitlines()
    assert directory == str(evaluate.directory.resolve())
    assert lines == [
        "AWS_PROFILE=research",
        "TUNESMITH_ATTEMPT=2",
        f"TUNESMITH_CHECKPOINT={evaluate.directory}/.checkpoint",
        "TUNESMITH_EXPERIMENT_ID=42",
        "TUNESMITH_JOB_ID=job-1",
        f"TUNESMITH_METRICS={evaluate.directory}/metrics.jsonl",
        "TUNESMITH_PARAM_N=3",
        "TUNESMITH_PARAM_X=0.5",
        "TUNESMITH_REPEAT=0",
        f"TUNESMITH_TRIAL_DIR={evaluate.directory}",
        "TUNESMITH_TRIAL_NUMBER=7",
    ]


def test_an_earlier_attempt_leaves_no_traces(evaluate: Bench) -> None:
    evaluate("echo '{\"old\": 1}' >> $TUNESMITH_METRICS; mkdir -p deep/er; touch deep/er/file; echo old; exit 1")
    found = evaluate("ls", attempt=2)
    assert "old" not in found.metrics
    assert evaluate.log(found).split() == ["command.sh", "log.txt"]


def test_a_silent_trial_has_no_log(evaluate: Bench) -> None:
    assert evaluate("true").log is None


@pytest.mark.parametrize("script", ["echo hi; rm -rf ./*", 'cd /; rm -rf "$TUNESMITH_TRIAL_DIR"'])
def test_a_command_may_clean_its_directory(evaluate: Bench, script: str) -> None:
    found = evaluate(script)
    assert (found.state, found.log) == (TrialState.COMPLETE, None)
    assert (evaluate(script + "; echo why; exit 2").error or "").endswith("why")


def test_a_directory_that_cannot_be_made_is_a_failed_trial(evaluate: Bench) -> None:
    evaluate.artifacts.write_text("a file where the directory should be")
    found = evaluate("true")
    assert found.state is TrialState.FAILED
    assert (found.error or "").startswith("the trial could not be run on its node: ")


def test_a_metrics_file_that_is_none_is_a_failed_trial(evaluate: Bench) -> None:
    found = evaluate("mkdir $TUNESMITH_METRICS")
    assert found.state is TrialState.FAILED
    assert "Is a directory" in (found.error or "")
    assert evaluate("true").state is TrialState.COMPLETE


def test_another_interpreter_runs_the_script(evaluate: Bench) -> None:
    script = (
        f"#!{sys.executable} -S\nimport json, os\n"
        "with open(os.environ['TUNESMITH_METRICS'], 'a') as stream:\n"
        "    print(json.dumps({'loss': ${n} * 2}), file=stream)"
    )
    assert evaluate(script, objectives=("loss",)).metrics["loss"] == 6


def test_a_background_process_does_not_hold_up_the_trial(evaluate: Bench) -> None:
    begun = time.monotonic()
    found = evaluate("setsid sleep 60 & echo a=1", patterns={"a": "a=(.)"})
    assert found.metrics["a"] == 1
    assert time.monotonic() - begun < 3


def test_many_quick_trials_leak_no_descriptors(evaluate: Bench) -> None:
    evaluate("echo a=1", patterns={"a": "a=(.)"})
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        evaluate("echo a=1", patterns={"a": "a=(.)"}, number=number)
    assert len(os.listdir("/proc/self/fd")) == before
