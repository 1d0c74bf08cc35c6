"""What others made for Optuna works on our storage: its plots, its command, its dashboard."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import visualization

from tunesmith.domain import Measurement, space_of
from tunesmith.optuna import Storage
from tunesmith.store import open_store
from tunesmith.testing import finished_trial, new_experiment, running_job

PLOTS: list[Callable[[optuna.Study], Any]] = [
    visualization.plot_contour,
    visualization.plot_edf,
    visualization.plot_intermediate_values,
    visualization.plot_optimization_history,
    visualization.plot_parallel_coordinate,
    visualization.plot_param_importances,
    visualization.plot_rank,
    visualization.plot_slice,
    visualization.plot_timeline,
]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "optuna.md"
DASHBOARD = """
import sys
from optuna_dashboard import run_server
from tunesmith.optuna import Storage
run_server(Storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture
def study(sqlite_url: str) -> Iterator[optuna.Study]:
    """An experiment that a job of the platform searched."""
    store = open_store(sqlite_url)
    space = space_of(
        [
            {"name": "x", "minimum": 0, "maximum": 1},
            {"name": "n", "type": "int", "minimum": 1, "maximum": 10},
            {"name": "kind", "type": "categorical", "choices": ["a", "b", None]},
        ]
    )
    experiment = new_experiment(store, tool_name="net", space=space)
    job = running_job(store, experiment)
    points = [{"x": n / 30, "n": 1 + n % 10, "kind": ["a", "b", None][n % 3]} for n in range(30)]
    found = [finished_trial(job, n, points[n]["x"] + n % 3, params=points[n]) for n in range(30)]
    curve = [Measurement(experiment_id=experiment.id, number=n, metric="loss", step=1, value=n) for n in range(30)]
    with store.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, found, curve)
    store.close()
    storage = Storage(sqlite_url)
    yield optuna.load_study(study_name="net", storage=storage)
    storage.close()


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.__name__)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_plot_of_an_experiment_shows_its_trials(study: optuna.Study, plot: Callable[[optuna.Study], Any]) -> None:
    figure = plot(study)
    assert figure.data
    assert "x" in figure.to_json()


def test_the_script_of_the_page_runs_as_it_is_printed(tmp_path: Path) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("{'x':")
    assert (tmp_path / "studies.db").exists()


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.optuna", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_optunas_command_works_on_the_storage(study: optuna.Study, sqlite_url: str) -> None:
    assert command("create-study", "--study-name", "made", "--storage", sqlite_url).strip() == "made"
    listed = json.loads(command("studies", "--storage", sqlite_url, "-f", "json"))
    assert [(one["name"], one["n_trials"]) for one in listed] == [("net#1", 30), ("made", 0)]
    best = json.loads(command("best-trial", "--study-name", "net", "--storage", sqlite_url, "-f", "json"))
    assert (best["number"], best["params"]["kind"]) == (0, "a")
    asked = json.loads(
        command(
            *("ask", "--study-name", "made", "--storage", sqlite_url, "-f", "json", "--search-space"),
            '{"x": {"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0}}}',
        )
    )
    command("tell", "--study-name", "made", "--storage", sqlite_url, "--trial-number", "0", "--values", "0.5")
    made = optuna.load_study(study_name="made", storage=study._storage)
    assert made.best_trial.params == asked["params"]
    assert "up to date" in command("storage", "upgrade", "--storage", sqlite_url)


def test_optunas_command_says_what_is_wrong_with_a_url() -> None:
    run = [sys.executable, "-m", "tunesmith.optuna", "studies", "--storage", "study.db"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "sqlite:///study.db" in done.stderr


def test_the_dashboard_answers_from_the_storage(study: optuna.Study, sqlite_url: str) -> None:
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", DASHBOARD, sqlite_url, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        listed = answer(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        detail = answer(f"http://127.0.0.1:{port}/api/studies/{study._study_id}?after=0")
    finally:
        server.terminate()
        server.wait(30)
    assert [(one["study_name"], one["study_id"]) for one in listed] == [("net#1", study._study_id)]
    assert len(detail["trials"]) == 30
    assert {item["name"] for item in detail["union_search_space"]} == {"x", "n", "kind"}


def answer(url: str) -> Any:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)
        except (ConnectionError, urllib.error.URLError):  # it has not begun to listen
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
