"""Metrics: true to the database and the same from every replica, in both formats, counted at little cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import Surroundings, served
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from sqlalchemy import event

from serve_app.app import build
from serve_app.counting import RequestCounts
from serve_app.platform import Alone
from tunesmith.domain import JobState
from tunesmith.errors import DatabaseUnavailable
from tunesmith.services import trainings
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.store.tallies import BUCKETS
from tunesmith.testing import new_experiment, queued_job
from tunesmith.testing.postgres import PostgresServer
from tunesmith.testing.training_contract import claim, finish, new_training, run_once

Labels = tuple[tuple[str, str], ...]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def platform(database: Store, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(build(Settings(data_dir=tmp_path), Alone(database), database)) as client:
        yield client


def families(client: TestClient | httpx2.Client) -> dict[str, Metric]:
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    return {family.name: family for family in parsed(response.text)}


def values(client: TestClient | httpx2.Client) -> dict[tuple[str, Labels], float]:
    """Sample -> value of everything."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(client).values()
        for sample in family.samples
    }


def requests(client: TestClient | httpx2.Client) -> dict[tuple[str, str, str], float]:
    """(method, route, status) -> requests."""
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families(client)["tunesmith_http_requests"].samples
    }


def test_jobs_and_trials_are_told_as_they_stand(database: Store, platform: TestClient) -> None:
    done, failing, _running = new_training(database), new_training(database, max_retries=1), new_training(database)
    for job in claim(database):
        if job.training_id == done.id:
            finish(database, job)
        elif job.training_id == failing.id:
            finish(database, job, JobState.FAILED, "exit code 1")
    held = new_training(database, schedule="0 * * * *")
    with database.write() as tx:
        trainings.pause(tx, held)
    queued_job(database, new_experiment(database))
    found = values(platform)
    with database.read() as tx:
        counts = tx.training_counts()
    told = {status: found["tunesmith_training_jobs", (("status", status),)] for status in counts}
    assert told == counts
    assert counts["completed"] == counts["retrying"] == counts["running"] == counts["paused"] == 1
    assert found["tunesmith_jobs_queued", ()] == 1
    assert found["tunesmith_jobs_running", ()] == 1
    assert found["tunesmith_trials", (("state", "complete"),)] == 1
    assert found["tunesmith_trials", (("state", "failed"),)] == 1
    assert found["tunesmith_trials", (("state", "waiting"),)] == 2
    assert found["tunesmith_training_attempts_total", (("status", "completed"),)] == 1
    assert found["tunesmith_training_attempts_total", (("status", "failed"),)] == 1
    assert found["tunesmith_training_attempts_total", (("status", "cancelled"),)] == 0
    assert found["tunesmith_training_retries_total", ()] == 1
    assert found["tunesmith_training_attempt_duration_seconds_count", ()] == 2


def test_durations_are_a_histogram(database: Store, platform: TestClient) -> None:
    run_once(database, new_training(database))
    found = values(platform)
    name = "tunesmith_training_attempt_duration_seconds"
    buckets = [found[f"{name}_bucket", (("le", str(bound)),)] for bound in (*BUCKETS, "+Inf")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found[f"{name}_count", ()] == 1
    assert found[f"{name}_sum", ()] > 0


def test_every_metric_keeps_to_the_conventions(platform: TestClient) -> None:
    platform.get("/health")
    for name, family in families(platform).items():
        assert name.startswith("tunesmith_")
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter", "histogram")
        assert family.type != "histogram" or name.endswith("_seconds")
        assert not name.endswith(("_ms", "_minutes", "_count", "_sum", "_bucket", "_total"))
        for sample in family.samples:
            assert family.type != "counter" or sample.name == f"{name}_total"
            assert {label for label in sample.labels if label != "le"} <= {
                *("status", "state", "method", "route", "version", "python"),
            }
    series = values(platform)
    assert len(series) < 200


def test_openmetrics_for_those_who_ask(platform: TestClient) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    response = platform.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in openmetrics(response.text)}
    assert names == set(families(platform)) - {"tunesmith_build_info"} | {"tunesmith_build"}
    for odd in ("*/*", "text/plain;version=nonsense", ""):
        plain = platform.get("/metrics", headers={"Accept": odd})
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_requests_are_counted_by_route_and_never_by_path(platform: TestClient) -> None:
    for path in ("/api/v1/experiments/1", "/api/v1/experiments/2", "/nowhere", "/nowhere/else"):
        assert platform.get(path).status_code == 404
    platform.request("BREW", "/health")
    platform.post("/api/v1/experiments", content=b"no JSON")
    found = requests(platform)
    assert found["GET", "/api/v1/experiments/{experiment_id}", "404"] == 2
    assert found["GET", "other", "404"] == 2
    assert found["other", "/health", "405"] == 1
    assert found["POST", "/api/v1/experiments", "400"] == 1
    assert requests(platform)["GET", "/metrics", "200"] == 1
    durations = values(platform)
    route = (("route", "/api/v1/experiments/{experiment_id}"),)
    assert durations["tunesmith_http_request_duration_seconds_count", route] == 2
    assert 0 < durations["tunesmith_http_request_duration_seconds_sum", route] < 60


def test_without_the_key_nothing_is_told_and_refusals_count(sqlite_store: Store, tmp_path: Path) -> None:
    key = "0123456789abcdef"
    settings = Settings(data_dir=tmp_path, api_key=key)
    with TestClient(build(settings, Alone(sqlite_store), sqlite_store)) as client:
        assert client.get("/metrics").status_code == 401
        client.headers["X-API-Key"] = key
        assert requests(client)["GET", "other", "401"] == 1


def test_replicas_count_into_one(database: Store, tmp_path: Path) -> None:
    apps = [build(Settings(data_dir=tmp_path), Alone(database), database) for _ in range(2)]
    with TestClient(apps[0]) as one, TestClient(apps[1]) as other:
        one.get("/api/v1/samplers")
        other.get("/api/v1/samplers")
        requests(one)
        found = requests(other)
        assert found["GET", "/api/v1/samplers", "200"] == 2
        known = requests(one)
    with TestClient(build(Settings(data_dir=tmp_path), Alone(database), database)) as later:  # after a restart
        assert requests(later).items() >= {**known, ("GET", "/metrics", "200"): 3.0}.items()


def test_counts_are_written_late_and_without_requests_nothing_is(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    begun = threading.Event()
    event.listen(store.engine, "begin", lambda _connection: begun.set())
    counts = RequestCounts(store, write_s=0.05)
    counts.write()
    assert not begun.is_set()
    counts.add("GET", "/health", 200, 0.001)
    assert begun.wait(20)
    counts.close()
    with store.read() as tx:
        found = {name: value for name, _labels, value in tx.tallies() if name == "http_requests"}
    assert found == {"http_requests": 1}
    store.close()


def test_what_is_counted_while_the_database_is_away_is_kept(postgres: PostgresServer, tmp_path: Path) -> None:
    with postgres.database() as url:
        store = open_store(url)
        counts = RequestCounts(store, write_s=3600)
        counts.add("GET", "/health", 200, 0.5)
        postgres.stop()
        try:
            with pytest.raises(DatabaseUnavailable):
                counts.write()
            counts.add("GET", "/health", 200, 0.25)
        finally:
            postgres.start()
        counts.close()
        with store.read() as tx:
            found = {(name, labels.get("le")): value for name, labels, value in tx.tallies()}
        assert found == {
            ("http_requests", None): 2,
            ("http_request_seconds", "0.25"): 1,
            ("http_request_seconds", "0.5"): 1,
            ("http_request_seconds", "sum"): 0.75,
        }
        store.close()


def test_a_stream_counts_when_it_ends(sqlite_store: Store, settings: Settings, surroundings: Surroundings) -> None:
    job = queued_job(sqlite_store, new_experiment(sqlite_store))
    stream = ("GET", "/api/v1/jobs/{job_id}/events", "200")
    with (
        served(build(settings, surroundings, sqlite_store)) as url,
        httpx2.Client(base_url=url, timeout=20) as client,
        httpx2.Client(base_url=url, timeout=20) as other,
    ):
        with client.stream("GET", f"/api/v1/jobs/{job.id}/events") as response:
            lines = response.iter_lines()
            next(lines)
            assert stream not in requests(other)
            with sqlite_store.write() as tx:
                tx.move_job(job.id, JobState.CANCELLED, (JobState.QUEUED,))
            list(lines)
        deadline = time.monotonic() + 20
        while stream not in (found := requests(other)):
            assert time.monotonic() < deadline
        assert found[stream] == 1
