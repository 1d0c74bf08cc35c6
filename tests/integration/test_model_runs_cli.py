"""`tunesmith runs ...` against the service: what it prints, what it writes, and the exit code it ends with."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.conftest import served
from tunesmith.cli.app import app
from tunesmith.settings import Settings
from tunesmith.store import Store


@pytest.fixture(autouse=True)
def here(settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """A platform that computes runs once it is started."""
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    engine = Embedded(sqlite_store, settings)
    with served(build(settings, engine, sqlite_store)) as url:
        monkeypatch.setenv("TUNESMITH_URL", url)
        yield engine


@pytest.fixture
def working(here: Embedded) -> Iterator[None]:
    here.start(alone=True)
    yield
    here.stop()


def run(*args: str, code: int = 0, stdin: str | None = None) -> Result:
    shown = CliRunner().invoke(app, ["runs", *args], input=stdin)
    assert shown.exit_code == code, shown.output
    return shown


def document(*args: str, stdin: str | None = None) -> Any:
    return json.loads(run(args[0], "--json", *args[1:], stdin=stdin).stdout)


def test_models_are_listed_with_their_choices() -> None:
    shown = run("models").stdout
    assert "Monte Carlo Simulator" in shown
    assert "trials: 100, 1000, 10000" in shown
    assert [model["id"] for model in document("models")] == ["linear_reg", "xgb_forecast", "simulator"]


@pytest.mark.usefixtures("working")
def test_a_run_from_submit_to_its_files(tmp_path: Path) -> None:
    done = document("submit", "linear_reg", "-i", "region=NA", "-i", "alpha=10.0", "--wait")
    assert (done["status"], done["progress"], done["inputs"]["alpha"]) == ("succeeded", 100, 10.0)
    run_id = done["run_id"]
    found = document("results", run_id)
    assert len(found["rows"]) == found["summary"]["rows"] == 20
    shown = run("results", run_id).stdout
    assert "avg_value" in shown
    assert "revenue" in shown
    run("results", run_id, "-o", str(tmp_path / "rows.csv"))
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [float(row["value"]) for row in rows] == [row["value"] for row in found["rows"]]
    assert document("results", run_id, "-o", str(tmp_path / "rows.parquet"))["run_id"] == run_id
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == found["rows"]
    assert run("results", run_id, "--format", "csv").stdout == (tmp_path / "rows.csv").read_text()
    assert sorted(path.name for path in tmp_path.glob("rows*")) == ["rows.csv", "rows.parquet"]
    assert "succeeded, 100 %" in run("show", run_id).stdout
    assert document("watch", run_id)["status"] == "succeeded"


def test_inputs_come_from_a_file_and_options_go_before_them() -> None:
    made = document("submit", "simulator", "--file", "-", "-i", "seed=4", stdin="{region: EU, seed: 3}")
    assert made["inputs"].items() >= {"region": "EU", "seed": 4}.items()
    assert (made["status"], made["progress"]) == ("queued", 0)


def test_lists_and_cancelling() -> None:
    first, second = (document("submit", model, "-i", "region=EU")["run_id"] for model in ("linear_reg", "simulator"))
    assert [one["run_id"] for one in document("list")] == [second, first]
    assert [one["run_id"] for one in document("list", "--model", "linear_reg", "--mine")] == [first]
    assert document("cancel", first)["status"] == "failed"
    assert [one["run_id"] for one in document("list", "--status", "failed")] == [first]
    assert "linear_reg" in run("list").stdout
    assert "the run" in run("watch", first, code=1).stderr
    assert "nothing to cancel" in run("cancel", first, code=5).stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("submit", "linear_regg"), 4, "linear_reg"),
        (("submit", "linear_reg", "-i", "regoin=NA"), 2, "region"),
        (("submit", "linear_reg", "-i", "region"), 2, "NAME=VALUE"),
        (("submit", "linear_reg", "--file", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("show", "uuid-1234"), 4, "uuid-1234"),
        (("results", "uuid-1234", "-o", "rows.txt"), 2, ".csv or .parquet"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(args: tuple[str, ...], code: int, words: str) -> None:
    assert words in run(*args, code=code).stderr


def test_results_wait_for_the_end() -> None:
    run_id = document("submit", "linear_reg", "-i", "region=EU")["run_id"]
    assert "queued" in run("results", run_id, code=5).stderr
