"""Checkpoints: where a trial goes on from, and what is kept of it, in a directory and in S3, whole or not at all."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from s3 import bucket, listing

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.pbt import Population, PopulationOptions, Segment
from tuners.tools.checkpoints import checkpoint_dir, checkpoint_key, steps
from tuners.tools.evaluate import evaluate
from tuners.tools.running import trial_directory
from tunesmith.domain import CommandTool, Experiment, FunctionTool, Trial, TrialState
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage
from tunesmith.testing.factories import EPOCH, spec

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket on a local S3 service."""
    with bucket("artifacts/some/prefix") as url:
        yield url


@pytest.fixture(params=["directory", "s3"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of a fresh storage, of each kind in turn."""
    if request.param == "directory":
        return str(tmp_path / "artifacts")
    url: str = request.getfixturevalue("s3")
    return url.replace("prefix", tmp_path.name)


# The functions under test; they are imported by name from this very module.


def training(x: float, n: int) -> float:
    """Adds a line to its checkpoint, and counts them."""
    path = checkpoint_dir() / "deep" / "lines"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as stream:
        stream.write(f"{n}\n")
    if n == 9:
        raise ValueError("after it was written")
    return float(len(path.read_text().splitlines()))


def stateless(x: float, n: int) -> float:
    return x


def asking(x: float, n: int) -> float:
    return float(len(list(checkpoint_dir().iterdir())))


def counting(x: float, n: int) -> dict[str, float]:
    return {"loss": steps(3).start, "steps": len(steps(3))}


TRAINING = """
mkdir -p $TUNESMITH_CHECKPOINT/deep
echo ${n} >> $TUNESMITH_CHECKPOINT/deep/lines
echo "{\\"loss\\": $(wc -l < $TUNESMITH_CHECKPOINT/deep/lines)}" >> $TUNESMITH_METRICS
[ ${n} != 9 ]
"""


@dataclass(frozen=True)
class Piece(Evaluation):
    """An evaluation whose search says which steps to train."""

    step: int = 0
    steps: int | None = None


class Bench:
    """Evaluates trials of one experiment."""

    def __init__(self, artifacts: str, tool: str) -> None:
        self.artifacts, self.tool = artifacts, tool
        self.storage = Storage(artifacts)
        sys.modules["checkpoint_functions"] = sys.modules[__name__]

    def __call__(
        self,
        number: int,
        source: int | None = None,
        n: int = 1,
        what: str = "",
        watch: Watch | None = None,
        attempt: int = 1,
        span: range | None = None,
        **more: Any,
    ) -> Outcome:
        tool: Any = CommandTool(command=what or TRAINING)
        if self.tool == "function":
            tool = FunctionTool(entrypoint=f"checkpoint_functions:{what or 'training'}")
        checkpoint = None if source is None else checkpoint_key(42, source)
        evaluation = Evaluation(number, {"x": 0.5, "n": n}, attempt, checkpoint)
        if span is not None:
            evaluation = Piece(number, {"x": 0.5, "n": n}, attempt, checkpoint, span.start, len(span))
        batch = Batch("job-1", 42, spec(tool=tool, **more), (evaluation,), self.artifacts, 1.0)
        return evaluate(batch, evaluation, watch or (lambda _measured: None))

    def kept(self, number: int, name: str = "deep/lines") -> str:
        return b"".join(self.storage.read(f"{checkpoint_key(42, number)}/{name}")).decode()


@pytest.fixture(params=["command", "function"])
def trial(request: pytest.FixtureRequest, artifacts: str) -> Bench:
    """A tool of each kind, on a storage of each kind."""
    return Bench(artifacts, request.param)


@pytest.fixture(params=["command", "function"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A tool of each kind, on a directory."""
    return Bench(str(tmp_path / "artifacts"), request.param)


def test_what_a_trial_wrote_is_kept_and_another_goes_on_from_it(trial: Bench) -> None:
    assert trial(1).metrics["loss"] == 1
    assert trial.kept(1) == "1\n"
    found = trial(2, source=1, n=2)
    assert (found.state, found.metrics["loss"]) == (TrialState.COMPLETE, 2)
    assert (trial.kept(1), trial.kept(2)) == ("1\n", "1\n2\n")
    assert trial(3, source=2, n=3).metrics["loss"] == 3


def test_a_failed_trial_s_checkpoint_is_kept_too(trial: Bench) -> None:
    assert trial(1, n=9).state is TrialState.FAILED
    assert trial.kept(1) == "9\n"


def test_a_later_attempt_goes_on_from_what_an_earlier_one_kept(trial: Bench) -> None:
    trial(1)
    assert trial(1, attempt=2, n=2).metrics["loss"] == 2
    assert trial.kept(1) == "1\n2\n"


def test_a_checkpoint_that_is_not_there_fails_the_trial_and_says_what_to_do(trial: Bench) -> None:
    found = trial(2, source=1)
    assert found.state is TrialState.FAILED
    assert "there is no checkpoint experiments/42/trials/0000/1/checkpoint to go on from" in str(found.error)
    assert "TUNESMITH_CHECKPOINT" in str(found.error)
    assert "tuners.checkpoint_dir()" in str(found.error)


def test_without_a_manifest_files_in_s3_are_no_checkpoint(s3: str) -> None:
    trial = Bench(s3.replace("prefix", "halves"), "command")
    trial(1)
    trial.storage.write(f"{checkpoint_key(42, 1)}.json", b"")
    assert "there is no checkpoint" in str(trial(2, source=1).error)
    trial.storage.write(f"{checkpoint_key(42, 1)}.json", b'{"deep/lines": 200}')
    assert "is not whole: deep/lines has 2 of 200 bytes" in str(trial(3, source=1).error)


def test_what_is_removed_from_s3_leaves_nothing_in_its_place(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    url = s3.replace("prefix", "removed").replace("s3://", "s3://a%2Fkey:a%2Bsecret@")  # the URL has its own
    storage = Storage(url)
    for key in ("a/b/c", "a/d"):
        storage.write(key, b"x")
    for key in ("a/b/c", "a/b/c", "nothing"):
        storage.remove(key)
    storage.check()
    assert listing(s3.replace("prefix", "removed")) == {"a/d": 1}
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        Storage(url.replace("artifacts", "no-such-bucket")).remove("a/d")


# Nothing for nothing


def files(bench: Bench) -> list[str]:
    assert bench.storage.local is not None
    return sorted(str(path.relative_to(bench.storage.local)) for path in bench.storage.local.rglob("*"))


def test_a_trial_that_writes_no_checkpoint_keeps_none(local: Bench) -> None:
    what = "stateless" if local.tool == "function" else "echo '{\"loss\": 1}' >> $TUNESMITH_METRICS"
    for number in range(3):
        assert local(number, what=what).state is TrialState.COMPLETE
    assert not any(name.endswith("/checkpoint") for name in files(local))
    if local.tool == "function":
        assert files(local) == []


def test_an_empty_directory_is_no_checkpoint(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "function")
    assert local(1, what="asking").metrics["loss"] == 0
    assert not any(name.endswith("/checkpoint") for name in files(local))


def test_every_trial_begins_with_an_empty_directory(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "command")
    count = 'echo "{\\"loss\\": $(ls -A $TUNESMITH_CHECKPOINT | wc -l)}" >> $TUNESMITH_METRICS; '
    for number, rest in enumerate(["", "touch $TUNESMITH_CHECKPOINT/a", "", "rm -r $TUNESMITH_CHECKPOINT", ""]):
        assert local(number, what=count + rest).metrics["loss"] == 0, number
    assert (tmp_path / checkpoint_key(42, 1) / "a").exists()


# Whole or not at all


def test_nothing_is_visible_while_the_tool_writes(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "command")
    kept = tmp_path / checkpoint_key(42, 1)
    seen = []

    def watch(_measured: Any) -> None:
        seen.append(kept.exists())

    local(1, what=TRAINING + "sleep 0.7", watch=watch)
    assert True not in seen[:-1]
    assert len(seen) > 1
    assert kept.is_dir()


def test_what_a_killed_worker_left_is_not_gone_on_from(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "command")
    local(1)
    half = tmp_path / checkpoint_key(42, 1).replace("checkpoint", ".checkpoint")
    (half / "deep").mkdir(parents=True)
    (half / "deep" / "lines").write_text("half\n" * 7)
    assert local(1, attempt=2).metrics["loss"] == 2


def test_a_checkpoint_that_cannot_be_kept_fails_the_trial(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "command")
    found = local(1, what=TRAINING + "mkdir checkpoint; touch .checkpoint.old")
    assert found.state is TrialState.FAILED
    assert str(found.error).startswith("the checkpoint could not be kept: ")
    assert found.metrics["loss"] == 1


@pytest.mark.parametrize(("reason", "state"), [("pruned", TrialState.PRUNED), ("cancelled", TrialState.WAITING)])
def test_a_trial_that_is_ended_keeps_its_checkpoint(tmp_path: Path, reason: Stop, state: TrialState) -> None:
    local = Bench(str(tmp_path), "command")
    found = local(1, what=TRAINING + "sleep 60", watch=lambda measured: reason if local_lines(tmp_path) else None)
    assert found.state is state
    assert local.kept(1) == "1\n"
    assert local(1, n=2).metrics["loss"] == 2  # an interrupted trial goes on, though nothing of it failed


def local_lines(root: Path) -> bool:
    path = root / checkpoint_key(42, 1).replace("checkpoint", ".checkpoint") / "deep" / "lines"
    return path.exists() and path.stat().st_size > 0


# Repeats and steps


def test_each_repeat_begins_with_the_same_checkpoint_and_the_last_one_s_is_kept(local: Bench) -> None:
    local(1)
    found = local(2, source=1, n=2, repeats=3)
    assert (found.metrics["loss"], found.metrics["loss_stderr"]) == (2, 0)
    assert local.kept(2) == "1\n2\n"


@pytest.mark.parametrize(("span", "expected"), [(None, (0, 3)), (range(20, 30), (20, 10))])
def test_the_steps_are_the_first_ones_unless_the_search_says_them(
    local: Bench, span: range | None, expected: tuple[int, int]
) -> None:
    what = "counting"
    if local.tool == "command":
        numbers = '\\"loss\\": ${TUNESMITH_STEP:-0}, \\"steps\\": ${TUNESMITH_STEPS:-3}'
        what = f'echo "{{{numbers}}}" >> $TUNESMITH_METRICS'
    found = local(1, what=what, span=span)
    assert (found.metrics["loss"], found.metrics["steps"]) == expected


def test_a_segment_is_not_trained_twice_by_a_second_attempt(local: Bench) -> None:
    local(1)
    first, again = (local(2, source=1, n=2, span=range(1, 2), attempt=attempt) for attempt in (1, 2))
    assert (first.metrics["loss"], again.metrics["loss"]) == (2, 2)
    assert local(1, n=5, span=range(1), attempt=2).metrics["loss"] == 1


def test_there_is_no_directory_outside_of_a_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no trial is running"):
        checkpoint_dir()
    assert list(steps(2)) == [0, 1]
    monkeypatch.setenv("TUNESMITH_CHECKPOINT", str(tmp_path))  # a command that is written in Python
    monkeypatch.setenv("TUNESMITH_STEP", "20")
    monkeypatch.setenv("TUNESMITH_STEPS", "2")
    assert checkpoint_dir() == tmp_path
    assert list(steps()) == [20, 21]


def test_trials_in_two_threads_have_two_directories(tmp_path: Path) -> None:
    local = Bench(str(tmp_path), "function")
    threads = [threading.Thread(target=local, args=(number,), kwargs={"n": number}) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [local.kept(number) for number in (1, 2)] == ["1\n", "2\n"]


# A population


def test_a_population_s_copies_go_on_from_the_checkpoints_of_the_best(trial: Bench) -> None:
    """Each line of a checkpoint is the trial that wrote it, so that a checkpoint tells its ancestry."""
    space = spec().space
    experiment = Experiment(
        id=42, workspace_id="w", spec=spec(objectives=("-loss",)), name="t", tags=(), archived=False,
        created_at=EPOCH, counts={},
    )  # fmt: skip
    members = Population(experiment, PopulationOptions(population_size=3, quantile_fraction=0.34), seed=3)
    parents: dict[int, int | None] = {}
    for number in range(1, 9):
        segment = members.ask(number, number - 1)
        assert isinstance(segment, Segment)
        assert not space.problems(segment.params)
        parents[number] = segment.checkpoint_of
        found = trial(number, source=segment.checkpoint_of, n=100 + number)
        assert found.state is TrialState.COMPLETE, found.error
        lineage = [line for line in trial.kept(number).split() if line]
        assert lineage == [str(100 + ancestor) for ancestor in ancestry(parents, number)]
        complete = Trial(
            experiment_id=42,
            number=number,
            job_id="job-1",
            run_number=1,
            state=TrialState.COMPLETE,
            params=segment.params,
            values=(float(number % 3),),
            system_attrs=segment.attrs,
        )
        members.tell(complete)
    assert any(parent is not None and parent % 3 != number % 3 for number, parent in parents.items())


def ancestry(parents: dict[int, int | None], number: int | None) -> list[int]:
    return [] if number is None else [*ancestry(parents, parents[number]), number]


def test_nothing_temporary_is_left_of_s3_checkpoints(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for tool in ("command", "function"):
        Bench(s3.replace("prefix", "temporary"), tool)(1, attempt=2)
    assert os.listdir(tmp_path) == []


def test_an_attempt_leaves_the_spare_directory_of_another_worker_where_it_is(tmp_path: Path) -> None:
    """The other one may take it away at any moment, also while this one looks at what an earlier attempt left."""
    place = tmp_path / "trial"
    for name in (".checkpoint.5f0c", ".checkpoint", "checkpoint"):
        (place / name).mkdir(parents=True)
    (place / "log.txt").touch()
    with trial_directory(Storage(str(tmp_path)), "trial") as directory:
        assert {path.name for path in directory.iterdir()} == {".checkpoint.5f0c", "checkpoint"}
