"""The scripts of examples/python_api run as their headers say; the one for a platform is in tests/acceptance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python_api"

pytestmark = pytest.mark.timeout(200)


def run(name: str, directory: Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_finds_a_feasible_best_and_is_done_the_second_time(tmp_path: Path) -> None:
    first = run("quickstart.py", tmp_path)
    seconds, memory = re.findall(r"best: (\S+) s at .*, (\d+) MB", first)[0]
    assert float(seconds) < 3
    assert int(memory) <= 800
    assert run("quickstart.py", tmp_path) == first


@pytest.mark.slow
def test_the_training_loop_is_pruned(tmp_path: Path) -> None:
    text = run("pruned_training.py", tmp_path)
    pruned, trials = re.findall(r"(\d+) of (\d+) trials were ended early", text)[0]
    assert 0 < int(pruned) < int(trials) == 40


@pytest.mark.slow
def test_define_by_run_runs_as_it_is(tmp_path: Path) -> None:
    text = run("define_by_run.py", tmp_path)
    assert "50 complete" in text
    assert "metrics_weights" in text
