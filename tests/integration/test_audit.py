"""The audit log: what is in it, what never is, who reads it, and that nobody changes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hashes import quick_hashes  # noqa: F401
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from serve_app.app import build
from tunesmith.client import Client
from tunesmith.domain import utcnow
from tunesmith.domain.audit import AuditRecord, DeedHere
from tunesmith.errors import DatabaseUnavailable
from tunesmith.services.audit_log import AuditLog
from tunesmith.services.identity import add_user
from tunesmith.services.refusals import REFUSALS, Refusals
from tunesmith.services.tokens import issue
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.store.audit import AuditFilter

KEY = "a-key-of-twenty-characters"
ADMIN = {"X-API-Key": KEY}
EXPERIMENT = {"parameters": [{"name": "x", "minimum": 0, "maximum": 1}], "command_template_string": "run ${x} s3cret"}


@pytest.fixture
def app(settings: Settings, sqlite_store: Store) -> FastAPI:
    return build(settings.model_copy(update={"api_key": KEY}), store=sqlite_store)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, headers=ADMIN) as client:
        yield client


def records(store: Store, count: int, **which: Any) -> list[AuditRecord]:
    """The newest records, as soon as there are so many."""
    end = time.monotonic() + 5
    while True:
        with store.read() as tx:
            found = list(tx.audit(AuditFilter(**which)).items)
        if len(found) >= count:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)


def token_of(store: Store, name: str, workspace: str, role: Any) -> str:
    """A token of a new user with a role in a workspace, which is made if need be."""
    with store.write() as tx:
        known = {each.name: each.id for each in tx.workspaces()}
        there = known.get(workspace) or tx.create_workspace(workspace).id
        user = tx.create_user(there, name)
        tx.grant(there, f"user:{user.id}", role)
        return issue(tx, user, "test")[0]


def deed(**changes: Any) -> DeedHere:
    said = {"principal": "ada", "kind": "user", "action": "POST /jobs", "target": "/jobs", "address": "::1"}
    return DeedHere(at=utcnow(), workspace_id=None, status=200, **(said | changes))


class TestWhatIsRecorded:
    def test_who_did_what_when_from_where_and_what_came_of_it(self, api: TestClient, sqlite_store: Store) -> None:
        before = utcnow()
        made = api.post("/api/v1/experiments", json={"tool_name": "mine", **EXPERIMENT}).json()["id"]
        job = api.post(f"/api/v1/experiments/{made}/trials").json()
        second, first = records(sqlite_store, 2)
        assert (first.principal, first.kind, first.workspace) == ("api-key", "key", "main")
        assert (first.action, first.target) == ("POST /api/v1/experiments", "/api/v1/experiments")
        assert (first.status, first.address) == (201, "testclient")
        assert first.details == {"id": made, "name": "mine"}
        assert before - timedelta(milliseconds=1) <= first.at <= second.at <= utcnow()
        assert second.action == "POST /api/v1/experiments/{experiment_id}/trials"
        assert second.target == f"/api/v1/experiments/{made}/trials"
        assert second.details["job_id"] == job["job"]["job_id"]

    def test_neither_bodies_nor_queries_nor_credentials(self, api: TestClient, sqlite_store: Store) -> None:
        api.post("/api/v1/experiments", json={"tool_name": "mine", **EXPERIMENT})
        api.post("/api/v1/experiments?s3cret=1", json={"s3cret": 2}, headers={"Idempotency-Key": "s3cret"})
        api.get("/api/v1/jobs", headers={"X-API-Key": "s3cret s3cret s3cret s3cret"})
        api.post("/v1/auth/token", json={"username": "s3cret", "password": "s3cret s3cret"})
        assert "s3cret" not in str(records(sqlite_store, 4))

    def test_a_token_in_a_path_is_named_by_how_it_begins(self, api: TestClient, sqlite_store: Store) -> None:
        token = token_of(sqlite_store, "ada", "main", "editor")
        api.delete(f"/v1/auth/tokens/{token}")
        api.delete(f"/v1/auth/users/ada/tokens/{token}")
        shown = f"{token[:9]}***"
        assert [one.target for one in reversed(records(sqlite_store, 2))] == [
            f"/v1/auth/tokens/{shown}",
            f"/v1/auth/users/ada/tokens/{shown}",
        ]

    def test_reading_and_work_are_not_but_their_refusals_are(self, api: TestClient, sqlite_store: Store) -> None:
        made = api.post("/api/v1/experiments", json={"tool_name": "mine", **EXPERIMENT}).json()["id"]
        trial = api.post(f"/api/v1/experiments/{made}/ask").json()["trials"][0]
        told = {"token": trial["token"], "value": 1.0}
        assert api.post(f"/api/v1/experiments/{made}/trials/{trial['number']}/tell", json=told).status_code == 200
        assert api.get(f"/api/v1/experiments/{made}").status_code == 200
        told = {"token": "another one", "value": 1.0}
        assert api.post(f"/api/v1/experiments/{made}/trials/{trial['number']}/tell", json=told).status_code == 409
        assert api.get("/api/v1/jobs?limit=nothing").status_code == 400
        assert api.get("/api/v1/experiments/77").status_code == 404
        assert api.get("/api/v1/jobs", headers={"X-API-Key": "wrong"}).status_code == 401
        found = [(one.action.partition(" ")[0], one.status) for one in records(sqlite_store, 5)]
        assert found == [("GET", 401), ("GET", 404), ("GET", 400), ("POST", 409), ("POST", 201)]

    def test_a_refused_request_names_its_operation_and_why(self, api: TestClient, sqlite_store: Store) -> None:
        api.post("/api/v1/jobs/job-1/cancel", headers={"X-API-Key": "wrong"})
        api.get("/no%0awhere/%2e%2e", headers={"X-API-Key": "wrong"})
        nowhere, refused = records(sqlite_store, 2)
        assert refused.action == "POST /api/v1/jobs/{job_id}/cancel"
        assert refused.target == "/api/v1/jobs/job-1/cancel"
        assert (refused.principal, refused.details) == ("anonymous", {"code": "UNAUTHENTICATED"})
        assert (nowhere.action, nowhere.target) == ("GET other", "/no%0Awhere/..")

    def test_who_is_refused_all_the_time_does_not_fill_it(self, app: FastAPI, sqlite_store: Store) -> None:
        with TestClient(app) as first, TestClient(app, client=("10.0.0.1", 1)) as second:
            for _ in range(REFUSALS + 10):
                first.get("/api/v1/jobs")
            first.get("/api/v1/nothing", headers=ADMIN)
            second.get("/api/v1/jobs")
        found = records(sqlite_store, REFUSALS + 2)
        assert [(one.address, one.status) for one in found[:3]] == [
            ("10.0.0.1", 401), ("testclient", 404), ("testclient", 401)
        ]  # fmt: skip
        assert len(found) == REFUSALS + 2

    def test_later_it_says_how_many_were_left_out(self) -> None:
        refusals = Refusals(window_s=0.2)
        assert [refusals.count("a") for _ in range(REFUSALS + 5)] == [0] * REFUSALS + [None] * 5
        time.sleep(0.25)
        assert [refusals.count("a"), refusals.count("a"), refusals.count("b")] == [5, 0, 0]

    @pytest.mark.usefixtures("quick_hashes")
    def test_sign_ins_whether_or_not_they_work(self, api: TestClient, sqlite_store: Store) -> None:
        add_user(sqlite_store, "ada", "correct horse battery")
        for name, password in (("ben", "wrong, as it is none"), ("ada", "wrong"), ("ada", "correct horse battery")):
            api.post("/v1/auth/token", json={"username": name, "password": password})
        signed_in, wrong, nobody = records(sqlite_store, 3)
        assert (signed_in.principal, signed_in.kind, signed_in.status) == ("ada", "user", 200)
        assert (wrong.principal, wrong.status) == ("anonymous", 401)
        assert wrong.details == {"user": "ada", "code": "UNAUTHENTICATED"}
        assert nobody.details == {"code": "UNAUTHENTICATED"}


class TestWhoReadsIt:
    @pytest.fixture
    def both(self, api: TestClient, sqlite_store: Store) -> tuple[TestClient, str]:
        """Two workspaces with a record each, and the token of the other one's admin."""
        token = token_of(sqlite_store, "olga", "other", "admin")
        api.post("/api/v1/experiments", json={"tool_name": "mine", **EXPERIMENT})
        theirs = {"Authorization": f"Bearer {token}"}
        made = api.post("/api/v1/experiments", json={"tool_name": "theirs", **EXPERIMENT}, headers=theirs)
        assert made.status_code == 201, made.text
        records(sqlite_store, 2)
        del api.headers["X-API-Key"]
        return api, token

    def test_an_admin_sees_the_own_workspace_and_the_platforms_all(
        self, both: tuple[TestClient, str], sqlite_store: Store
    ) -> None:
        api, token = both
        own = api.get("/v1/audit", headers={"Authorization": f"Bearer {token}"}).json()["records"]
        assert [(one["principal"], one["workspace"]) for one in own] == [("olga", "other")]
        everything = api.get("/v1/audit", headers=ADMIN).json()["records"]
        assert {one["workspace"] for one in everything} == {"main", "other"}
        assert [one.principal for one in records(sqlite_store, 2, action="GET /v1/audit")] == ["api-key", "olga"]

    def test_filters_and_pages(self, both: tuple[TestClient, str], sqlite_store: Store) -> None:
        api, _ = both
        moment = records(sqlite_store, 1)[0].at.isoformat()

        def found(**params: Any) -> list[str]:
            answer = api.get("/v1/audit", headers=ADMIN, params={"action": "POST /api/v1/experiments", **params})
            return [one["principal"] for one in answer.json()["records"]]

        assert found() == ["olga", "api-key"]
        assert found(principal="olga") == ["olga"]
        assert found(principal="ol%") == []
        assert found(**{"from": moment}) == ["olga"]
        assert found(to=moment) == ["api-key"]
        page = api.get("/v1/audit", headers=ADMIN, params={"action": "POST /api/v1/experiments", "limit": 1}).json()
        assert found(cursor=page["next_cursor"]) == ["api-key"]
        assert api.get("/v1/audit", headers=ADMIN, params={"from": "0001-01-01T00:00:00+14:00"}).status_code == 400

    def test_lines_are_the_same_records_oldest_first(self, both: tuple[TestClient, str]) -> None:
        api, token = both
        mine = {"Authorization": f"Bearer {token}"}
        answer = api.get("/v1/audit.jsonl", headers=mine)
        assert answer.headers["content-type"] == "application/x-ndjson"
        (line,) = map(json.loads, answer.text.splitlines())
        assert line == api.get("/v1/audit", headers=mine, params={"principal": "olga"}).json()["records"][-1]
        assert (line["principal"], line["workspace"]) == ("olga", "other")

    def test_the_client(self, both: tuple[TestClient, str], app: FastAPI) -> None:
        _, token = both
        with TestClient(app) as served, Client(token=token, transport=served._transport) as client:  # type: ignore[arg-type]
            found = list(client.audit.list(action="POST /api/v1/experiments"))
            assert [one.principal for one in found] == ["olga"]
            lines = [json.loads(line) for line in client.audit.export(action="POST /api/v1/experiments")]
            assert [line["id"] for line in lines] == [found[0].id]


class TestTheLogItself:
    @pytest.mark.parametrize("change", ["UPDATE audit SET principal = 'eve'", "DELETE FROM audit"])
    def test_nobody_changes_it(self, store: Store, change: str) -> None:
        with store.write() as tx:
            tx.add_audit([deed()])
        with pytest.raises((DatabaseError, DatabaseUnavailable), match="only ever added to"), store.write() as tx:
            tx.connection.execute(text(change))
        assert [one.principal for one in records(store, 1)] == ["ada"]

    def test_what_the_database_does_not_take_is_kept_until_it_does(self, settings: Settings) -> None:
        store = open_store(settings.database)  # without its tables
        log = AuditLog(store)
        try:
            for number in range(3):
                log.add(deed(principal=f"p{number}"))
            log.close()
            store.upgrade()
            log.close()
            assert [one.principal for one in records(store, 3)] == ["p2", "p1", "p0"]
        finally:
            store.close()

    def test_no_record_is_lost_when_many_are_written(self, sqlite_store: Store) -> None:
        log = AuditLog(sqlite_store)
        for number in range(2500):
            log.add(deed(target=str(number)))
        log.close()
        with sqlite_store.read() as tx:
            assert tx.connection.scalar(text("SELECT count(*) FROM audit")) == 2500
