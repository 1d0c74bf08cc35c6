"""Workspaces over REST: another one's things answer 404 under every path, no list shows them, and nothing changes."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sessions_service import dataset

from serve_app.app import build
from tunesmith.domain import JobState
from tunesmith.domain.notification import NotificationState
from tunesmith.services import tokens
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.testing import finished_trial, model_run_contract, new_experiment, running_job, trained_model_contract
from tunesmith.testing.notification_contract import notification
from tunesmith.testing.session_factories import REGISTRY, new_scenario, new_session

KEY = "k" * 16
MISSED = {
    "experiment_id": "EXPERIMENT_NOT_FOUND",
    "session_id": "SESSION_NOT_FOUND",
    "job_id": "JOB_NOT_FOUND",
    "run_id": "RUN_NOT_FOUND",
    "id": "MODEL_NOT_FOUND",
    "notification_id": "NOTIFICATION_NOT_FOUND",
    "name": "SECRET_NOT_FOUND",
    "workspace": "WORKSPACE_NOT_FOUND",
}
"""The parameter of a path that names the thing -> the code of the answer that there is no such thing."""
OF_NO_WORKSPACE = re.compile(r"/v1/configs/|/v1/auth/(tokens|users|groups)/|/v1/auth/workspaces/{workspace}$")
"""Paths with the name of something that is in no workspace."""
MAKES_IT = {("PUT", "/api/v1/secrets/{name}")}
"""What makes a thing of the name that is in the path."""


@dataclass(frozen=True)
class Somebody:
    """Who is an admin of a workspace, and of no other one."""

    workspace: str
    store: Store
    headers: dict[str, str]


def somebody(store: Store) -> Somebody:
    name = f"somebody-{secrets.token_hex(4)}"
    with store.write() as tx:
        workspace = tx.create_workspace(f"of-{name}")
        user = tx.create_user(workspace.id, name)
        tx.grant(workspace.id, f"user:{user.id}", "admin")
        secret, _ = tokens.issue(tx, user, "test")
    return Somebody(workspace.name, store.scoped(workspace.id), {"Authorization": f"Bearer {secret}"})


@pytest.fixture(scope="module")
def store(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('workspaces') / 'x.db')}")
    yield store
    store.close()


@pytest.fixture(scope="module")
def api(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application for all, as it only tells what is there."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), api_key=KEY)
    with TestClient(build(settings, store=store, registry=REGISTRY)) as client:
        yield client


@pytest.fixture(scope="module")
def ada(store: Store) -> Somebody:
    return somebody(store)


@pytest.fixture(scope="module")
def ben(store: Store) -> Somebody:
    return somebody(store)


@pytest.fixture(scope="module")
def things(store: Store, ada: Somebody, api: TestClient) -> dict[str, Any]:
    """One of everything of Ada's: the parameter of a path -> what stands there; `training_id`: below /jobs."""
    experiment = new_experiment(ada.store)
    job = running_job(store, experiment)
    with store.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    session = new_session(ada.store)
    stored = api.post(f"/api/v1/sessions/{session.id}/data/from-json", json=dataset("data"), headers=ada.headers)
    assert stored.status_code < 300
    told = notification(secrets.randbelow(2**30), state=NotificationState.DEAD)
    with ada.store.write() as tx:
        tx.add_notifications([told], tx.workspace())
    assert api.put("/api/v1/secrets/HERS", json={"value": "a secret"}, headers=ada.headers).status_code < 300
    trained = api.post("/jobs", json=training("hers"), headers=ada.headers)
    return {
        "experiment_id": experiment.id,
        "number": 0,
        "job_id": job.id,
        "training_id": trained.json()["job_id"],
        "session_id": session.id,
        "scenario_id": new_scenario(ada.store, session).id,
        "key": "data",
        "run_id": model_run_contract.submit(ada.store).id,
        "id": trained_model_contract.train(ada.store).id,
        "notification_id": told.id,
        "name": "HERS",
        "workspace": ada.workspace,
        "subject": "user:ada",
        "model_id": "doubling",
    }


def training(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["true"], **more}


def operations(api: TestClient) -> list[tuple[str, str, Any]]:
    """Method, path and body of every operation of the document."""
    paths = api.get("/openapi.json", headers={"X-API-Key": KEY}).json()["paths"]
    return [
        (method.upper(), path, operation.get("requestBody", {}).get("content", {}))
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def ask(api: TestClient, who: Somebody, method: str, url: str, content: Any) -> Any:
    """Send the body that the document shows; where it shows none, one that grants something."""
    if "multipart/form-data" in content:
        files = {"files": ("goods.csv", b"sku,size\na,1\n")}
        return api.request(method, url, headers=who.headers, data={"dataset_name": "new"}, files=files)
    examples = content.get("application/json", {})
    shown = examples.get("example", next(iter(examples.get("examples", {}).values()), {}).get("value"))
    body = shown or ({"subjects": []} if "/models/" in url else {"role": "viewer"}) if content else None
    return api.request(method, url, headers=who.headers, json=body)


def url_of(path: str, things: dict[str, Any]) -> str:
    known = {**things, "job_id": things["training_id"]} if path.startswith("/jobs/") else things
    if "/algorithms/" in path:
        known = {**known, "name": "Pack"}
    return re.sub(r"{(\w+)}", lambda match: str(known[match[1]]), path)


def of_a_workspace(api: TestClient) -> list[tuple[str, str, Any]]:
    """The operations on something that is in a workspace; what removes things last, the outer ones after the inner."""
    found = [one for one in operations(api) if "{" in one[1] and not OF_NO_WORKSPACE.match(one[1])]
    return sorted((one for one in found if one[:2] not in MAKES_IT), key=lambda one: (one[0] == "DELETE", -len(one[1])))


def code_of(answer: Any) -> str | None:
    return answer.json()["code"] if answer.status_code >= 400 else None


def missed(path: str) -> str:
    """The code of the answer that there is not what a path names."""
    first = re.findall(r"{(\w+)}", path)[0]
    return "TRAINING_NOT_FOUND" if path.startswith("/jobs/") else MISSED[first]


class TestAnotherOnes:
    def test_things_answer_404_under_every_path_and_nothing_comes_of_it(
        self, api: TestClient, ada: Somebody, ben: Somebody, things: dict[str, Any]
    ) -> None:
        asked = of_a_workspace(api)
        assert len(asked) > 60
        shown = [one for one in asked if one[0] == "GET" and "/events" not in one[1]]
        before = {path: ask(api, ada, "GET", url_of(path, things), {}) for _, path, _ in shown}
        assert not [path for path, answer in before.items() if code_of(answer) == missed(path)]
        for method, path, content in asked:
            answer = ask(api, ben, method, url_of(path, things), content)
            assert (answer.status_code, code_of(answer)) == (404, missed(path)), f"{method} {path}: {answer.text}"
        for path, answer in before.items():
            assert ask(api, ada, "GET", url_of(path, things), {}).content == answer.content, path

    def test_things_are_in_no_list(self, api: TestClient, ada: Somebody, ben: Somebody, things: dict[str, Any]) -> None:
        marks = [str(things[name]) for name in things if name not in ("experiment_id", "number", "key", "model_id")]
        lists = [
            path for method, path, _ in operations(api) if method == "GET" and "{" not in path and "audit" not in path
        ]
        hers = {path: api.get(path, headers=ada.headers).text for path in lists}
        assert sum(any(mark in text for mark in marks) for text in hers.values()) >= 8
        for path in lists:
            text = api.get(path, headers=ben.headers).text
            assert not [mark for mark in marks if mark in text], path
        assert api.get("/api/v1/experiments", headers=ben.headers).json()["experiments"] == []
        assert api.get("/stats", headers=ben.headers).json() != api.get("/stats", headers=ada.headers).json()

    def test_the_workspace_itself_is_not_there(self, api: TestClient, ada: Somebody, ben: Somebody) -> None:
        for name in (ada.workspace, "main", "nowhere", "../main"):
            answer = api.get("/api/v1/experiments", headers={**ben.headers, "X-Workspace": name})
            assert (answer.status_code, code_of(answer)) == (404, "WORKSPACE_NOT_FOUND"), name
        assert api.get("/api/v1/experiments", headers={**ben.headers, "X-Workspace": ben.workspace}).status_code == 200

    def test_ids_in_bodies_lead_nowhere_either(self, api: TestClient, ben: Somebody, things: dict[str, Any]) -> None:
        body = {"experiment_id": things["experiment_id"], "tag": "stolen"}
        assert api.get("/api/v1/sessions", headers=ben.headers).status_code == 200
        answer = api.post("/api/v1/sessions/main/scenarios/from-trial", json=body, headers=ben.headers)
        assert (answer.status_code, code_of(answer)) == (404, "EXPERIMENT_NOT_FOUND")
        answer = api.post("/jobs", json=training("his", depends_on=["hers"]), headers=ben.headers)
        assert answer.status_code == 400
        assert "no training job is called" in answer.text


class TestEachOnes:
    def test_key_of_a_request_is_its_own(self, api: TestClient, ada: Somebody, ben: Somebody) -> None:
        sent = {"Idempotency-Key": "the same"}
        answers = [
            api.post("/api/v1/sessions", json={"display_name": "new"}, headers={**who.headers, **sent})
            for who in (ada, ben, ada, ben)
        ]
        assert ["Idempotency-Replayed" in answer.headers for answer in answers] == [False, False, True, True]
        assert answers[0].text == answers[2].text
        assert answers[1].text == answers[3].text

    def test_first_session_is_made_when_they_are_listed(self, api: TestClient, store: Store) -> None:
        first = {
            json.dumps(api.get("/api/v1/sessions", headers=who.headers).json(), sort_keys=True)
            for who in (somebody(store), somebody(store))
        }
        assert len(first) == 2
        assert all('"main"' in text for text in first)

    def test_token_works_in_every_workspace_of_its_user(
        self, api: TestClient, ada: Somebody, store: Store, things: dict[str, Any]
    ) -> None:
        cleo = somebody(store)
        path, there = f"/api/v1/experiments/{things['experiment_id']}", {"X-Workspace": ada.workspace}
        assert api.get(path, headers={**cleo.headers, **there}).status_code == 404
        with store.write() as tx:
            (user,) = [user for user in tx.users() if f"of-{user.name}" == cleo.workspace]
            tx.grant(tx.workspace_called(ada.workspace).id, f"user:{user.id}", "viewer")
        assert api.get(path, headers={**cleo.headers, **there}).status_code == 200
        assert api.get(path, headers=cleo.headers).status_code == 404
