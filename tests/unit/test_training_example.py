"""The example of a training job, run directly: it resumes, saves when it is told to stop, and its file is valid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.cli.training_files import read_entries
from tunesmith.schemas.training_jobs import TrainingRequest

HERE = Path(__file__).resolve().parents[2] / "examples" / "training"


def start(directory: Path, *args: str, script: str = "train.py") -> subprocess.Popen[str]:
    variables = {"CHECKPOINT_DIR": str(directory), "TUNESMITH_METRICS": str(directory / "metrics.jsonl")}
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *args],
        env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(directory: Path, *args: str, script: str = "train.py") -> tuple[int, str, str]:
    process = start(directory, *args, script=script)
    out, error = process.communicate(timeout=30)
    return process.returncode, out, error


def epochs(out: str) -> list[int]:
    return [int(line.split()[1]) for line in out.splitlines() if line.startswith("epoch ")]


@pytest.fixture
def whole(tmp_path: Path) -> str:
    """The last line of a training that nothing interrupts."""
    code, out, _ = run(tmp_path / "whole", "--epochs", "6")
    assert (code, epochs(out)) == (0, [1, 2, 3, 4, 5, 6])
    return out.splitlines()[-1]


def test_a_failed_training_goes_on_from_its_checkpoint_to_the_same_end(tmp_path: Path, whole: str) -> None:
    code, out, error = run(tmp_path, "--epochs", "6", "--fail-at", "4")
    assert (code, epochs(out)) == (1, [1, 2, 3, 4])
    assert "failing after epoch 4" in error
    retried = ("--epochs", "6", "--fail-at", "4", "--resume-from-checkpoint", str(tmp_path))
    code, out, _ = run(tmp_path, *retried)
    assert (code, epochs(out), out.splitlines()[0]) == (0, [5, 6], "resumed after epoch 4")
    assert out.splitlines()[-1] == whole
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] < 5


def test_term_is_answered_by_saving(tmp_path: Path) -> None:
    process = start(tmp_path, "--epochs", "1000", "--seconds", "30")
    while not os.path.exists(f"/proc/{process.pid}/status") or not handles_term(process.pid):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=10)
    assert (process.returncode, epochs(out)) == (1, [1])
    assert "saved after epoch 1" in error
    assert json.loads((tmp_path / "state.json").read_text())["epoch"] == 1


def handles_term(pid: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def test_the_evaluation_fails_without_a_checkpoint_and_above_its_limit(tmp_path: Path) -> None:
    assert "no checkpoint" in run(tmp_path, "1", script="evaluate.py")[2]
    run(tmp_path, "--epochs", "20")
    code, out, _ = run(tmp_path, "0.001", script="evaluate.py")
    assert (code, out.startswith("after epoch 20: loss ")) == (0, True)
    assert run(tmp_path, "1e-12", script="evaluate.py")[0] == 1


def test_the_file_holds_training_jobs_whose_scripts_are_there() -> None:
    jobs = [TrainingRequest.model_validate(job.fields) for job in read_entries(str(HERE / "jobs.yaml"))]
    assert [(job.name, job.depends_on) for job in jobs] == [
        ("nightly-training", ()),
        ("nightly-evaluation", ("nightly-training",)),
    ]
    assert all((HERE / Path(job.command[1]).name).exists() for job in jobs)
