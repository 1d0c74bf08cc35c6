"""The program tool: real processes on this node, attempts and their checkpoint, in a directory and in S3, the log."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from s3 import bucket, listing

from serve_app.context import Context
from serve_app.counting import RequestCounts
from serve_app.identities import Identities
from serve_app.logs import trial_log
from serve_app.platform import Alone
from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import mirror, resuming
from tuners.tools.evaluate import evaluate
from tuners.tools.running import Failed
from tunesmith.domain import ProgramTool, Scalar, Trial, TrialState, space_of
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.storage import Storage, trial_key
from tunesmith.store import Store
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, running_job, spec

BUILT_IN = {"wall_time_s", "cpu_time_s", "max_rss_bytes", "exit_code"}
Step = tuple[str, int, float]
Watch = Callable[[list[Step]], Stop | None]


def shell(script: str) -> list[str]:
    """A command that runs a script; its further arguments are `$@`."""
    return ["sh", "-c", script.replace("${", "$${"), "sh"]


class Bench:
    """Evaluates attempts of one training job's executions; each attempt is a trial of its own."""

    def __init__(self, artifacts: str, data_dir: Path) -> None:
        self.artifacts, self.data_dir = artifacts, data_dir
        self.storage = Storage(artifacts)
        self.max_log_bytes = 1_000_000

    def batch(
        self,
        command: Sequence[str],
        attempt: int = 1,
        run: int | None = 1,
        number: int | None = None,
        params: dict[str, Scalar] | None = None,
        grace_s: float = 1.0,
        tool: dict[str, Any] | None = None,
        objectives: Sequence[str] = ("wall_time_s",),
        **changes: Any,
    ) -> Batch:
        program = ProgramTool.model_validate({"command": tuple(command)} | (tool or {}))
        names = [{"name": name, "type": "categorical", "choices": [value]} for name, value in (params or {}).items()]
        wanted = spec(objectives=objectives, tool=program, space=space_of(names), **changes)
        number = 10 * (run or 0) + attempt if number is None else number
        evaluation = Evaluation(number, params or {}, attempt, run=run)
        return Batch(
            "job-1",
            42,
            wanted,
            (evaluation,),
            self.artifacts,
            grace_s,
            training_id="train-0a1b2c3d",
            data_dir=str(self.data_dir),
            max_log_bytes=self.max_log_bytes,
        )

    def __call__(
        self, command: Sequence[str] | str, attempt: int = 1, watch: Watch | None = None, **more: Any
    ) -> Outcome:
        words = shell(command) if isinstance(command, str) else command
        batch = self.batch(words, attempt, **more)
        return evaluate(batch, batch.evaluations[0], watch or (lambda _measured: None))

    def log(self, found: Outcome) -> str:
        return b"".join(self.storage.read(found.log or "none")).decode(errors="replace")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket on a local S3 service."""
    with bucket("work/prefix") as url:
        yield url


@pytest.fixture
def program(tmp_path: Path) -> Bench:
    return Bench(str(tmp_path / "data" / "artifacts"), tmp_path / "data")


@pytest.fixture
def remote(s3: str, tmp_path: Path) -> str:
    """A prefix of the bucket that nobody used."""
    return s3.replace("prefix", tmp_path.name)


@pytest.fixture(params=["kept by itself", "absolute", "relative", "s3", "s3 for all"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Bench, dict[str, Any]]:
    """A bench, and where its checkpoint is kept, of each kind in turn."""
    data = tmp_path / "data"
    if request.param == "s3 for all":
        return Bench(request.getfixturevalue("remote"), data), {}
    path = {"absolute": str(tmp_path / "elsewhere" / "deep"), "relative": "checkpoints/resnet"}.get(request.param)
    if request.param == "s3":
        path = request.getfixturevalue("remote")
    return Bench(str(data / "artifacts"), data), {"checkpoint_path": path}


# How it is started


def test_arguments_see_no_shell_and_holes_become_values(program: Bench) -> None:
    code = "import sys; print(sys.argv[1:])"
    words = [sys.executable, "-c", code, "--lr=${lr}", "$(id); *", "$${x}", "${name}", ""]
    found = program(words, params={"lr": 0.5, "name": "a b"})
    assert (found.state, found.error) == (TrialState.COMPLETE, None)
    assert program.log(found) == "['--lr=0.5', '$(id); *', '${x}', 'a b', '']\n"
    assert found.metrics.keys() == BUILT_IN


def test_the_environment_says_what_it_is_an_attempt_of(program: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", "secret")
    found = program(
        ["sh", "-c", "env | grep -E '^(TUNESMITH|JOB|ATT|CHECK|RESUME|RATE|KIND)' | sort; pwd -P"],
        params={"x": 0.5},
        tool={"env": {"RATE": "${x}/s", "KIND": "a\nb"}},
    )
    directory = Path(program.artifacts, trial_key(42, 11))
    lines = program.log(found).splitlines()
    checkpoint = next(line for line in lines if line.startswith("CHECKPOINT_DIR=")).partition("=")[2]
    assert Path(checkpoint).is_relative_to(Path(program.artifacts, "experiments/42/runs/1"))
    assert lines == [
        "ATTEMPT=1",
        f"CHECKPOINT_DIR={checkpoint}",
        "JOB_ID=train-0a1b2c3d",
        "KIND=a",
        "RATE=0.5/s",
        "RESUME_FROM_CHECKPOINT=",
        "TUNESMITH_ATTEMPT=1",
        f"TUNESMITH_CHECKPOINT={checkpoint}",
        "TUNESMITH_EXPERIMENT_ID=42",
        "TUNESMITH_JOB_ID=job-1",
        f"TUNESMITH_METRICS={directory}/metrics.jsonl",
        "TUNESMITH_PARAM_X=0.5",
        "TUNESMITH_REPEAT=0",
        f"TUNESMITH_TRIAL_DIR={directory}",
        "TUNESMITH_TRIAL_NUMBER=11",
        str(directory.resolve()),
    ]


def test_metrics_come_from_the_file_also_while_it_runs(program: Bench) -> None:
    seen: list[Step] = []
    script = (
        'for i in 1 2; do echo "{\\"loss\\": 0.$i, \\"step\\": $i}" >> $TUNESMITH_METRICS; done\n'
        "echo oops >> $TUNESMITH_METRICS"
    )
    found = program(script, objectives=("loss",), watch=lambda measured: seen.extend(measured))
    assert (found.metrics["loss"], seen) == (0.2, [("loss", 1, 0.1), ("loss", 2, 0.2)])
    assert "in $TUNESMITH_METRICS: no JSON object: 'oops'" in program.log(found)


# How it fails


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (shell("echo all is lost; exit 3"), "exit code 3; its output ends with:\nall is lost"),
        (shell("kill $$"), "killed by SIGTERM; it printed nothing"),
        (shell("kill -9 $$"), "killed by SIGKILL; on Linux that is often the out-of-memory killer; it printed"),
        (["no-such-tool", "x"], "no-such-tool: not found on this node; write its whole path, or name an image"),
        (["/etc"], "/etc: may not be executed on this node"),
        (["/dev/null/x"], "/dev/null/x: cannot be executed on this node: Not a directory"),
        (
            ["true", "${depth}"],
            "${depth} in '${depth}' is no parameter (there are none); for the text, write $${depth}",
        ),
    ],
)
def test_every_way_to_fail_has_its_message(program: Bench, command: list[str], error: str) -> None:
    found = program(command)
    assert found.state is TrialState.FAILED
    assert (found.error or "").startswith(error)


def test_a_timeout_gives_it_time_to_save(program: Bench) -> None:
    script = "trap 'echo saving; echo saved > $CHECKPOINT_DIR/state; exit 0' TERM; echo working; exec 2>/dev/null\n"
    script += "while :; do sleep 0.05; done"
    found = program(script, trial_timeout_s=0.5)
    assert found.error == "still running after 0.5 s (timeout_s); ended; its output ends with:\nworking\nsaving"
    found = program("cat $RESUME_FROM_CHECKPOINT/state; echo $@", attempt=2)
    assert program.log(found) == f"saved\n--resume-from-checkpoint {found.resumed_from}\n"


def test_a_program_that_ignores_the_request_is_killed(program: Bench) -> None:
    began = time.monotonic()
    stop: Watch = lambda _measured: "cancelled" if time.monotonic() - began > 0.5 else None  # noqa: E731
    found = program("trap '' TERM; sleep 60 & echo $! > $CHECKPOINT_DIR/pid; while :; do sleep 1; done", watch=stop)
    assert (found.state, found.error) == (TrialState.WAITING, None)
    assert time.monotonic() - began < 5
    (pid,) = Path(program.artifacts).rglob("pid")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# Its checkpoint

TRAIN = """
echo "$ATTEMPT ${RESUME_FROM_CHECKPOINT:+again} $@" | sed "s,$CHECKPOINT_DIR,DIR,"
mkdir -p $CHECKPOINT_DIR/deep; echo $ATTEMPT >> $CHECKPOINT_DIR/deep/lines; cat $CHECKPOINT_DIR/deep/lines
exit 1
"""


def test_attempts_go_on_from_the_checkpoint_and_executions_begin_anew(place: tuple[Bench, dict[str, Any]]) -> None:
    program, tool = place
    first, second = (program(TRAIN, attempt=attempt, tool=tool) for attempt in (1, 2))
    assert (first.resumed_from, program.log(first)) == (None, "1  \n1\n")
    assert program.log(second) == "2 again --resume-from-checkpoint DIR\n1\n2\n"
    assert second.resumed_from is not None
    assert "?" not in second.resumed_from
    third = program(TRAIN, attempt=3, tool=tool | {"resume_flag": None})
    assert program.log(third) == "3 again \n1\n2\n3\n"
    next_one = program(TRAIN, attempt=1, run=2, tool=tool)
    assert (next_one.resumed_from, program.log(next_one).splitlines()[0]) == (None, "1  ")


def test_an_execution_does_not_go_on_from_the_work_of_an_earlier_one(place: tuple[Bench, dict[str, Any]]) -> None:
    program, tool = place
    program(TRAIN, tool=tool)
    silent = "echo ${RESUME_FROM_CHECKPOINT:-anew}; exit 1"
    for attempt in (1, 2):
        found = program(silent, attempt=attempt, run=2, tool=tool)
        assert (program.log(found), found.resumed_from) == ("anew\n", None)
    program("echo x > $CHECKPOINT_DIR/mine; exit 1", attempt=3, run=2, tool=tool)
    assert program(silent, attempt=4, run=2, tool=tool).resumed_from is not None


def test_an_empty_checkpoint_is_none(program: Bench) -> None:
    program("exit 1")
    found = program("echo ${RESUME_FROM_CHECKPOINT:-nothing} $@", attempt=2)
    assert (program.log(found), found.resumed_from) == ("nothing\n", None)


def test_points_of_a_search_have_a_checkpoint_each(program: Bench) -> None:
    program("echo 1 > $CHECKPOINT_DIR/one; exit 1", params={"x": 1})
    found = program("ls $CHECKPOINT_DIR", params={"x": 2}, attempt=2)
    assert (program.log(found), found.resumed_from) == ("", None)
    assert program.log(program("ls $CHECKPOINT_DIR", params={"x": 1}, attempt=3)) == "one\n"


@pytest.mark.parametrize("path", ["/dev/null/x", "/proc/x", "in/the/way", "out/x"])
def test_a_place_that_cannot_be_written_fails_the_attempt_and_is_named(program: Bench, path: str) -> None:
    program.data_dir.mkdir()
    (program.data_dir / "in").write_text("a file")
    (program.data_dir / "out").symlink_to("..")
    found = program("echo started", tool={"checkpoint_path": path})
    assert found.state is TrialState.FAILED
    assert (found.error or "").startswith(f"checkpoint_path '{path}' ")
    assert found.log is None


def test_a_bucket_that_is_not_there_fails_the_attempt_and_hides_credentials(program: Bench, s3: str) -> None:
    path = s3.replace("s3://work/prefix", "s3://key:secret@no-such-bucket/x")
    found = program("echo started", tool={"checkpoint_path": path})
    assert (found.error or "").startswith("checkpoint_path 's3://no-such-bucket/x' cannot be written: ")
    assert "secret" not in (found.error or "")


@pytest.mark.parametrize("path", ["s3://u:secret@own/prefix/experiments?region=eu", "s3://own"])
def test_the_platforms_own_storage_is_no_place_for_a_checkpoint(tmp_path: Path, path: str) -> None:
    program = Bench("s3://own/prefix", tmp_path)
    batch = program.batch(shell("true"), tool={"checkpoint_path": path})
    with (
        pytest.raises(Failed, match=r"^checkpoint_path 's3://own[^?@]*': the platform keeps its own files there"),
        resuming.execution_checkpoint(batch, batch.evaluations[0]),
    ):
        raise AssertionError("it was taken")


def test_files_in_the_bucket_have_their_own_names(program: Bench, remote: str) -> None:
    tool = {"checkpoint_path": remote}
    program("cd $CHECKPOINT_DIR; mkdir a; echo 1 > a/b; echo 1 > gone; exit 1", tool=tool)
    program("cd $CHECKPOINT_DIR; echo 2 > a/b; rm gone; exit 1", attempt=2, tool=tool)
    stored = Storage(remote)
    assert b"".join(stored.read("a/b")) == b"2\n"
    assert b"".join(stored.read("gone")) == b""
    files = json.loads(b"".join(stored.read(mirror.MANIFEST)))["files"]
    assert files == {"a/b": ["a/b", 2]}
    assert listing(remote).keys() == {"a/b", mirror.MANIFEST}, "also no empty objects in the place of directories"


def test_a_lost_node_loses_no_more_than_the_last_minute(
    program: Bench, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PUSH_S", 0.1)
    tool, stored = {"checkpoint_path": remote}, Storage(remote)
    seen: list[bytes] = []

    def watch(_measured: list[Step]) -> Stop | None:
        seen.append(b"".join(stored.read("state")))
        return "cancelled" if b"2\n" in seen else None

    script = "cd $CHECKPOINT_DIR; echo 1 > state; sleep 1; echo 2 > new; mv new state; sleep 60"
    assert program(script, tool=tool, watch=watch).state is TrialState.WAITING
    assert b"2\n" in seen


def test_a_log_that_is_written_all_the_time_holds_up_nothing(
    program: Bench, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PUSH_S", 0.1)
    stored, states = Storage(remote), set()

    def watch(_measured: list[Step]) -> Stop | None:
        try:
            files = json.loads(b"".join(stored.read(mirror.MANIFEST)) or b"{}").get("files", {})
        except ValueError:  # it was replaced by a shorter one while it was read
            return None
        if {"state", "events"} <= files.keys():
            states.add(b"".join(stored.read("state")))
        return "cancelled" if b"2\n" in states else None

    writing = "cd $CHECKPOINT_DIR; (while :; do echo event >> events; sleep 0.002; done) & "
    script = writing + "echo 1 > state; sleep 1; echo 2 > new; mv new state; sleep 20"
    found = program(script, tool={"checkpoint_path": remote}, watch=watch)
    assert found.state is TrialState.WAITING, found.error
    assert b"2\n" in states


class Busy(Storage):
    """A storage with a program that appends to a file whenever something was sent."""

    file: Path

    def upload(self, source: Path, key: str) -> None:
        super().upload(source, key)
        self._append()

    @contextmanager
    def open_output(self, key: str) -> Iterator[IO[bytes]]:
        with super().open_output(key) as stream:
            yield stream
        self._append()

    def _append(self) -> None:
        with self.file.open("a") as stream:
            stream.write("event\n")


def test_what_changes_while_it_is_sent_is_kept_as_it_was_at_one_moment(remote: str, tmp_path: Path) -> None:
    live, storage = tmp_path / "live", Busy(remote)
    live.mkdir()
    storage.file = live / "events"
    (live / "model").write_text("weights")
    (live / "events").write_text("event\n")
    busy = mirror.Mirror(live, storage, "", "run 1")
    sizes = []
    for number in range(3):
        busy.push()
        seen = tmp_path / f"seen {number}"
        mirror.Mirror(seen, Storage(remote), "", "run 1", attempt=1).fetch()
        assert (seen / "model").read_text() == "weights"
        assert set((seen / "events").read_text().splitlines()) == {"event"}
        sizes.append((seen / "events").stat().st_size)
    assert sizes == sorted(set(sizes)), "each push brings what was written since"
    assert listing(remote).keys() == {"model", "events", mirror.MANIFEST}


def test_a_file_that_goes_while_others_are_sent_is_left_out(remote: str, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for name in ("one", "other"):
        (live / name).write_text(name)

    class Renaming(Storage):
        """A storage with a program that renames its files once one of them was sent."""

        def upload(self, source: Path, key: str) -> None:
            super().upload(source, key)
            if (live / "one").exists():
                (live / "one").rename(live / "first")
                (live / "other").rename(live / "second")

    mirror.Mirror(live, Renaming(remote), "", "run 1").push()
    mirror.Mirror(tmp_path / "seen", Storage(remote), "", "run 1").fetch()
    assert {path.name: path.read_text() for path in (tmp_path / "seen").iterdir()} == {
        "first": "one",
        "second": "other",
    }
    assert listing(remote).keys() == {"first", "second", mirror.MANIFEST}


def test_what_an_attempt_left_is_uploaded_also_when_its_runner_is_gone(program: Bench, remote: str) -> None:
    tool = {"checkpoint_path": remote}
    directory = Path(program.artifacts, trial_key(42, 11))

    def watch(_measured: list[Step]) -> Stop | None:
        if (directory / "saved").exists():
            raise RuntimeError("the runner is gone")
        return None

    with pytest.raises(RuntimeError, match="the runner is gone"):
        program("echo 1 > $CHECKPOINT_DIR/state; touch saved; sleep 60", tool=tool, watch=watch)
    assert program.log(program("cat $RESUME_FROM_CHECKPOINT/state", attempt=2, tool=tool)) == "1\n"


def test_what_was_half_uploaded_is_not_gone_on_from(remote: str, tmp_path: Path) -> None:
    stored = Storage(remote)
    directory = tmp_path / "live"
    directory.mkdir()

    class NodeLost(Storage):
        """A storage that is out of reach when the new manifest is written."""

        def write(self, key: str, data: bytes) -> None:
            if b"more" in data:
                raise ConnectionError(key)
            super().write(key, data)

    def mirrored(storage: Storage, place: Path) -> mirror.Mirror:
        place.mkdir(exist_ok=True)
        return mirror.Mirror(place, storage, "", "run 1")

    (directory / "model").write_text("old")
    mirrored(stored, directory).push()
    (directory / "model").write_text("newer")
    (directory / "more").write_text("more")
    late = mirrored(NodeLost(remote), tmp_path / "late")
    late.fetch()
    late.directory = directory
    with pytest.raises(ConnectionError):
        late.push()
    mirrored(stored, tmp_path / "next").fetch()
    assert {path.name: path.read_text() for path in (tmp_path / "next").iterdir()} == {"model": "old"}


def test_an_attempt_that_was_given_up_uploads_nothing_any_more(remote: str, tmp_path: Path) -> None:
    first, second = (
        mirror.Mirror(tmp_path / str(attempt), Storage(remote), "", "run 1", attempt) for attempt in (1, 2)
    )
    for one in (first, second):
        one.directory.mkdir()
    (first.directory / "state").write_text("seen by both")
    first.push()
    second.fetch()
    (first.directory / "state").write_text("late")
    first.push()
    (second.directory / "more").write_text("x")
    second.push()
    last = mirror.Mirror(tmp_path, Storage(remote), "", "run 1", 3)
    last.fetch()
    assert [(tmp_path / name).read_text() for name in ("state", "more")] == ["seen by both", "x"]


# One at a time


def alone(program: Bench, attempt: int, script: str) -> subprocess.Popen[bytes]:
    """An attempt in a worker process of its own."""
    code = (
        "import sys, pickle; from tuners.tools.evaluate import evaluate\n"
        "batch = pickle.load(sys.stdin.buffer); evaluate(batch, batch.evaluations[0], lambda _: None)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    pickle.dump(program.batch(shell(script), attempt, grace_s=30.0), worker.stdin)
    worker.stdin.close()
    return worker


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> bool:
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_attempt_waits_until_nothing_of_the_one_before_is_left(
    program: Bench, request: pytest.FixtureRequest, everywhere: bool
) -> None:
    if everywhere:
        program = Bench(request.getfixturevalue("remote"), program.data_dir)
    program.data_dir.mkdir()
    started = program.data_dir / "started"
    worker = alone(program, 1, f"echo $$ > {started}; trap '' TERM; while :; do sleep 0.1; done")
    assert eventually(lambda: started.exists() and bool(started.read_text())), "the first attempt did not start"
    pid = int(started.read_text())

    def kill_worker() -> None:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    looks: list[float] = []

    def watch(_measured: list[Step]) -> Stop | None:
        looks.append(time.monotonic())
        if len(looks) == 3:
            os.kill(pid, 0)  # still there, as its worker was not told to stop
            threading.Thread(target=kill_worker).start()
        return None

    found = program(f"! kill -0 {pid}", attempt=2, watch=watch)
    assert found.state is TrialState.COMPLETE, found.error
    assert len(looks) >= 3


def test_an_attempt_that_waits_can_be_stopped(program: Bench) -> None:
    program.data_dir.mkdir()
    started = program.data_dir / "started"
    worker = alone(program, 1, f"touch {started}; sleep 60")
    assert eventually(started.exists), "the first attempt did not start"
    found = program("echo started", attempt=2, watch=lambda _measured: "cancelled")
    assert (found.state, found.log) == (TrialState.WAITING, None)
    worker.kill()
    worker.wait()


def test_no_lock_is_left_of_executions_that_ended(
    program: Bench, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    everywhere, directory = Bench(remote, program.data_dir), tmp_path / f"tunesmith-{os.getuid()}"
    directory.mkdir(mode=0o700)
    (directory / "of-a-worker-that-was-killed.lock").touch()
    batch = everywhere.batch(["true"], run=7)
    with resuming.turn(batch, batch.evaluations[0], lambda _measured: None) as held:
        assert everywhere("true").state is TrialState.COMPLETE
        assert [path.name for path in directory.iterdir()] == [Path(held.name).name]
    assert list(directory.iterdir()) == []


def test_one_at_a_time_also_while_the_lock_is_taken_away(
    program: Bench, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(resuming, "TICK_S", 0.0001)
    batch, inside, seen = Bench(remote, program.data_dir).batch(["true"]), threading.Lock(), []

    def attempts() -> None:
        for _ in range(100):
            with resuming.turn(batch, batch.evaluations[0], lambda _measured: None):
                seen.append(inside.acquire(blocking=False))
                time.sleep(0)  # let others try
                inside.release()

    threads = [threading.Thread(target=attempts) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 600
    assert not list(tmp_path.rglob("*.lock"))


# Its log


def test_a_chatty_program_fills_neither_disk_nor_memory(program: Bench) -> None:
    program.max_log_bytes = 2_000_000
    sizes: list[int] = []
    log = Path(program.artifacts, trial_key(42, 11), "log.txt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = program(
        "echo first; yes | head -c 200000000; echo the very last",
        watch=lambda _measured: sizes.append(log.stat().st_size if log.exists() else 0),
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
    assert max(sizes) < 2 * 2_000_000 + 300_000 + (1 << 20)
    text = program.log(found)
    assert text.startswith("first\ny\n")
    assert text.endswith("y\nthe very last\n")
    assert 2_000_000 <= len(text) < 2_300_000
    assert "bytes of output were left out here]\n" in text


def test_an_error_quotes_the_end_of_a_long_log(program: Bench) -> None:
    program.max_log_bytes = 10_000
    found = program("yes | head -c 1000000; echo all is lost; exit 1")
    assert (found.error or "").endswith("y\nall is lost")


def test_who_follows_a_log_over_a_rotation_sees_its_end(program: Bench, sqlite_store: Store) -> None:
    program.max_log_bytes = 10_000
    experiment = new_experiment(sqlite_store)
    job = running_job(sqlite_store, experiment)

    def write(trial: Trial) -> None:
        with sqlite_store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, [trial])

    write(open_trial(job, 0))
    batch = program.batch(shell("for i in $(seq 40); do seq 1000; sleep 0.02; done; sleep 0.5; echo the very last"))
    batch = replace(batch, experiment_id=experiment.id, evaluations=(Evaluation(0, {}, run=1),))

    def work() -> None:
        found = evaluate(batch, batch.evaluations[0], lambda _measured: None)
        write(finished_trial(job, 0, 1.0, log=found.log))

    async def follow() -> bytes:
        counts, identities = RequestCounts(sqlite_store), Identities(sqlite_store)
        around = Alone(sqlite_store)
        here = Context(Settings(), sqlite_store, program.storage, around, counts, Registry({}), identities)
        return b"".join([data async for data in trial_log(here, open_trial(job, 0), follow=True)])

    worker = threading.Thread(target=work)
    worker.start()
    text = anyio.run(follow)
    worker.join()
    assert text.startswith(b"1\n2\n3\n")
    assert text.endswith(b"the very last\n")
    assert len(text) > 12_000  # more than what is kept
