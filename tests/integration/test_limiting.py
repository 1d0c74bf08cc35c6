"""Limits: of rates, which all replicas share, and of what a workspace may have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from limits import parse
from limits.strategies import FixedWindowRateLimiter
from sessions_service import MAIN, dataset

from serve_app.app import build
from serve_app.shared_counters import SharedCounters
from tunesmith.domain import Job, JobState, Quotas
from tunesmith.errors import QuotaExceeded
from tunesmith.services.tokens import issue
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.testing import new_experiment, queued_job, search

KEY = {"X-API-Key": "a-key-of-twenty-characters"}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestSharedCounters:
    def test_replicas_learn_what_the_others_counted(self, store: Store) -> None:
        here, there = SharedCounters(store), SharedCounters(store)
        limiters = [FixedWindowRateLimiter(counters) for counters in (here, there)]
        limit = parse("5/hour")
        assert [limiters[0].hit(limit, "ada") for _ in range(4)] == [True] * 4
        assert limiters[1].hit(limit, "ada"), "it does not know of them yet"
        here.close()
        there.close()
        assert not limiters[1].hit(limit, "ada")
        assert limiters[1].hit(limit, "ben")
        assert limiters[1].get_window_stats(limit, "ada").remaining == 0

    def test_they_exchange_by_themselves_and_write_nothing_while_nobody_asks(self, sqlite_store: Store) -> None:
        counters = SharedCounters(sqlite_store, exchange_s=0.05)
        counters.incr("a", 3600)

        def written() -> list[Any]:
            with sqlite_store.read() as tx:
                return list(tx.connection.exec_driver_sql("SELECT count FROM rate_counters").scalars())

        until(lambda: written() == [1])
        counters.incr("a", 3600, 3)
        until(lambda: written() == [4])
        assert counters.get("a") == 4

    def test_a_new_window_counts_from_the_beginning(self, sqlite_store: Store) -> None:
        counters = SharedCounters(sqlite_store)
        assert [counters.incr("a", 0.3) for _ in range(2)][-1] <= 2
        counters.close()
        until(lambda: counters.get("a") == 0)
        assert counters.incr("a", 3600) == 1
        counters.close()
        with sqlite_store.read() as tx:
            assert len(tx.connection.exec_driver_sql("SELECT key FROM rate_counters").all()) == 1, "the old one goes"

    def test_without_a_database_each_replica_counts_alone_and_tells_later(self, settings: Settings) -> None:
        store = open_store(settings.database)  # without its tables
        counters = SharedCounters(store)
        counters.incr("a", 3600)
        counters.close()
        assert counters.incr("a", 3600) == 2
        store.upgrade()
        counters.close()
        other = SharedCounters(store)
        other.incr("a", 3600)
        other.close()
        assert other.get("a") == 3
        store.close()

    def test_memory_is_bounded(self, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("serve_app.shared_counters.MAX_KEYS", 10)
        counters = SharedCounters(sqlite_store, exchange_s=60)
        for number in range(100):
            counters.incr(str(number), 3600)
        assert counters.get("99") == 1
        assert counters.reset() == 10


class TestRates:
    @pytest.fixture
    def api(self, settings: Settings, sqlite_store: Store) -> Iterator[TestClient]:
        limited = {"api_key": KEY["X-API-Key"], "rate_reads": "3/hour", "rate_writes": "4/hour", "rate_work": "5/hour"}
        with TestClient(build(settings.model_copy(update=limited), store=sqlite_store)) as client:
            yield client

    def test_reads_writes_and_work_are_counted_apart_for_each_principal(
        self, api: TestClient, sqlite_store: Store
    ) -> None:
        with sqlite_store.write() as tx:
            user = tx.create_user(tx.default_workspace(), "ada")
            tx.grant(user.workspace_id, f"user:{user.id}", "editor")
            ada = [{"Authorization": f"Bearer {issue(tx, user, name)[0]}"} for name in ("one", "two")]

        def statuses(headers: Any, method: str, path: str, count: int) -> list[int]:
            return [api.request(method, path, headers=headers).status_code for _ in range(count)]

        assert statuses(KEY, "GET", "/api/v1/jobs", 4) == [200, 200, 200, 429]
        assert statuses(ada[0], "GET", "/api/v1/jobs", 2) == [200, 200]
        assert statuses(ada[1], "GET", "/api/v1/jobs", 2) == [200, 429], "another token is the same user"
        assert statuses(KEY, "POST", "/api/v1/jobs/none/cancel", 5) == [404, 404, 404, 404, 429]
        assert statuses(KEY, "POST", "/api/v1/experiments/1/trials/1/heartbeat", 6)[-2:] == [400, 429]
        assert statuses({}, "GET", "/health", 4) == [200, 200, 200, 429], "nobody in particular: by the address"

    def test_who_shows_what_is_no_token_is_told_to_wait_and_others_of_the_address_are_not(
        self, api: TestClient
    ) -> None:
        guesses = [{"Authorization": f"Bearer ts_{number:043}"} for number in range(4)]
        assert [api.get("/api/v1/jobs", headers=guess).status_code for guess in guesses] == [401, 401, 401, 429]
        assert api.get("/api/v1/jobs").status_code == 429
        assert [api.get(path, headers=KEY).status_code for path in ("/api/v1/jobs", "/health")] == [200, 200]

    def test_a_refusal_says_when_to_come_back(self, api: TestClient) -> None:
        for _ in range(4):
            refused = api.get("/api/v1/jobs", headers=KEY)
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert refused.json()["code"] == "TOO_MANY_REQUESTS"

    def test_nobody_is_limited_where_nobody_signs_in(self, settings: Settings, sqlite_store: Store) -> None:
        free = build(settings.model_copy(update={"rate_reads": "1/hour"}), store=sqlite_store)
        with TestClient(free) as api:
            assert {api.get("/api/v1/jobs").status_code for _ in range(3)} == {200}


def workspaces(store: Store, **quotas: int) -> tuple[Store, Store]:
    """The store of a workspace with quotas, and of one without."""
    with store.write() as tx:
        small, large = tx.create_workspace("small"), tx.create_workspace("large")
        tx.set_quotas(small.id, Quotas(**quotas))
    return store.scoped(small.id), store.scoped(large.id)


class TestQuotas:
    def test_no_more_jobs_of_a_workspace_run_and_others_go_first(self, store: Store) -> None:
        small, large = workspaces(store, running_jobs=2)
        for where, priority in ((small, 30), (small, 30), (small, 30), (small, 10), (large, 10), (large, 0)):
            queued_job(where, new_experiment(where), priority=priority)

        def claim(**options: int) -> list[Job]:
            with store.write() as tx:
                return tx.claim_jobs("runner", 60.0, **{"max_running": 100, **options})

        def named(jobs: list[Job]) -> list[tuple[str, int]]:
            with store.read() as tx:
                found = [tx.experiment(job.experiment_id).workspace_id for job in jobs]
            names = ["small" if each == small.workspace_id else "large" for each in found]
            return [(name, job.priority) for name, job in zip(names, jobs, strict=True)]

        first = claim(limit=3)
        assert named(first) == [("small", 30), ("small", 30), ("large", 10)]
        assert named(claim()) == [("large", 0)]
        assert claim() == []
        with store.write() as tx:
            tx.end_lease(first[0].id, str(first[0].lease_token), JobState.SUCCEEDED)
        assert named(claim()) == [("small", 30)]

    def test_trials_that_are_there_planned_and_asked_for_count(self, store: Store) -> None:
        small, large = workspaces(store, trials=15)
        job(small, 10)
        with pytest.raises(QuotaExceeded, match="15 trials; it has or plans 10, and this needs 6 more") as refused:
            job(small, 6)
        assert refused.value.details == {"quota": "trials", "limit": 15, "used": 10, "wanted": 6}
        job(small, 5)
        job(large, 1000)
        with store.write() as tx:
            tx.check_trials(1000)

    def test_a_job_over_the_quota_is_refused_with_the_numbers(self, limited: TestClient) -> None:
        body = {"parameters": [{"name": "x", "minimum": 0, "maximum": 1}], "tool_name": "a", "external": True}
        made = limited.post("/api/v1/experiments", json=body).json()["id"]
        asked = limited.post(f"/api/v1/experiments/{made}/ask", json={"count": 2})
        assert asked.status_code == 200
        assert limited.post(f"/api/v1/experiments/{made}/ask", json={"count": 2}).json()["code"] == "QUOTA_EXCEEDED"
        assert limited.post(f"/api/v1/experiments/{made}/ask", json={"count": 1}).status_code == 200
        command = {**body, "command_template_string": "run ${x}", "external": False}
        made = limited.post("/api/v1/experiments", json=command).json()["id"]
        search = {"optimizer": {"type": "random", "n_iter": 2}}
        refused = limited.post(f"/api/v1/experiments/{made}/trials", json=search)
        assert (refused.status_code, refused.json()["details"]["limit"]) == (409, 3)

    def test_a_dataset_beyond_the_storage_is_refused(self, limited: TestClient, sqlite_store: Store) -> None:
        url = f"{MAIN}/data/from-json"
        refused = limited.post(url, json=dataset("base"))
        assert (refused.status_code, refused.json()["details"]["quota"]) == (409, "storage_bytes")
        assert limited.get(f"{MAIN}/data").json()["keys"] == []
        with sqlite_store.write() as tx:
            tx.set_quotas(tx.default_workspace(), Quotas(storage_bytes=100_000))
        assert limited.post(url, json=dataset("base")).status_code == 201

    @pytest.fixture
    def limited(self, app: FastAPI, sqlite_store: Store) -> Iterator[TestClient]:
        with sqlite_store.write() as tx:
            tx.set_quotas(tx.default_workspace(), Quotas(trials=3, storage_bytes=100))
        with TestClient(app) as client:
            yield client


def job(store: Store, trials: int) -> None:
    experiment = new_experiment(store)
    with store.write() as tx:
        tx.create_job(experiment.id, search(n_iter=trials), trials)
