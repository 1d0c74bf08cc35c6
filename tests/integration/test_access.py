"""Who may do what: every operation of the OpenAPI document, asked for by everybody; and which model runs one sees."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Route

from serve_app.access import ACCESS, OPEN, SOMEBODY, Need
from serve_app.app import build
from serve_app.guarding import guarded
from serve_app.identities import Identities
from serve_app.up import check_somebody
from tunesmith.domain import User
from tunesmith.domain.identity import ROLE_SCOPES, ROLES
from tunesmith.errors import InvalidSettings
from tunesmith.services import tokens
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store

KEY = "k" * 16
PEOPLE = ("anonymous", *ROLES, "platform", "key")
"""Nobody, somebody with each role in the workspace `lab`, an admin of `main`, and who holds the platform's key."""
WHO: dict[Need, tuple[str, ...]] = {
    "open": PEOPLE,
    "signed-in": PEOPLE[1:],
    "read": PEOPLE[1:],
    "run": PEOPLE[2:],
    "model": PEOPLE[2:],
    "write": PEOPLE[3:],
    "admin": PEOPLE[4:],
    "platform-read": PEOPLE[5:],
    "platform": PEOPLE[5:],
}
RUN = {"model_id": "linear_reg", "inputs": {"region": "NA", "year": 2024, "parameter_set": "baseline"}}
OTHER = {**RUN, "model_id": "xgb_forecast"}


class Everybody:
    """The service in which somebody with each role may ask."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.app = build(Settings(data_dir=folder, api_key=KEY), store=store)
        self.api = TestClient(self.app, raise_server_exceptions=False)
        with store.write() as tx:
            self.main = tx.default_workspace()
            self.lab = tx.create_workspace("lab").id
        self.users = {role: self.add(role, self.lab, role) for role in ROLES}
        self.users["platform"] = self.add("platform", self.main, "admin")
        self.headers = {name: self.token(user) for name, user in self.users.items()}
        self.headers |= {"anonymous": {}, "key": {"X-API-Key": KEY}}

    def add(self, name: str, workspace_id: str, role: Any = None, **columns: Any) -> User:
        """A user with a role."""
        with self.store.write() as tx:
            user = tx.create_user(workspace_id, name, **columns)
            if role is not None:
                tx.grant(workspace_id, f"user:{user.id}", role)
            return user

    def token(self, user: User, *scopes: str) -> dict[str, str]:
        """Headers with a new token of a user, for these scopes or for all."""
        with self.store.write() as tx:
            return {"Authorization": f"Bearer {tokens.issue(tx, user, 'test', scopes=scopes or None)[0]}"}

    def ask(self, method: str, path: str, headers: dict[str, str]) -> Any:
        """Ask for something, of things that are not there."""
        given = {} if method in ("GET", "DELETE") else {"content": b"", "headers": {"Content-Type": "application/json"}}
        filled = re.sub(r"\{(\w+)\}", lambda found: "7" if found[1] in NUMBERS else "user:none", path)
        return self.api.request(method, filled, **{**given, "headers": {**given.get("headers", {}), **headers}})


NUMBERS = ("experiment_id", "number")


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everybody]:
    folder = tmp_path_factory.mktemp("access")
    store = open_store(f"sqlite:///{folder / 'access.db'}")
    store.upgrade()
    everybody = Everybody(store, folder)
    with everybody.api:
        yield everybody
    store.close()


class TestTheTable:
    def test_each_operation_has_a_line_and_each_line_an_operation(self, all_of_them: Everybody) -> None:
        there = {
            (method, route.path)
            for route in all_of_them.app.router.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        }
        assert there == set(ACCESS)

    def test_the_document_says_the_same(self, all_of_them: Everybody) -> None:
        for path, operations in all_of_them.app.openapi()["paths"].items():
            for method, operation in operations.items():
                need = ACCESS[method.upper(), path]
                assert operation["x-scope"] == ("model:<model id>:run" if need == "model" else need)
                assert bool(operation["security"]) == (need != "open")
                assert {"401", "403"} <= operation["responses"].keys() or need == "open"

    def test_nothing_that_has_no_line_can_be_served(self, all_of_them: Everybody) -> None:
        router = APIRouter()
        router.add_api_route("/secret", lambda: None)
        assert isinstance(router.routes[0], APIRoute)
        with pytest.raises(InvalidSettings, match="GET /secret"):
            guarded(router.routes[0], Identities(all_of_them.store))

    def test_what_is_open_has_no_parameter(self) -> None:
        assert not [path for path in OPEN if "{" in path]
        assert set(ACCESS) >= SOMEBODY
        assert set(WHO) == set(get_args(Need))


def test_everybody_gets_exactly_what_the_table_says(all_of_them: Everybody) -> None:
    wrong = []
    for (method, path), name in itertools.product(ACCESS, PEOPLE):
        status = all_of_them.ask(method, path, all_of_them.headers[name]).status_code
        refused = 401 if name == "anonymous" else 403
        allowed = name in WHO[ACCESS[method, path]]
        if (status in (401, 403) or status >= 500) if allowed and path not in OPEN else (status != refused) != allowed:
            wrong.append((name, method, path, status))
    assert not wrong


class TestRefusals:
    def test_a_refusal_names_the_scope_the_role_and_who_can_help(self, all_of_them: Everybody) -> None:
        refused = all_of_them.ask("POST", "/jobs", all_of_them.headers["runner"]).json()
        assert refused["code"] == "FORBIDDEN"
        assert refused["details"] == {"scope": "write", "role": "runner", "workspace": "lab"}
        for word in ("'write'", "'lab'", "'editor'", "runner", "admin"):
            assert word in refused["detail"]

    @pytest.mark.parametrize("scopes", [("read",), ("read", "run"), ("admin",)])
    def test_a_token_does_no_more_than_its_scopes(self, all_of_them: Everybody, scopes: tuple[str, ...]) -> None:
        headers = all_of_them.token(all_of_them.users["admin"], *scopes)
        asked = {
            "read": ("GET", "/stats"),
            "run": ("POST", "/api/v1/jobs/none/cancel"),
            "write": ("POST", "/jobs"),
            "admin": ("GET", "/v1/auth/workspaces/lab/grants"),
        }
        for scope, operation in asked.items():
            assert (all_of_them.ask(*operation, headers).status_code == 403) == (scope not in scopes), scope
        assert "token" in all_of_them.ask("DELETE", "/jobs/none", headers).json()["detail"]

    def test_a_token_gives_no_more_than_its_users_role(self, all_of_them: Everybody) -> None:
        headers = all_of_them.token(all_of_them.users["viewer"], *ROLE_SCOPES["admin"])
        assert all_of_them.ask("GET", "/stats", headers).status_code == 200
        assert all_of_them.ask("POST", "/jobs", headers).status_code == 403

    def test_a_workspace_without_a_role_is_none(self, all_of_them: Everybody) -> None:
        for workspace in ("main", "nowhere", "lab'; --", ""):
            answer = all_of_them.ask("GET", "/stats", {**all_of_them.headers["admin"], "X-Workspace": workspace})
            assert answer.status_code == (404 if workspace else 200), workspace
            assert workspace == "" or answer.json()["code"] == "WORKSPACE_NOT_FOUND"

    def test_a_user_without_a_role_may_see_who_that_is_and_nothing_else(self, all_of_them: Everybody) -> None:
        headers = all_of_them.token(all_of_them.add("nobody", all_of_them.lab))
        assert all_of_them.ask("GET", "/v1/auth/me", headers).status_code == 200
        answer = all_of_them.ask("GET", "/stats", headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "WORKSPACE_NOT_FOUND")

    def test_a_group_gives_its_members_its_role(self, all_of_them: Everybody) -> None:
        member = all_of_them.add("member", all_of_them.main)
        with all_of_them.store.write() as tx:
            group = tx.create_group("analysts")
            tx.add_member(group.id, member.id)
            tx.grant(all_of_them.lab, f"group:{group.id}", "runner")
        headers = {**all_of_them.token(member), "X-Workspace": "lab"}
        assert all_of_them.ask("POST", "/api/v1/jobs/none/cancel", headers).status_code == 404
        assert all_of_them.ask("POST", "/jobs", headers).status_code == 403

    def test_what_is_of_all_workspaces_needs_a_role_in_main_and_no_header(self, all_of_them: Everybody) -> None:
        operator = all_of_them.add("operator", all_of_them.lab, "viewer")
        refused = all_of_them.ask("GET", "/metrics", all_of_them.token(operator))
        assert (refused.status_code, refused.json()["details"]["scope"]) == (403, "read")
        assert "'main'" in refused.json()["detail"]
        with all_of_them.store.write() as tx:
            tx.grant(all_of_them.main, f"user:{operator.id}", "viewer")
        assert all_of_them.ask("GET", "/metrics", all_of_them.token(operator)).status_code == 200
        assert all_of_them.ask("GET", "/metrics", all_of_them.token(operator, "run")).status_code == 403
        assert all_of_them.ask("GET", "/metrics", {"X-API-Key": KEY, "X-Workspace": "lab"}).status_code == 200

    def test_the_key_works_in_every_workspace(self, all_of_them: Everybody) -> None:
        for workspace, status in (("lab", 200), ("main", 200), ("nowhere", 404)):
            assert all_of_them.ask("GET", "/stats", {"X-API-Key": KEY, "X-Workspace": workspace}).status_code == status

    def test_what_a_browser_holds_is_no_bearer_token(self, all_of_them: Everybody) -> None:
        with all_of_them.store.write() as tx:
            secret, _ = tokens.issue(tx, all_of_them.users["admin"], "browser", kind="cookie")
        assert all_of_them.ask("GET", "/stats", {"Authorization": f"Bearer {secret}"}).status_code == 401


class TestModels:
    def submit(self, everybody: Everybody, headers: dict[str, str], body: dict[str, Any]) -> Any:
        return everybody.api.post("/api/runs", json=body, headers=headers)

    def listed(self, everybody: Everybody, headers: dict[str, str]) -> list[str]:
        return [model["id"] for model in everybody.api.get("/api/models", headers=headers).json()["models"]]

    def test_a_token_for_one_model_runs_that_one(self, all_of_them: Everybody) -> None:
        headers = all_of_them.token(all_of_them.users["runner"], "read", "model:linear_reg:run")
        assert self.listed(all_of_them, headers) == ["linear_reg"]
        made = self.submit(all_of_them, headers, RUN)
        assert made.status_code == 201
        refused = self.submit(all_of_them, headers, OTHER)
        assert (refused.status_code, refused.json()["details"]["scope"]) == (403, "model:xgb_forecast:run")
        assert all_of_them.ask("POST", "/api/v1/jobs/none/cancel", headers).status_code == 403
        foreign = self.submit(all_of_them, all_of_them.headers["runner"], OTHER).json()["run_id"]
        assert all_of_them.api.post(f"/api/runs/{foreign}/cancel", headers=headers).status_code == 403
        assert all_of_them.api.post(f"/api/runs/{made.json()['run_id']}/cancel", headers=headers).status_code == 202

    def test_a_model_that_is_granted_to_some_is_for_them_and_admins(self, all_of_them: Everybody) -> None:
        chosen = all_of_them.add("chosen", all_of_them.lab, "runner")
        with all_of_them.store.write() as tx:
            tx.set_model_grants(all_of_them.lab, "simulator", [f"user:{chosen.id}"])
        body = {**RUN, "model_id": "simulator"}
        run_id = self.submit(all_of_them, all_of_them.token(chosen), body).json()["run_id"]
        for headers, sees in (
            (all_of_them.token(chosen), True),
            *((all_of_them.headers[who], who == "admin") for who in ROLES),
        ):
            assert ("simulator" in self.listed(all_of_them, headers)) == sees
            assert all_of_them.api.get(f"/api/runs/{run_id}", headers=headers).status_code == (200 if sees else 404)
            runs = all_of_them.api.get("/api/runs?model_id=simulator", headers=headers).json()["runs"]
            assert bool(runs) == sees
        assert self.submit(all_of_them, all_of_them.headers["editor"], body).status_code == 403
        assert (
            self.submit(all_of_them, all_of_them.headers["platform"], body).status_code == 201
        )  # in main, where it is open

    def test_somebody_with_a_region_has_to_do_with_its_runs_alone(self, all_of_them: Everybody) -> None:
        regional = all_of_them.token(
            all_of_them.add("regional", all_of_them.lab, "editor", attributes={"region": ("EU",)})
        )
        american = self.submit(all_of_them, all_of_them.headers["runner"], RUN).json()["run_id"]
        refused = self.submit(all_of_them, regional, RUN)
        assert (refused.status_code, refused.json()["details"]["field"]) == (403, "region")
        own = self.submit(all_of_them, regional, {**RUN, "inputs": {**RUN["inputs"], "region": "EU"}})  # type: ignore[dict-item]
        assert own.status_code == 201
        seen = all_of_them.api.get("/api/runs", headers=regional).json()["runs"]
        assert {run["inputs"]["region"] for run in seen} == {"EU"}
        for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/results"), ("POST", "/cancel")):
            answer = all_of_them.api.request(method, f"/api/runs/{american}{path}", headers=regional)
            assert answer.status_code == 404
        for path in ("/api/v1/jobs", "/api/v1/experiments"):  # where a run's inputs are shown too
            assert all_of_them.ask("GET", path, regional).status_code == 403


class TestStarting:
    def test_prod_needs_somebody_who_may_sign_in(self, sqlite_store: Store) -> None:
        with pytest.raises(InvalidSettings, match="TUNESMITH_ADMIN_PASSWORD"):
            check_somebody(Settings(mode="prod"), sqlite_store)
        check_somebody(Settings(mode="prod", api_key=KEY), sqlite_store)
        check_somebody(Settings(), sqlite_store)
        with sqlite_store.write() as tx:
            tx.create_user(tx.default_workspace(), "ada")
        check_somebody(Settings(mode="prod"), sqlite_store)
