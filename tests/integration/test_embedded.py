"""Applications of sessions in this process: what an ApiConfiguration's arguments do, and the engine below."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from launched import until

from serve_app.app import build as build_platform
from serve_app.launching import build, run
from tunesmith.data import DataSource
from tunesmith.domain import JobState
from tunesmith.errors import InvalidSettings
from tunesmith.scenarios import Algorithm, Integer, Kpi, Progress, build_example_config
from tunesmith.scenarios.example import Delay
from tunesmith.settings import Settings
from tunesmith.store import open_store

MAIN = "/api/v1/sessions/main"
"""Where the default session lies."""


class Needy(Algorithm):
    """Cannot do without its parameter."""

    wanted = Integer(min=1)

    def run(self, data: DataSource, progress: Progress) -> int:
        return self.wanted


class Least(Kpi):
    """Wants a delay."""

    name = "Delay"
    better_when = "AT_LEAST"
    unit = "s"
    threshold = 1

    def compute(self, result: Any, data: DataSource) -> float:
        return float(result["delay_s"])


class Most(Kpi):
    """Wants none, and counts otherwise."""

    name = "Delay"
    better_when = "AT_MOST"
    unit = "min"
    threshold = 5

    def compute(self, result: Any, data: DataSource) -> float:
        return float(result["delay_s"]) / 60


class Patience(Delay):
    """The same under another name."""


def made(client: TestClient, tag: str, algorithm: str, **params: Any) -> str:
    """A scenario on the example's data; its id."""
    body = {"tag": tag, "dataset_key": "example_data", "algo_name": algorithm, "algo_params": params}
    answer = client.post(f"{MAIN}/scenarios", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def running(client: TestClient, tag: str, algorithm: str, **params: Any) -> str:
    """The same, asked to run."""
    scenario = made(client, tag, algorithm, **params)
    answer = client.post(f"{MAIN}/scenarios/{scenario}/run")
    assert answer.status_code == 202, answer.text
    return scenario


def status(client: TestClient, scenario: str) -> dict[str, Any]:
    return dict(client.get(f"{MAIN}/scenarios/{scenario}/status").json())


def ended(client: TestClient, scenario: str) -> dict[str, Any]:
    """The scenario, once its run ended."""
    until(lambda: status(client, scenario)["status"] in ("complete", "failed", "cancelled"))
    return dict(client.get(f"{MAIN}/scenarios/{scenario}").json())


class TestApplication:
    def test_it_shows_optimizations_and_makes_no_experiments_of_commands(self) -> None:
        with TestClient(build(build_example_config())) as client:
            body = {"algo_name": "Slow", "dataset_key": "example_data", "objectives": [{"kpi": "Delay"}]}
            space = [{"name": "duration", "type": "int", "minimum": 1, "maximum": 1}]
            answer = client.post(f"{MAIN}/optimize", json={**body, "parameters": space})
            assert answer.status_code == 202, answer.text
            job = answer.json()["job"]["job_id"]
            until(lambda: client.get(f"/api/v1/jobs/{job}").json()["job"]["job_status"] == "finished")
            experiments = client.get("/api/v1/experiments").json()["experiments"]
            assert len(experiments) == 1
            assert client.get(f"/api/v1/experiments/{experiments[0]['id']}/trials").status_code == 200
            assert client.post("/api/v1/experiments", json={"command": "id", "name": "x"}).status_code == 405
            assert client.post(f"/api/v1/experiments/{experiments[0]['id']}/trials", json={}).status_code == 405

    def test_its_paths_begin_with_its_prefix(self) -> None:
        app = build(replace(build_example_config(), prefix="/lab/v2", title="The lab"))
        with TestClient(app) as client:
            assert client.get("/lab/v2/sessions").status_code == 200
            assert client.get("/api/v1/sessions").status_code == 404
            assert client.post("/lab/v2/sessions", json={}).status_code == 422
            assert client.get("/health").json()["title"] == "The lab"
            document = client.get("/openapi.json").json()
            assert document["info"]["title"] == "The lab"
            assert "/lab/v2/sessions/{session_id}/scenarios" in document["paths"]
            assert not [path for path in document["paths"] if path.startswith("/api")]

    def test_pages_of_its_origins_may_call_it_and_no_others(self) -> None:
        with TestClient(build(replace(build_example_config(), cors_origins=["https://lab.example"]))) as client:
            for origin, allowed in (("https://lab.example", "https://lab.example"), ("https://else.example", None)):
                answer = client.get("/health", headers={"Origin": origin})
                assert answer.headers.get("access-control-allow-origin") == allowed

    def test_what_is_no_configuration_is_refused(self) -> None:
        with pytest.raises(InvalidSettings, match="dict is no ApiConfiguration"):
            build({"algorithms": []})  # type: ignore[arg-type]
        with pytest.raises(InvalidSettings, match=r"not made by ApiLauncher\.build"):
            run(build_platform(Settings(database_url="sqlite://")))

    def test_it_reads_without_having_started(self) -> None:
        client = TestClient(build(build_example_config()))
        assert client.get("/health").json()["status"] == "ok"
        assert client.get(f"{MAIN}/data").json() == {"keys": ["example_data"]}

    def test_nothing_is_left_of_what_is_not_kept(self) -> None:
        app = build(build_example_config())
        directory = Path(app.state.context.settings.data_dir)
        with TestClient(app) as client:
            ended(client, running(client, "a", "Instant"))
            assert directory.exists()
        del app, client
        gc.collect()
        assert not directory.exists()


class TestAutocreate:
    def test_each_new_dataset_gets_scenarios_of_what_needs_no_parameter(self) -> None:
        example = build_example_config()
        configuration = replace(example, algorithms=[*example.algorithms, Needy], autocreate=True)  # type: ignore[misc]
        with TestClient(build(configuration)) as client:
            found = client.get(f"{MAIN}/scenarios").json()
            assert [(one["tag"], one["status"]) for one in found] == [
                ("example_data: Instant", "created"),
                ("example_data: Slow", "created"),
            ]
            client.post(f"{MAIN}/data/example_data/derive", json={"new_key": "more"})
            assert len(client.get(f"{MAIN}/scenarios").json()) == 4

    def test_with_autorun_the_default_algorithm_runs_at_once(self) -> None:
        configuration = replace(
            build_example_config(),
            autocreate=True,
            autorun=True,
            default_algo="Slow",
            default_algo_params_values={"duration": 1},
        )
        with TestClient(build(configuration)) as client:
            (scenario,) = client.get(f"{MAIN}/scenarios").json()
            assert ended(client, scenario["id"])["status"] == "complete"
            source = DataSource("more", {"t": pd.DataFrame({"x": [1]})})
            assert client.post(f"{MAIN}/data/from-json", content=source.to_json()).status_code == 201
            other = client.get(f"{MAIN}/scenarios").json()[-1]["id"]
            assert ended(client, other)["algorithm"]["parameters"] == {"duration": 1}
            again = client.post(f"{MAIN}/data/from-json?overwrite=true", content=source.to_json())
            assert again.status_code == 201, again.text
            assert len(client.get(f"{MAIN}/scenarios").json()) == 2


class TestEngine:
    def test_an_instant_scenario_is_complete_at_once_on_a_warm_application(self) -> None:
        with TestClient(build(build_example_config())) as client:
            ended(client, running(client, "warm", "Instant"))
            began = time.monotonic()
            scenario = running(client, "now", "Instant")
            assert ended(client, scenario)["kpis"]["Delay"]["value"] == 0
            assert time.monotonic() - began < 2

    @pytest.mark.slow
    def test_progress_is_seen_and_never_goes_back(self) -> None:
        with TestClient(build(build_example_config())) as client:
            scenario = running(client, "slow", "Slow", duration=2)
            seen = []
            until(lambda: seen.append(status(client, scenario)) or seen[-1]["status"] == "complete")
            percents = [one["progress"] for one in seen]
            assert percents == sorted(percents)
            assert len(set(percents)) > 5
            assert percents[-1] == 100

    @pytest.mark.parametrize("most", [1, 2])
    def test_scenarios_of_a_session_run_one_after_another_unless_it_allows_more(self, most: int) -> None:
        with TestClient(build(replace(build_example_config(), max_parallel=most))) as client:
            first, second = (running(client, tag, "Slow", duration=1) for tag in "ab")
            one, other = ended(client, first), ended(client, second)
            assert client.post("/api/v1/sessions", json={"display_name": "other"}).status_code == 201
            assert client.get("/api/v1/sessions/other").json()["max_parallel"] == most
            assert (other["run_started_at"] < one["run_finished_at"]) is (most == 2)

    def test_a_cancelled_scenario_ends_soon_and_the_next_one_runs(self) -> None:
        with TestClient(build(build_example_config())) as client:
            slow = running(client, "slow", "Slow", duration=60)
            until(lambda: status(client, slow)["status"] == "processing")
            waiting = running(client, "next", "Instant")
            assert client.post(f"{MAIN}/scenarios/{slow}/cancel").status_code == 200
            until(lambda: status(client, slow)["status"] == "failed", 5)
            assert ended(client, waiting)["status"] == "complete"

    def test_an_application_that_stops_gives_its_scenarios_back_and_takes_them_up_again(self, tmp_path: Path) -> None:
        configuration = replace(build_example_config(), has_persistent_state=True, data_path=tmp_path)
        with TestClient(build(configuration)) as client:
            scenario = running(client, "slow", "Slow", duration=3)
            until(lambda: status(client, scenario)["status"] == "processing")
        store = open_store(f"sqlite:///{tmp_path}/tunesmith.db")
        with store.read() as tx:
            (job,) = tx.jobs().items
        store.close()
        assert job.state is JobState.QUEUED
        with TestClient(build(configuration)) as client:
            assert ended(client, scenario)["status"] == "complete"
            assert client.get(f"{MAIN}/data").json() == {"keys": ["example_data"]}

    @pytest.mark.parametrize(
        ("later", "names"),
        [
            ({"kpis": []}, []),
            pytest.param({"kpis": [Patience]}, ["Patience"], marks=pytest.mark.slow),
            pytest.param({"kpis": [Most]}, ["Delay"], marks=pytest.mark.slow),
            pytest.param({"algorithms": [Needy]}, [], marks=pytest.mark.slow),
        ],
    )
    def test_a_scenario_that_ended_keeps_its_kpis_in_the_next_configuration(
        self, tmp_path: Path, later: dict[str, Any], names: list[str]
    ) -> None:
        first = replace(build_example_config(), has_persistent_state=True, data_path=tmp_path, kpis=[Least])
        with TestClient(build(first)) as client:
            done, never_run = running(client, "done", "Instant"), made(client, "never run", "Instant")
            before = ended(client, done)
        delay = {"name": "Delay", "better_when": "AT_LEAST", "unit": "s", "threshold": 1, "value": 0, "success": False}
        assert before["kpis"] == {"Delay": delay}
        with TestClient(build(replace(first, **later))) as client:
            now = client.get(f"{MAIN}/scenarios/{done}").json()
            assert (now["kpis"], now["result"]) == (before["kpis"], before["result"])
            assert client.get(f"{MAIN}/scenarios/{never_run}").json()["kpis"] == dict.fromkeys(names)
            (row,) = client.post(f"{MAIN}/scenarios/compare", json={"ids": [done]}).json()["rows"]
            assert (row["unit"], row["threshold"], row["values"], row["best"]) == ("s", 1, {done: 0}, [done])

    def test_two_applications_on_one_directory_share_the_work(self, tmp_path: Path) -> None:
        configuration = replace(build_example_config(), has_persistent_state=True, data_path=tmp_path)
        with TestClient(build(configuration)) as one, TestClient(build(configuration)) as other:
            scenario = running(one, "slow", "Slow", duration=2)
            assert ended(other, scenario)["status"] == "complete"
            assert ended(one, running(other, "b", "Instant"))["status"] == "complete"

    @pytest.mark.slow
    def test_an_application_can_start_again_in_the_same_process(self) -> None:
        app = build(build_example_config())
        for tag in "ab":
            with TestClient(app) as client:
                assert ended(client, running(client, tag, "Instant"))["status"] == "complete"

    def test_a_database_that_is_away_for_a_while_costs_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        configuration = replace(build_example_config(), has_persistent_state=True, data_path=tmp_path)
        app = build(configuration)
        with TestClient(app) as client, caplog.at_level(logging.CRITICAL):
            scenario = running(client, "slow", "Slow", duration=1)
            until(lambda: status(client, scenario)["status"] == "processing")
            with app.state.context.store.write():  # nobody else can write
                time.sleep(2)
            assert ended(client, scenario)["status"] == "complete"

    def test_ray_is_not_imported(self) -> None:
        program = """
import sys
from fastapi.testclient import TestClient
from tunesmith.scenarios import ApiLauncher, build_example_config
with TestClient(ApiLauncher.build(build_example_config())) as client:
    assert client.get("/health").status_code == 200
print("ray" in sys.modules)
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert ended.stdout.strip() == "False"
