"""`ApiLauncher`: the document's quick start and polling script as they are printed, and what people do after them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from launched import Launched, free_port, launched, until

from tunesmith.scenarios import DataSource

PRINTED = "http://127.0.0.1:8051"
QUICK_START = """
from tunesmith.scenarios import ApiConfiguration, ApiLauncher
from tunesmith.scenarios import DataSource

cfg = ApiConfiguration(
    etl_factory=MyETLFactory,
    kpis=kpis,
    algorithms=algorithms,
    schemas=schemas,
    data_object_type=DataSource,
    has_persistent_state=True,
    data_path="data",
    autocreate=False,
    autorun=False,
)
app = ApiLauncher.build(cfg)  # returns a standard FastAPI app
ApiLauncher.run(app)          # blocks; uses cfg.host / cfg.port
"""
EXAMPLE = """
from tunesmith.scenarios import ApiLauncher
from tunesmith.scenarios.example import build_example_config

ApiLauncher.run(ApiLauncher.build(build_example_config()))
"""
POLLING = """
import time
import httpx

base = "http://127.0.0.1:8051/api/v1"
session = httpx.get(f"{base}/sessions").json()["default"]

scenario = httpx.post(
    f"{base}/sessions/{session}/scenarios",
    json={
        "tag": "my-run",
        "dataset_key": "Master data",
        "algo_name": "Slow",
        "algo_params": {"duration": 5},
    },
).json()

httpx.post(f"{base}/sessions/{session}/scenarios/{scenario['id']}/run")

while True:
    status = httpx.get(
        f"{base}/sessions/{session}/scenarios/{scenario['id']}/status"
    ).json()
    if status["status"] in ("complete", "failed"):
        break
    time.sleep(0.5)

print(httpx.get(f"{base}/sessions/{session}/scenarios/{scenario['id']}").json())
"""
# What a user of the document has already: one algorithm in the script, another one in a module beside it.
DEFINITIONS = """
from beside import FACTOR, Count
from tunesmith.scenarios import Algorithm, Column, EtlFactory, Integer, Kpi, Schema
import time

class Slow(Algorithm):
    duration = Integer(default=1, min=1, max=60)

    def run(self, data, progress):
        for step in range(self.duration * 20):
            time.sleep(0.05)
            progress(5 * step / self.duration)
        return {"rows": sum(len(data.table(name)) for name in data.list_tables()) * FACTOR}

class Rows(Kpi):
    better_when = "AT_LEAST"
    threshold = 0

    def compute(self, result, data):
        return result["rows"]

class MyETLFactory(EtlFactory):
    pass

kpis, algorithms, schemas = [Rows], [Slow, Count], []
"""
BESIDE = """
from tunesmith.scenarios import Algorithm

print("imported")
FACTOR = 1

class Count(Algorithm):
    def run(self, data, progress):
        return {"rows": FACTOR * 7}
"""
ON_PORT = re.compile(r"\n\)")


def on(port: int, script: str) -> str:
    """A script with another port."""
    if "ApiConfiguration(\n" in script:
        return script.replace("\n)\n", f"\n    port={port},\n)\n", 1)
    return script.replace(PRINTED, f"http://127.0.0.1:{port}").replace(
        "build_example_config()", f"replace(build_example_config(), port={port})"
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The quick start as a script, with its definitions, on a free port."""
    (tmp_path / "beside.py").write_text(BESIDE)
    path = tmp_path / "service.py"
    path.write_text(DEFINITIONS + on(free_port(), QUICK_START))
    return path


def port_of(script: Path) -> int:
    return int(re.findall(r"port=(\d+)", script.read_text())[0])


def master_data() -> DataSource:
    return DataSource("Master data", {"orders": pd.DataFrame({"pallets": [3, 1, 4]})})


def polled(application: Launched) -> str:
    """What the polling script prints."""
    code = POLLING.replace(PRINTED, application.url)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class TestQuickStart:
    def test_it_runs_and_the_polling_script_prints_the_finished_scenario(self, script: Path) -> None:
        with launched([str(script)], script.parent, port_of(script)) as application:
            application.upload(master_data())
            shown = polled(application)
            assert "'status': 'complete'" in shown
            assert "'result': {'rows': 3}" in shown
            assert "'value': 3.0, 'threshold': 0.0, 'success': True" in shown.replace("'unit': None, ", "")

    @pytest.mark.slow
    def test_code_of_a_module_beside_the_script_runs_and_is_imported_once(self, script: Path) -> None:
        with launched([str(script)], script.parent, port_of(script)) as application:
            application.upload(master_data())
            assert application.ended(application.scenario("a", "Count", dataset="Master data"))["result"] == {"rows": 7}
        assert (script.parent / "application.log").read_text().count("imported") == 1

    @pytest.mark.slow
    def test_after_a_kill_what_ran_and_what_waited_goes_on(self, script: Path) -> None:
        with launched([str(script)], script.parent, port_of(script)) as application:
            application.upload(master_data())
            first = application.scenario("first", "Slow", dataset="Master data", duration=2)
            second = application.scenario("second", "Count", dataset="Master data")
            third = application.scenario("third", "Count", dataset="Master data", run=False)
            until(lambda: application.status(first) == "processing")
            assert application.status(second) == "queued"
            children = processes_of(application.process.pid)
            application.kill()
            until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        with launched([str(script)], script.parent, port_of(script)) as application:
            assert application.ended(first)["result"] == {"rows": 3}
            assert application.ended(second)["result"] == {"rows": 7}
            assert application.status(third) == "created"
            assert application.stop() == 0


class TestExample:
    def test_it_runs_as_it_is_printed(self, tmp_path: Path) -> None:
        port = free_port()
        script = "from dataclasses import replace\n" + on(port, EXAMPLE)
        with launched(["-c", script], tmp_path, port) as application:
            health = httpx2.get(f"{application.url}/health").json()
            assert (health["status"], [session["display_name"] for session in health["sessions"]]) == ("ok", ["main"])
            assert health["title"]
            assert application.get("/main/data") == {"keys": ["example_data"]}
            assert application.get("/main/algorithms") == {"algorithms": ["Instant", "Slow"]}
            application.upload(master_data())
            assert "'status': 'complete'" in polled(application)

    @pytest.mark.slow
    def test_a_servers_own_process_manager_can_start_it(self, tmp_path: Path) -> None:
        port = free_port()
        (tmp_path / "service.py").write_text(
            "from tunesmith.scenarios import ApiLauncher\n"
            "from tunesmith.scenarios.example import build_example_config\n"
            "app = ApiLauncher.build(build_example_config())\n"
        )
        words = ["-m", "uvicorn", "service:app", "--workers", "1", "--port", str(port)]
        with launched(words, tmp_path, port) as application:
            assert application.ended(application.scenario("now", "Instant"))["status"] == "complete"
            assert application.stop() == 0


def processes_of(pid: int) -> set[int]:
    """The ids of all processes below one."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | processes_of(child)
    return found
