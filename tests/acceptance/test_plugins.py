"""A platform with a plugin of the directory that it is started in: its code runs on the cluster's workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from running import until

from tunesmith.client import read_run_file
from tunesmith.scenarios import DataSource

TUNESMITH = (sys.executable, "-m", "tunesmith.cli")
SHOP = """
from tunesmith.scenarios import Algorithm, Integer, Kpi, Plugin

class Pack(Algorithm):
    boxes = Integer(default=2, min=1, max=9)

    def run(self, data, progress):
        import beside
        return {"boxes": self.boxes * beside.TWO, "tables": data.list_tables()}

class Boxes(Kpi):
    better_when = "LOWER"

    def compute(self, result, data):
        return result["boxes"]

plugin = Plugin(algorithms=[Pack], kpis=[Boxes])
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a plugin, and a module that it needs."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "beside.py").write_text("TWO = 2\n")
    return tmp_path


def up(home: Path, *plugins: str) -> subprocess.CompletedProcess[str]:
    """`tunesmith up -d` there."""
    options = [word for plugin in plugins for word in ("--plugin", plugin)]
    command = [*TUNESMITH, "up", "-d", "--port", "0", "--num-cpus", "2", *options]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=170)


@pytest.mark.slow
def test_a_scenario_of_it_runs(home: Path) -> None:
    started = up(home, "shop:plugin")
    try:
        assert started.returncode == 0, started.stderr
        run_file = read_run_file(home / ".tunesmith" / "run.json")
        assert run_file is not None
        with httpx2.Client(base_url=f"{run_file.url}/api/v1/sessions/main", timeout=60) as client:
            assert client.get("/algorithms").json() == {"algorithms": ["Pack"]}
            source = DataSource("stock", {"t": pd.DataFrame({"x": [1]})})
            assert client.post("/data/from-json", content=source.to_json()).status_code == 201
            body = {"tag": "a", "dataset_key": "stock", "algo_name": "Pack", "algo_params": {"boxes": 3}}
            scenario = client.post("/scenarios", json=body).json()["id"]
            assert client.post(f"/scenarios/{scenario}/run").status_code == 202
            until(lambda: client.get(f"/scenarios/{scenario}/status").json()["status"] in ("complete", "failed"), 60)
            found = client.get(f"/scenarios/{scenario}").json()
            assert found["result"] == {"boxes": 6, "tables": ["t"]}
            assert found["kpis"]["Boxes"]["value"] == 6
    finally:
        subprocess.run([*TUNESMITH, "down"], cwd=home, check=True, capture_output=True)


def test_one_that_cannot_be_loaded_is_refused_before_anything_starts(home: Path) -> None:
    ended = subprocess.run(
        [*TUNESMITH, "up", "--port", "0", "--plugin", "shop:plugins"],
        cwd=home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "plugin shop:plugins: there is no 'plugins' in it (did you mean 'plugin'?)" in ended.stderr
    assert not (home / ".tunesmith" / "tunesmith.db").exists()
