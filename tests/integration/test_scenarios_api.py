"""Scenarios as a client sees them: made, run, watched, stopped, compared, tuned; and how they go wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Surroundings
from fastapi.testclient import TestClient
from planning import plugin
from sessions_service import MAIN, PATIENCE_S, SESSIONS, begun, finished, made, refused, stored, until, working

from serve_app.app import build
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.store import Store

SCENARIOS = f"{MAIN}/scenarios"
FIELDS = {
    "id",
    "tag",
    "input_data_id",
    "dataset_key",
    "kpis",
    "algorithm",
    "data_parameters",
    "status",
    "progress",
    "created_at",
    "run_started_at",
    "run_finished_at",
    "result",
}
BODY = {"tag": "a", "dataset_key": "base", "algo_name": "Plan"}
TRUCKS = {"name": "trucks", "type": "int", "minimum": 1, "maximum": 9}
SEARCH = {
    "algo_name": "Plan",
    "dataset_key": "base",
    "parameters": [TRUCKS],
    "objectives": [{"kpi": "Cost"}],
    "optimizer": {"type": "grid", "num_configs_per_param": 9},
}


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def api(settings: Settings, db: Store) -> Iterator[TestClient]:
    """The application, with one dataset."""
    with working(settings, db) as app, TestClient(app) as client:
        stored(client)
        yield client


def tags(api: TestClient) -> list[str]:
    return [scenario["tag"] for scenario in api.get(SCENARIOS).json()]


class TestMaking:
    def test_the_answer_has_every_field(self, api: TestClient) -> None:
        answer = api.post(SCENARIOS, json={**BODY, "algo_params": {"trucks": 3}, "data_params": {"scale": 2}})
        assert answer.status_code == 201
        body = answer.json()
        assert body.keys() == FIELDS
        assert body["id"] == str(uuid.UUID(body["id"]))
        assert (body["tag"], body["status"], body["progress"], body["result"]) == ("a", "created", 0, None)
        assert body["kpis"] == {"Cost": None, "Share": None}
        assert body["algorithm"]["name"] == "Plan"
        assert body["algorithm"]["parameters"]["trucks"] == 3
        assert body["algorithm"]["parameters"]["window"] == ["2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"]
        assert body["data_parameters"] == {"scale": 2}
        assert body["created_at"].endswith("Z")
        assert (body["run_started_at"], body["run_finished_at"]) == (None, None)
        assert api.get(f"{SCENARIOS}/{body['id']}").json() == body
        assert api.get(SCENARIOS).json() == [body]

    def test_null_parameters_are_none(self, api: TestClient) -> None:
        path = f"{SESSIONS}/{api.get(SESSIONS).json()['default']}"
        body = {**BODY, "algo_params": None, "data_params": None}
        assert api.post(f"{path}/scenarios", json=body).status_code == 201

    @pytest.mark.parametrize(
        ("params", "named"),
        [
            ({"truck": 3}, ("truck", "trucks")),
            ({"trucks": 10}, ("trucks", "10", "from 1 to 9")),
            ({"trucks": "3"}, ("trucks", '"3"', "integer")),
            ({"trucks": True}, ("trucks", "integer")),
            ({"speed": 0.1}, ("speed", "0.1")),
            ({"night": "yes"}, ("night", "true or false")),
            ({"note": 1}, ("note", "text")),
            ({"mode": "slow"}, ("mode", "slow", "fast")),
            ({"zones": ["east"]}, ("zones", "east")),
            ({"zones": "north"}, ("zones",)),
            ({"start": "noon"}, ("start", "noon", "ISO 8601")),
            ({"window": ["2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"]}, ("window",)),
            ({"window": ["2026-03-02T00:00:00Z"]}, ("window",)),
        ],
    )
    def test_a_parameter_that_is_none_is_named(
        self, api: TestClient, params: dict[str, Any], named: tuple[str, ...]
    ) -> None:
        error = refused(api.post(SCENARIOS, json={**BODY, "algo_params": params}), 400, "INVALID_PARAMETER")["error"]
        assert not [word for word in named if word not in error], error
        assert tags(api) == []

    def test_a_required_parameter_is_asked_for(self, api: TestClient) -> None:
        answer = api.post(SCENARIOS, json={**BODY, "algo_name": "Wait"})
        assert "seconds" in refused(answer, 400, "INVALID_PARAMETER")["error"]

    def test_a_knob_of_the_dataset_that_is_none_is_named(self, api: TestClient) -> None:
        for knobs in ({"scal": 1}, {"scale": -1}):
            assert "scale" in refused(api.post(SCENARIOS, json={**BODY, "data_params": knobs}), 400)["error"]

    def test_the_algorithm_is_checked_before_the_dataset(self, api: TestClient) -> None:
        nothing = {"dataset_key": "nothing", "algo_params": {"nonsense": 1}}
        refused(api.post(SCENARIOS, json={**BODY, **nothing, "algo_name": "Plam"}), 404, "ALGORITHM_NOT_FOUND")
        refused(api.post(SCENARIOS, json={**BODY, **nothing}), 404, "DATASET_NOT_FOUND")
        refused(api.post(f"{SESSIONS}/nobody/scenarios", json=BODY), 404)

    def test_a_taken_tag_is_a_conflict(self, api: TestClient) -> None:
        made(api, tag="a")
        refused(api.post(SCENARIOS, json=BODY), 409, "NAME_TAKEN")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"tag": ""}, "tag"),
            ({"tag": 1}, "tag"),
            ({"algo_params": []}, "algo_params"),
            ({"algo_parameters": {}}, "algo_parameters"),
            ({"dataset": "base"}, "dataset"),
        ],
    )
    def test_a_malformed_body_is_unprocessable(self, api: TestClient, change: dict[str, Any], field: str) -> None:
        body = refused(api.post(SCENARIOS, json={**BODY, **change}), 422, "INVALID_BODY")
        assert field in [found["field"] for found in body["details"]["fields"]]

    @pytest.mark.parametrize("field", ["tag", "dataset_key", "algo_name"])
    def test_a_missing_field_is_unprocessable(self, api: TestClient, field: str) -> None:
        body = refused(api.post(SCENARIOS, json={name: value for name, value in BODY.items() if name != field}), 422)
        assert [found["field"] for found in body["details"]["fields"]] == [field]

    def test_the_same_request_with_its_key_makes_one(self, api: TestClient) -> None:
        first, again = (api.post(SCENARIOS, json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert tags(api) == ["a"]


class TestRunning:
    def test_to_its_result_and_kpis(self, api: TestClient) -> None:
        path = made(api, trucks=3)
        answer = api.post(f"{path}/run")
        assert answer.status_code == 202
        assert answer.json()["status"] in ("queued", "processing")
        until(api, path, "complete")
        body = api.get(path).json()
        assert body["result"] == {"cost": 4, "share": 1.5, "pallets": 7, "start": "2026-03-01T08:00:00+00:00"}
        assert body["kpis"]["Cost"] == {
            "name": "Cost",
            "better_when": "AT_MOST",
            "unit": "EUR",
            "value": 4,
            "threshold": 0,
            "success": False,
        }
        assert (body["kpis"]["Share"]["threshold"], body["kpis"]["Share"]["success"]) == (None, None)
        assert body["created_at"] <= body["run_started_at"] <= body["run_finished_at"]
        assert body["progress"] == 100
        assert api.get(SCENARIOS).json() == [body]

    def test_a_threshold_of_0_is_one(self, api: TestClient) -> None:
        cost = finished(api, made(api, trucks=5))["kpis"]["Cost"]
        assert (cost["value"], cost["threshold"], cost["success"]) == (0, 0, True)

    def test_a_summary_has_no_result(self, api: TestClient) -> None:
        path = made(api)
        whole = finished(api, path)
        summary = {**whole, "result": None}
        assert api.get(f"{path}?summary=true").json() == summary
        assert api.get(f"{SCENARIOS}?summary=true").json() == [summary]

    def test_a_large_result_comes_whole(self, api: TestClient) -> None:
        path = made(api, "Wrong", how="large")
        assert finished(api, path)["result"]["rows"] == ["x" * 1000] * 1000
        made(api)
        whole, other = api.get(SCENARIOS).json()
        assert (len(whole["result"]["rows"]), other["result"]) == (1000, None)

    def test_the_status_is_small_and_tells_the_progress(self, api: TestClient) -> None:
        path = made(api, "Wait", tag="slow", seconds=60)
        scenario_id = path.rpartition("/")[2]
        assert api.get(f"{path}/status").json() == {
            "id": scenario_id,
            "tag": "slow",
            "status": "created",
            "progress": 0,
        }
        begun(api, path)
        asked_at = time.monotonic()
        while (status := api.get(f"{path}/status").json())["progress"] != 50:
            assert time.monotonic() - asked_at < 10, status
        assert status == {"id": scenario_id, "tag": "slow", "status": "processing", "progress": 50}
        running = api.get(f"{MAIN}/processing").json()
        assert (running["id"], running["status"], running.keys()) == (scenario_id, "processing", FIELDS)
        assert api.post(f"{path}/cancel").status_code == 200
        until(api, path, "failed")
        assert api.get(f"{MAIN}/processing").json() is None

    def test_it_runs_once_until_it_is_reset(self, api: TestClient) -> None:
        path = made(api)
        finished(api, path)
        assert "complete" in refused(api.post(f"{path}/run"), 409, "STATE_FORBIDS")["error"]
        answer = api.post(f"{path}/reset")
        assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "created", None)
        assert answer.json()["kpis"] == {"Cost": None, "Share": None}
        assert finished(api, path)["status"] == "complete"

    def test_the_same_request_with_its_key_runs_it_once(self, api: TestClient) -> None:
        path = made(api)
        first, again = (api.post(f"{path}/run", headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()

    def test_what_its_state_forbids_is_a_conflict(self, api: TestClient) -> None:
        path = made(api, "Wait", seconds=60)
        for step in ("cancel", "reset"):
            refused(api.post(f"{path}/{step}"), 409, "STATE_FORBIDS")
        begun(api, path)
        for answer in (api.post(f"{path}/run"), api.post(f"{path}/reset"), api.delete(path)):
            assert "processing" in refused(answer, 409, "STATE_FORBIDS")["error"]
        assert api.post(f"{path}/cancel").status_code == 200
        until(api, path, "failed")
        refused(api.post(f"{path}/cancel"), 409, "STATE_FORBIDS")

    def test_a_cancelled_one_has_failed_within_seconds(self, api: TestClient) -> None:
        path = begun(api, made(api, "Wait", seconds=60))
        asked_at = time.monotonic()
        api.post(f"{path}/cancel")
        until(api, path, "failed")
        assert time.monotonic() - asked_at < 5
        assert "cancel" in api.get(path).json()["result"]["error"]

    def test_one_after_the_other_unless_more_may(self, api: TestClient) -> None:
        first, second, third = (made(api, "Wait", seconds=seconds) for seconds in (60, 61, 62))
        begun(api, first)
        for path in (second, third):
            assert api.post(f"{path}/run").json()["status"] == "queued"
        assert api.get(f"{MAIN}/processing").json()["id"] == first.rpartition("/")[2]
        api.patch(MAIN, json={"max_parallel": 2})
        until(api, second, "processing")
        assert api.get(f"{third}/status").json()["status"] == "queued"
        api.post(f"{first}/cancel")
        until(api, third, "processing")
        for path in (second, third):
            api.post(f"{path}/cancel")
            until(api, path, "failed")

    def test_one_that_waits_for_its_turn_wakes_nobody(self, settings: Settings, sqlite_store: Store) -> None:
        around = Surroundings()
        app = build(settings, around, sqlite_store, Registry.of(plugin, "planning:plugin"))
        with TestClient(app) as api:
            stored(api)
            first, second = made(api, trucks=1), made(api, trucks=2)
            wakes = [around.wakes]
            for path in (first, second):
                assert api.post(f"{path}/run").json()["status"] == "queued"
                wakes.append(around.wakes)
        assert wakes[1] - wakes[0] == 1
        assert wakes[2] == wakes[1]

    def test_the_log_has_what_it_printed(self, api: TestClient) -> None:
        path = made(api, trucks=4)
        assert api.get(f"{path}/log").text == ""
        finished(api, path)
        for query in ("", "?follow=true"):
            answer = api.get(f"{path}/log{query}")
            assert answer.headers["content-type"].startswith("text/plain")
            assert "planning with 4 trucks" in answer.text

    def test_the_log_is_seen_while_it_runs_and_stays_when_it_is_cancelled(self, api: TestClient) -> None:
        path = begun(api, made(api, "Wait", seconds=600))
        end = time.monotonic() + PATIENCE_S
        while api.get(f"{path}/log").text != "waiting\n":
            assert time.monotonic() < end
            time.sleep(0.02)
        api.post(f"{path}/cancel")
        until(api, path, "failed")
        assert api.get(f"{path}/log").text == "waiting\n"

    def test_what_ended_its_process_leaves_what_it_printed(self, api: TestClient) -> None:
        path = made(api, "Wrong", how="exit")
        finished(api, path)
        assert "leaving" in api.get(f"{path}/log").text


class TestGoingWrong:
    @pytest.mark.parametrize(
        ("how", "error"),
        [
            ("raise", "ValueError: no route to the north"),
            ("exit", "exit code 3"),
            ("unserializable", "worker"),
            ("kpi", "Cost"),
            ("nan", "Cost"),
        ],
    )
    def test_it_has_failed_and_says_why_and_the_session_stays_usable(
        self, api: TestClient, how: str, error: str
    ) -> None:
        path = made(api, "Wrong", how=how)
        body = finished(api, path)
        assert body["status"] == "failed"
        assert body["result"].keys() == {"error"}
        assert error in body["result"]["error"]
        assert body["kpis"]["Cost"] is None
        assert api.get(SCENARIOS).json() == [body]
        assert finished(api, made(api))["status"] == "complete"

    def test_the_traceback_is_in_its_log(self, api: TestClient) -> None:
        path = made(api, "Wrong", how="raise")
        assert "Traceback" not in finished(api, path)["result"]["error"]
        log = api.get(f"{path}/log").text
        assert "Traceback" in log
        assert "no route to the north" in log


class TestDeleting:
    def test_it_is_gone(self, api: TestClient) -> None:
        path = made(api)
        finished(api, path)
        answer = api.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert tags(api) == []
        for gone in (api.get(path), api.delete(path), api.post(f"{path}/run"), api.get(f"{path}/log")):
            refused(gone, 404, "SCENARIO_NOT_FOUND")

    @pytest.mark.parametrize("scenario_id", ["5f0c7a52-6d0e-4b7c-9a39-0c3f5d1e8b21", "x", "nobody"])
    @pytest.mark.parametrize("step", ["", "/status", "/log"])
    def test_an_unknown_one_is_not_found(self, api: TestClient, scenario_id: str, step: str) -> None:
        refused(api.get(f"{SCENARIOS}/{scenario_id}{step}"), 404, "SCENARIO_NOT_FOUND")

    def test_one_of_another_session_is_not_found(self, api: TestClient) -> None:
        path = made(api)
        api.post(SESSIONS, json={"display_name": "other"})
        other = path.replace("/main/", "/other/")
        for step in ("", "/status", "/log"):
            refused(api.get(other + step), 404, "SCENARIO_NOT_FOUND")
        refused(api.delete(other), 404, "SCENARIO_NOT_FOUND")
        refused(api.get(path.replace("/main/", "/nobody/") + "/status"), 404)


class TestComparing:
    def test_a_row_per_kpi_with_the_best_marked(self, api: TestClient) -> None:
        paths = [made(api, trucks=trucks, speed=speed) for trucks, speed in ((3, 1), (5, 1), (4, 2))]
        for path in paths:
            finished(api, path)
        paths.append(made(api, tag="not yet"))
        ids = [path.rpartition("/")[2] for path in paths]
        answer = api.post(f"{SCENARIOS}/compare", json={"ids": ids})
        assert answer.status_code == 200
        body = answer.json()
        assert [column["id"] for column in body["scenarios"]] == ids
        assert [column["status"] for column in body["scenarios"]] == ["complete"] * 3 + ["created"]
        cost, share = body["rows"]
        assert (cost["kpi"], cost["values"]) == ("Cost", dict(zip(ids, (4, 0, 1, None), strict=True)))
        assert (cost["best"], share["best"]) == ([ids[1]], [ids[2]])
        assert (cost["better_when"], cost["unit"], cost["threshold"]) == ("AT_MOST", "EUR", 0)

    def test_refusals(self, api: TestClient) -> None:
        path = f"{SCENARIOS}/compare"
        scenario_id = made(api).rpartition("/")[2]
        refused(api.post(path, json={"ids": [scenario_id, "nobody"]}), 404, "SCENARIO_NOT_FOUND")
        for body in ({}, {"ids": []}, {"ids": [scenario_id] * 2}, {"ids": scenario_id}, {"id": [scenario_id]}):
            refused(api.post(path, json=body), 422, "INVALID_BODY")


class TestOptimizing:
    def test_a_scenario_is_made_of_the_best_trial(self, api: TestClient) -> None:
        answer = api.post(f"{MAIN}/optimize", json={**SEARCH, "algo_params": {"speed": 2.5}})
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert (body["status"], body["job"]["job_status"]) == ("submitted", "queued")
        experiment_id = int(body["job"]["job_meta"]["experiment_id"])
        job = wait(api, body["job"]["job_id"])
        assert (job["job_status"], job["progress"]["finished"]) == ("finished", 9)
        best = api.get(f"/api/v1/experiments/{experiment_id}/best").json()
        assert (best["outcome"], best["outcomes"]) == (0, {"Cost": 0})
        tuned = api.post(f"{SCENARIOS}/from-trial", json={"experiment_id": experiment_id, "tag": "tuned"})
        assert tuned.status_code == 201, tuned.text
        parameters = tuned.json()["algorithm"]["parameters"]
        assert (parameters["trucks"], parameters["speed"], parameters["mode"]) == (5, 2.5, "fast")
        assert finished(api, f"{SCENARIOS}/{tuned.json()['id']}")["kpis"]["Cost"]["success"]
        number = {"experiment_id": experiment_id, "number": 0, "tag": "first"}
        assert api.post(f"{SCENARIOS}/from-trial", json=number).json()["algorithm"]["parameters"]["trucks"] == 1
        refused(api.post(f"{SCENARIOS}/from-trial", json=number), 409, "NAME_TAKEN")
        refused(api.post(f"{SCENARIOS}/from-trial", json={**number, "number": 77, "tag": "x"}), 404, "TRIAL_NOT_FOUND")

    @pytest.mark.parametrize(
        ("change", "status", "named"),
        [
            ({"algo_name": "Plam"}, 404, "Plan"),
            ({"dataset_key": "nothing"}, 404, "nothing"),
            ({"parameters": [{**TRUCKS, "name": "truck"}]}, 400, "trucks"),
            ({"parameters": [{**TRUCKS, "maximum": 10}]}, 400, "trucks"),
            ({"parameters": [{**TRUCKS, "name": "note"}]}, 400, "note"),
            ({"algo_params": {"trucks": 2}}, 400, "trucks"),
            ({"algo_params": {"mode": "slow"}}, 400, "mode"),
            ({"objectives": [{"kpi": "Costs"}]}, 400, "Cost"),
            ({"optimizer": {"type": "gird"}}, 400, "grid"),
            ({"optimizer": {"type": "grid", "num_configs_per_param": 1}}, 400, "num_configs_per_param"),
            ({"optimizer": {"n_iter": -1}}, 422, "n_iter"),
            ({"parameters": []}, 422, "parameters"),
            ({"parameters": [TRUCKS, TRUCKS]}, 422, "trucks"),
            ({"objectives": []}, 422, "objectives"),
            ({"objectives": [{"kpi": "Cost"}] * 2}, 422, "Cost"),
            ({"objectives": [{"kpi": "Cost", "direction": "down"}]}, 422, "direction"),
            ({"objective": []}, 422, "objectives"),
            ({"parameter_constraints": ["trucks <"]}, 422, "trucks"),
        ],
    )
    def test_what_cannot_be_searched_is_refused_and_leaves_nothing(
        self, api: TestClient, change: dict[str, Any], status: int, named: str
    ) -> None:
        assert named in refused(api.post(f"{MAIN}/optimize", json={**SEARCH, **change}), status)["error"]
        assert api.get("/api/v1/experiments").json()["experiments"] == []

    def test_the_same_request_with_its_key_is_one_job(self, api: TestClient) -> None:
        first, again = (api.post(f"{MAIN}/optimize", json=SEARCH, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
        wait(api, first.json()["job"]["job_id"])

    def test_a_trial_of_anything_else_makes_no_scenario(self, api: TestClient) -> None:
        refused(
            api.post(f"{SCENARIOS}/from-trial", json={"experiment_id": 77, "tag": "x"}), 404, "EXPERIMENT_NOT_FOUND"
        )
        other = {"tool_name": "t", "parameters": [], "command_template_string": "true"}
        experiment_id = api.post("/api/v1/experiments", json=other).json()["id"]
        refused(api.post(f"{SCENARIOS}/from-trial", json={"experiment_id": experiment_id, "tag": "x"}), 400)
        refused(api.post(f"{SCENARIOS}/from-trial", json={"experiment": 1, "tag": "x"}), 422, "INVALID_BODY")


def wait(api: TestClient, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    end = time.monotonic() + 60
    while (job := api.get(f"/api/v1/jobs/{job_id}").json()["job"])["job_status"] in ("queued", "started"):
        assert time.monotonic() < end, job
        time.sleep(0.05)
    return dict(job)
