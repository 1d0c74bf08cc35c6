"""The examples of asking and telling run as their headers say, against the service behind a real port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import served
from fastapi import FastAPI

from tunesmith import Client

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ask_and_tell"


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


def started(url: str, *command: str | Path) -> subprocess.Popen[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    env = inherited | {"TUNESMITH_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [str(word) for word in command]
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_two_workers_in_python_share_a_search_and_prune(url: str) -> None:
    shown = [output(worker) for worker in [started(url, "python", EXAMPLES / "worker.py") for _ in range(2)]]
    numbers = [int(number) for text in shown for number in re.findall(r"^trial (\d+)", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(40))
    assert "pruned after" in "".join(shown)
    (loss,) = re.findall(r"^best: loss (\S+) at", max(shown, key=len), re.MULTILINE)
    assert float(loss) < 1


def test_the_loops_of_the_page_run_as_they_are_printed(url: str) -> None:
    page = EXAMPLES.parents[1] / "docs" / "ask_and_tell.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    stubs = "train = lambda lr: lr\ntrain_one_epoch = lambda params: params.lr\n"
    output(started(url, "python", "-c", stubs + "\n".join(blocks)))
    with Client(url) as client:
        counts = client.experiment("resnet").info.trial_counts
    assert counts["complete"] + counts["pruned"] == 200


def test_two_workers_in_bash_share_a_search(url: str) -> None:
    shown = [output(worker) for worker in [started(url, EXAMPLES / "worker.sh") for _ in range(2)]]
    numbers = [int(number) for text in shown for number in re.findall(r"^trial (\d+)", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(12))
    assert "best: loss" in shown[0]


def test_the_bash_worker_says_what_the_service_refuses(url: str) -> None:
    with Client(url) as client:
        output(started(url, EXAMPLES / "worker.sh"))
        client.experiment("parabola").update(archived=True)
    worker = started(url, EXAMPLES / "worker.sh")
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert "answered 409: The experiment is archived" in err


@pytest.mark.slow
def test_a_training_script_is_run_by_the_command_line(url: str) -> None:
    output(started(url, "python", EXAMPLES / "worker.py"))
    with Client(url) as client:
        experiment = client.experiment("descent")
        words = ["--rate", "{rate}", "--momentum", "{momentum}"]
        work = ["tunesmith", "work", "descent", "--optimizer", "random", "--max-trials", "2", "--", "python"]
        assert "2 trials are done: 2 complete" in output(started(url, *work, EXAMPLES / "train.py", *words))
        (last,) = [trial for trial in experiment.trials() if trial.number == 41]
        assert "wall_time_s" in last.metrics
        assert len(experiment.trial(41).measurements) == 20
