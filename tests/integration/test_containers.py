"""Programs in containers: real ones, of podman and runc, from an image that is made here."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.images import ENGINE, OPTIONS, busybox_image, engine
from tuners.messages import Batch, Containers, Evaluation, Outcome, Stop
from tuners.tools.evaluate import evaluate
from tunesmith.domain import ProgramTool, TrialState, space_of
from tunesmith.testing.factories import spec

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with busybox_image(tmp_path_factory.mktemp("image")) as name:
        yield name


class Bench:
    """Evaluates programs in containers; the label of its job tells its own from others."""

    def __init__(self, directory: Path, image: str) -> None:
        self.directory, self.image = directory, image
        self.artifacts = directory / "artifacts"
        self.job = f"train-{uuid.uuid4().hex[:8]}"

    def batch(
        self,
        command: Sequence[str] | str,
        attempt: int = 1,
        grace_s: float = 1.0,
        settings: dict[str, Any] | None = None,
        tool: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Batch:
        words = ["sh", "-c", command, "sh"] if isinstance(command, str) else command
        program = ProgramTool.model_validate({"command": tuple(words), "image": self.image} | (tool or {}))
        changes = {"objectives": ("wall_time_s",), "space": space_of([])} | changes
        evaluation = Evaluation(attempt, {}, attempt, run=1)
        return Batch(
            "job-1",
            42,
            spec(tool=program, **changes),
            (evaluation,),
            str(self.artifacts),
            grace_s,
            training_id=self.job,
            containers=Containers(**{"engine": ENGINE, "options": OPTIONS} | (settings or {})),
        )

    def __call__(self, command: Sequence[str] | str, watch: Watch | None = None, **more: Any) -> Outcome:
        batch = self.batch(command, **more)
        return evaluate(batch, batch.evaluations[0], watch or (lambda _measured: None))

    def log(self, found: Outcome) -> str:
        return "" if found.log is None else (self.artifacts / found.log).read_text(errors="replace")

    def containers(self, *filters: str) -> list[str]:
        """The names of its containers, in whatever state."""
        shown = engine("ps", "--all", f"--filter=label=tunesmith.job={self.job}", "--format={{.Names}}", *filters)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.split()


@pytest.fixture
def program(tmp_path: Path, image: str) -> Iterator[Bench]:
    bench = Bench(tmp_path, image)
    yield bench
    left = bench.containers()
    if left:
        engine("rm", "--force", *left)
    assert not left


def eventually(condition: Callable[[], Any], within_s: float = 30.0) -> bool:
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


# What it sees


def test_it_prints_ends_and_is_measured(program: Bench) -> None:
    found = program("echo out; echo err >&2; pwd; echo '{\"loss\": 0.5}' >> $TUNESMITH_METRICS", objectives=("loss",))
    assert (found.state, found.error) == (TrialState.COMPLETE, None)
    assert sorted(program.log(found).splitlines()) == ["/bin", "err", "out"]  # where the image says
    assert found.metrics["loss"] == 0.5
    assert 0 < found.metrics["wall_time_s"] < 60
    assert program("exit 3").error == "exit code 3; it printed nothing"


def test_what_it_used_is_the_container_s(program: Bench) -> None:
    def used(script: str) -> tuple[float, float]:
        metrics = program(script).metrics
        return metrics["cpu_time_s"], metrics["max_rss_bytes"]

    idle, busy = used("true"), used("dd if=/dev/zero of=/dev/null bs=150M count=40")
    assert busy[0] - idle[0] > 0.1
    assert busy[1] > 150e6 > idle[1]


def test_its_environment_is_what_was_said_and_nothing_of_the_node_s(
    program: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_NODE", "x")
    values = {"PLAIN": "a b", "QUOTED": " \"q\" 's' $X #", "LINES": "one\ntwo", "LONG": "x" * 90_000, "PATH": "/bin"}
    script = (
        'for name in PLAIN QUOTED LINES OF_THE_NODE; do eval "echo \\"[\\$$name]\\""; done; echo ${#LONG}; echo $PATH'
    )
    found = program(script.replace("${", "$${"), tool={"env": values})
    assert program.log(found) == "[a b]\n[ \"q\" 's' $X #]\n[one\ntwo]\n[]\n90000\n/bin\n"


def test_no_secret_is_on_a_command_line_or_in_a_file(program: Bench, tmp_path: Path) -> None:
    secret = uuid.uuid4().hex
    seen: list[str] = []

    def watch(_measured: Any) -> Stop | None:
        if not (program.artifacts / "experiments/42/runs/1/checkpoint/started").exists():
            return None
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(path.read_text(errors="replace"))
            except OSError:
                continue
        return "cancelled"

    program(
        "echo $SECRET > /trial/known; echo > /checkpoint/started; sleep 60",
        watch,
        tool={"env": {"SECRET": secret}},
    )
    assert any("tunesmith.job" in line for line in seen)
    assert not [line for line in seen if secret in line]
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]
    assert [path.name for path in holding] == ["known"]


def test_attempts_share_the_checkpoint(program: Bench) -> None:
    script = (
        "echo $CHECKPOINT_DIR:$RESUME_FROM_CHECKPOINT:$@; cd $CHECKPOINT_DIR; echo $ATTEMPT >> lines; cat lines; exit 1"
    )
    first, second = (program(script, attempt=attempt) for attempt in (1, 2))
    assert program.log(first) == "/checkpoint::\n1\n"
    assert program.log(second) == "/checkpoint:/checkpoint:--resume-from-checkpoint /checkpoint\n1\n2\n"
    kept = program.artifacts / "experiments/42/runs/1/checkpoint"
    assert second.resumed_from == str(kept)
    assert (kept / "lines").read_text() == "1\n2\n"


def test_a_named_checkpoint_path_is_mounted(program: Bench, tmp_path: Path) -> None:
    program("echo here > $CHECKPOINT_DIR/model", tool={"checkpoint_path": str(tmp_path / "my checkpoints")})
    assert (tmp_path / "my checkpoints" / "model").read_text() == "here\n"


def test_an_image_with_a_user_of_its_own_can_write(program: Bench) -> None:
    script = "id -u; echo x > /checkpoint/x; echo '{\"loss\": 1}' >> $TUNESMITH_METRICS"
    found = program(script, settings={"options": (*OPTIONS, "--user=1234")}, objectives=("loss",))
    assert (found.state, found.error, program.log(found)) == (TrialState.COMPLETE, None, "1234\n")


def test_its_memory_is_limited(program: Bench) -> None:
    controllers = json.loads(engine("info", "--format={{json .Host.CgroupControllers}}").stdout) or []
    if "memory" not in controllers:
        pytest.skip("the memory of containers cannot be limited on this machine")
    eater = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
    found = program(eater, resources={"memory_bytes": 64 << 20})
    assert (found.error or "").startswith("exit code 137: killed (SIGKILL), often because it needed more memory than")
    assert program(eater, resources={"memory_bytes": 512 << 20}).state is TrialState.COMPLETE


def test_a_chatty_container_fills_no_disk(program: Bench) -> None:
    found = program("yes | head -c 60000000; echo last")
    assert program.log(found).endswith("y\nlast\n")
    assert not program.containers()


# How it fails


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["no-such-tool"], "exit code 127: 'no-such-tool' is not in the image "),
        (["/not-executable"], "exit code 126: '/not-executable' in the image "),
    ],
)
def test_a_program_that_cannot_be_started_is_told(program: Bench, command: list[str], error: str) -> None:
    assert (program(command).error or "").startswith(error)


def test_an_image_that_is_not_there_is_told(program: Bench) -> None:
    program.image = "localhost/no-such-image:1"
    found = program("true", settings={"pull": "never"})
    assert (found.error or "").startswith(
        "exit code 125 of podman itself: the image localhost/no-such-image:1 is not there and could not be fetched"
    )
    assert "image not known" in (found.error or "")


def test_an_engine_that_is_not_there_fails_the_attempt_at_once(program: Bench) -> None:
    found = program("true", settings={"engine": "no-such-engine --x"})
    assert (found.state, found.log) == (TrialState.FAILED, None)
    assert (found.error or "").startswith("the container engine 'no-such-engine --x' (TUNESMITH_CONTAINER_ENGINE) is")


# How it ends, and that nothing is left


def running(program: Bench) -> bool:
    """Whether its program said that it runs."""
    return (program.artifacts / "experiments/42/runs/1/checkpoint/started").exists()


def test_a_cancelled_one_may_save_its_state(program: Bench) -> None:
    script = (
        "trap 'echo saved > /checkpoint/state; exit 0' TERM; echo > /checkpoint/started; while :; do sleep 0.1; done"
    )
    found = program(script, lambda _measured: "cancelled" if running(program) else None, grace_s=20.0)
    assert found.state is TrialState.WAITING
    assert (program.artifacts / "experiments/42/runs/1/checkpoint/state").read_text() == "saved\n"
    assert not program.containers()


@pytest.mark.parametrize("ignoring", ["trap '' TERM;", ""])
def test_one_that_does_not_listen_is_removed_after_the_grace_period(program: Bench, ignoring: str) -> None:
    script = f"{ignoring} echo > /checkpoint/started; sleep 1000"
    began = time.monotonic()
    found = program(script, lambda _measured: "cancelled" if running(program) else None, grace_s=0.5)
    assert found.state is TrialState.WAITING
    assert time.monotonic() - began < 20
    assert not program.containers()


def test_one_that_takes_too_long_is_removed(program: Bench) -> None:
    found = program("echo working; sleep 1000", trial_timeout_s=2.0, grace_s=0.2)
    assert (found.error or "").startswith("still running after 2 s (timeout_s); ended")
    assert not program.containers()


def alone(program: Bench, script: str) -> subprocess.Popen[bytes]:
    """An attempt in a worker process of its own."""
    code = (
        "import sys, pickle; from tuners.tools.evaluate import evaluate\n"
        "batch = pickle.load(sys.stdin.buffer); evaluate(batch, batch.evaluations[0], lambda _: None)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    pickle.dump(program.batch(script), worker.stdin)
    worker.stdin.close()
    return worker


def test_nothing_is_left_when_the_worker_is_killed_and_the_next_attempt_waits_for_that(program: Bench) -> None:
    worker = alone(program, "trap '' TERM; echo > /checkpoint/started; while :; do sleep 1; done")
    assert eventually(lambda: running(program)), "the container did not start"
    (name,) = program.containers()
    assert name.startswith(f"tunesmith-{program.job}-1-1-")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    found = program("true", attempt=2)
    assert found.state is TrialState.COMPLETE
    assert not program.containers()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_nothing_is_left_when_the_worker_is_killed_while_it_starts(program: Bench, after_s: float) -> None:
    worker = alone(program, "sleep 1000")
    lock = program.artifacts / "experiments/42/runs/1/.lock"
    assert eventually(lock.exists), "the attempt did not begin"
    time.sleep(after_s)  # the moment is what is varied
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert program("true", attempt=2).state is TrialState.COMPLETE
    assert not program.containers()


def launcher_of(program: Bench) -> int:
    """The process that watches over its container: one that holds the execution's lock, and is no worker."""
    lock = str(program.artifacts / "experiments/42/runs/1/.lock")
    for path in Path("/proc").glob("[0-9]*"):
        try:
            held = [os.readlink(entry) for entry in (path / "fd").iterdir()]
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if lock in held and b"launcher.py" in words:
            return int(path.name)
    raise AssertionError("there is no launcher")


def test_what_nobody_could_remove_is_removed_by_the_next_attempt(program: Bench) -> None:
    worker = alone(program, "echo > /checkpoint/started; sleep 1000")
    assert eventually(lambda: running(program)), "the container did not start"
    os.kill(launcher_of(program), signal.SIGKILL)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert len(program.containers()) == 1
    assert program("true", attempt=2).state is TrialState.COMPLETE
    assert not program.containers()


def test_the_engine_of_the_setting_is_the_one_that_is_used(program: Bench, tmp_path: Path) -> None:
    wrapper = tmp_path / "my-podman"
    wrapper.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\nexec {ENGINE} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    assert program("true", settings={"engine": str(wrapper)}).state is TrialState.COMPLETE
    assert (tmp_path / "calls").read_text().split() == ["info", "run", "rm", "rm"]
