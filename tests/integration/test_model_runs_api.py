"""Model runs over REST, on SQLite and PostgreSQL, computed by the engine that needs no cluster."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.conftest import served
from tunesmith.client import Client
from tunesmith.settings import Settings
from tunesmith.store import Store

BODY = {"model_id": "linear_reg", "inputs": {"region": "NA", "year": 2024, "parameter_set": "baseline"}}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[httpx2.Client]:
    """The service, with nobody who computes: runs stay queued."""
    with served(build(settings, store=store)) as url, httpx2.Client(base_url=url) as client:
        yield client


@pytest.fixture
def working(settings: Settings, store: Store) -> Iterator[httpx2.Client]:
    """The service, with an engine that computes."""
    engine = Embedded(store, settings)
    with served(build(settings, engine, store)) as url, httpx2.Client(base_url=url) as client:
        engine.start(alone=True)
        try:
            yield client
        finally:
            engine.stop()


def submit(api: httpx2.Client, **inputs: Any) -> str:
    answer = api.post("/api/runs", json={**BODY, "inputs": {**BODY["inputs"], **inputs}})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run_id"])


def status(api: httpx2.Client, run_id: str) -> dict[str, Any]:
    return dict(api.get(f"/api/runs/{run_id}/status").json())


def ended(api: httpx2.Client, run_id: str) -> dict[str, Any]:
    limit = time.monotonic() + 60
    while (found := status(api, run_id))["status"] not in ("succeeded", "failed"):
        assert time.monotonic() < limit, found
        time.sleep(0.05)
    return found


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestModels:
    def test_the_list_is_the_documents_and_may_be_cached(self, api: httpx2.Client) -> None:
        answer = api.get("/api/models")
        assert answer.json() == {
            "models": [
                {"id": "linear_reg", "name": "Linear Regression", "params": {"alpha": [0.1, 1.0, 10.0]}},
                {"id": "xgb_forecast", "name": "XGBoost Forecast", "params": {"max_depth": [3, 5, 7]}},
                {"id": "simulator", "name": "Monte Carlo Simulator", "params": {"trials": [100, 1000, 10000]}},
            ]
        }
        assert answer.headers["Cache-Control"] == "private, max-age=60"
        tag = answer.headers["ETag"]
        for given in (tag, f'"other", W/{tag}', "*"):
            again = api.get("/api/models", headers={"If-None-Match": given})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert api.get("/api/models", headers={"If-None-Match": '"other"'}).status_code == 200


class TestSubmit:
    def test_the_answer_is_the_documents(self, api: httpx2.Client) -> None:
        answer = api.post("/api/runs", json=BODY)
        assert answer.status_code == 201
        assert answer.json() == {"run_id": answer.json()["run_id"], "status": "queued"}
        found = status(api, answer.json()["run_id"])
        assert found.keys() == {
            "run_id", "status", "progress", "message", "started_at", "updated_at", "submitted_by",
        }  # fmt: skip
        assert (found["status"], found["progress"], found["started_at"]) == ("queued", 0, None)
        assert found["submitted_by"] == "anonymous"

    @pytest.mark.parametrize(
        ("body", "expected", "words"),
        [
            ({"model_id": "linear_regg", "inputs": {}}, (404, "MODEL_NOT_FOUND"), "linear_reg"),
            ({"model_id": "linear_reg"}, (400, "INVALID_BODY"), "inputs"),
            ({"inputs": {}}, (400, "INVALID_BODY"), "model_id"),
            ({**BODY, "imputs": {}}, (400, "INVALID_BODY"), "did you mean 'inputs'?"),
            ({"model_id": 1, "inputs": {}}, (400, "INVALID_BODY"), "model_id"),
            ({"model_id": "linear_reg", "inputs": []}, (400, "INVALID_BODY"), "inputs"),
            ({"model_id": "linear_reg", "inputs": {}}, (400, "INVALID_PARAMETER"), "region"),
            ({"model_id": "linear_reg", "inputs": {"region": "XX"}}, (400, "INVALID_PARAMETER"), "XX"),
            ({"model_id": "linear_reg", "inputs": {"region": "NA", "yaer": 1}}, (400, "INVALID_PARAMETER"), "year"),
            ({"model_id": "linear_reg", "inputs": {"region": "NA", "alpha": 3}}, (400, "INVALID_PARAMETER"), "alpha"),
        ],
    )
    def test_refusals_say_what_is_wrong(
        self, api: httpx2.Client, body: dict[str, Any], expected: tuple[int, str], words: str
    ) -> None:
        answer = api.post("/api/runs", json=body)
        assert code(answer) == expected
        assert words in answer.json()["error"]
        assert api.get("/api/runs").json()["runs"] == []

    def test_a_key_runs_it_once(self, api: httpx2.Client) -> None:
        first, second = (api.post("/api/runs", json=BODY, headers={"Idempotency-Key": "a"}) for _ in range(2))
        assert first.json() == second.json()
        assert len(api.get("/api/runs").json()["runs"]) == 1

    def test_too_many_are_refused_until_the_window_ends(self, settings: Settings, store: Store) -> None:
        limited = settings.model_copy(update={"runs_rate": "2/minute"})
        with (
            served(build(limited, store=store)) as one,
            served(build(limited, store=store)) as other,
            httpx2.Client() as http,
        ):
            assert http.post(f"{one}/api/runs", json=BODY, headers={"Idempotency-Key": "a"}).status_code == 201
            assert http.post(f"{other}/api/runs", json=BODY).status_code == 201
            refused = http.post(f"{one}/api/runs", json=BODY)
            assert code(refused) == (429, "TOO_MANY_REQUESTS")
            assert 50 < int(refused.headers["Retry-After"]) <= 60
            again = http.post(f"{one}/api/runs", json=BODY, headers={"Idempotency-Key": "a"})
            assert again.status_code == 201
            assert len(http.get(f"{other}/api/runs").json()["runs"]) == 2

    def test_who_holds_the_key_is_named_and_finds_his_own(self, settings: Settings, store: Store) -> None:
        before = build(settings, store=store)
        with served(before) as url, httpx2.Client(base_url=url) as http:
            submit(http)
        keyed = settings.model_copy(update={"api_key": "k" * 16})
        headers = {"X-API-Key": "k" * 16}
        with served(build(keyed, store=store)) as url, httpx2.Client(base_url=url, headers=headers) as http:
            run_id = submit(http)
            assert status(http, run_id)["submitted_by"] == "api-key"
            mine = http.get("/api/runs", params={"mine": True}).json()["runs"]
            assert [run["run_id"] for run in mine] == [run_id]
            assert len(http.get("/api/runs").json()["runs"]) == 2


class TestList:
    def test_pages_filters_and_order(self, api: httpx2.Client) -> None:
        ids = [submit(api, seed=seed) for seed in range(5)]
        api.post(f"/api/runs/{ids[0]}/cancel")
        other = api.post("/api/runs", json={"model_id": "simulator", "inputs": {"region": "EU"}}).json()["run_id"]
        found, cursor = [], None
        while True:
            page = api.get("/api/runs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            found += page["runs"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert [run["run_id"] for run in found] == [other, *reversed(ids)]
        assert found[0]["inputs"] == {
            "region": "EU", "year": 2024, "parameter_set": "baseline", "seed": 0, "trials": 100,
        }  # fmt: skip

        def listed(**params: Any) -> list[str]:
            return [run["run_id"] for run in api.get("/api/runs", params=params).json()["runs"]]

        assert listed(model_id="simulator") == [other]
        assert listed(status="failed") == [ids[0]]
        assert listed(status="queued", model_id="linear_reg") == list(reversed(ids[1:]))
        assert listed(status="running") == []
        assert code(api.get("/api/runs", params={"status": "done"})) == (400, "INVALID_REQUEST")
        assert code(api.get("/api/runs", params={"cursor": "x"})) == (400, "INVALID_CURSOR")
        assert code(api.get("/api/runs", params={"state": "failed"})) == (400, "INVALID_REQUEST")


class TestStatus:
    def test_it_is_never_cached(self, api: httpx2.Client) -> None:
        run_id = submit(api)
        for path in (f"/api/runs/{run_id}/status", f"/api/runs/{run_id}"):
            assert api.get(path).headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("path", ["", "/status", "/results"])
    def test_unknown_runs_are_404(self, api: httpx2.Client, path: str) -> None:
        assert code(api.get(f"/api/runs/uuid-1234{path}")) == (404, "RUN_NOT_FOUND")
        assert code(api.post("/api/runs/uuid-1234/cancel")) == (404, "RUN_NOT_FOUND")

    def test_results_wait_for_its_success(self, api: httpx2.Client) -> None:
        run_id = submit(api)
        refused = api.get(f"/api/runs/{run_id}/results")
        assert code(refused) == (409, "NO_RESULTS")
        assert refused.json()["details"] == {"state": "queued", "progress": 0}
        cancelled = api.post(f"/api/runs/{run_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "failed")
        refused = api.get(f"/api/runs/{run_id}/results", headers={"Accept": "text/csv"})
        assert code(refused) == (409, "NO_RESULTS")
        assert refused.json()["details"]["state"] == "failed"
        assert "it was cancelled" in refused.json()["error"]
        again = api.post(f"/api/runs/{run_id}/cancel")
        assert code(again) == (409, "STATE_FORBIDS")
        assert again.json()["details"] == {"run_id": run_id, "state": "failed"}


class TestResults:
    def test_the_documents_run_from_end_to_end(self, working: httpx2.Client) -> None:
        run_id = submit(working)
        done = ended(working, run_id)
        assert (done["status"], done["progress"]) == ("succeeded", 100)
        assert done["started_at"] <= done["updated_at"]
        found = working.get(f"/api/runs/{run_id}/results").json()
        assert found.keys() == {"run_id", "summary", "rows", "next_cursor"}
        assert (len(found["rows"]), found["summary"]["rows"], found["next_cursor"]) == (20, 20, None)
        assert list(found["rows"][0]) == ["region", "year", "kpi", "value"]
        mean = sum(row["value"] for row in found["rows"]) / 20
        assert found["summary"]["avg_value"] == pytest.approx(mean, abs=1e-5)

        pages, cursor = [], None
        while True:
            page = working.get(
                f"/api/runs/{run_id}/results", params={"limit": 7, **({"cursor": cursor} if cursor else {})}
            ).json()
            pages.append(page["rows"])
            assert page["summary"] == found["summary"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert [len(rows) for rows in pages] == [7, 7, 6]
        assert [row for rows in pages for row in rows] == found["rows"]

        answer = working.get(f"/api/runs/{run_id}/results", headers={"Accept": "text/csv"})
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.text.startswith("region,year,kpi,value\nNA,2024,revenue,")
        assert answer.text == working.get(f"/api/runs/{run_id}/results", params={"format": "csv"}).text
        rows = [
            {**row, "year": int(row["year"]), "value": float(row["value"])}
            for row in csv.DictReader(io.StringIO(answer.text))
        ]
        assert rows == found["rows"]
        answer = working.get(f"/api/runs/{run_id}/results", params={"format": "parquet"})
        assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
        assert f"{run_id}.parquet" in answer.headers["Content-Disposition"]
        assert pq.read_table(pa.BufferReader(answer.content)).to_pylist() == found["rows"]

    def test_the_client_has_rows_tables_and_frames(self, working: httpx2.Client) -> None:
        with Client(str(working.base_url)) as client:
            assert [model.id for model in client.models()] == ["linear_reg", "xgb_forecast", "simulator"]
            told: list[int] = []
            run = client.runs.submit("simulator", {"region": "EU", "trials": 1000}).wait(
                60, raise_on_failure=True, on_progress=lambda one: told.append(one.progress)
            )
            assert told == sorted(told)
            assert told[-1] == 100
            assert len(run.rows()) == run.table().num_rows == len(run.frame()) == run.summary()["rows"] == 20
            assert run.rows() == run.table().to_pylist()
            assert [one.run_id for one in client.runs.list("simulator", "succeeded", mine=True)] == [run.id]
            assert client.runs.get(run.id).info.model_id == "simulator"
