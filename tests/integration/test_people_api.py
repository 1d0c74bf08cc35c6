"""Users, groups, workspaces and tokens over REST: made, changed, and what they let do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hashes import QUICK, hashing

from serve_app.app import build
from serve_app.identities import Identities
from tunesmith.client import Client
from tunesmith.errors import Forbidden, InvalidParameter, TokenNotFound, UserNotFound, WorkspaceNotFound
from tunesmith.services import identity, tokens
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.testing.grant_contract import new_workspace

KEY, PASSWORD = "k" * 16, "correct horse battery"
AUTH = "/v1/auth"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('people')}/tunesmith.db")
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def api(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patched, hashing(QUICK):
        patched.setattr(Identities.__init__, "__defaults__", (0.0,))  # every request sees what the last one changed
        app = build(Settings(data_dir=tmp_path_factory.mktemp("data"), api_key=KEY), store=store)
        with TestClient(app) as client:
            yield client


@pytest.fixture(scope="module")
def admin(store: Store, api: TestClient) -> dict[str, str]:
    """The headers of an admin of the platform."""
    return _token(store, "root", "admin")


@pytest.fixture
def ada(store: Store, api: TestClient, request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """The name and the headers of somebody who works in `main`, another one in each test."""
    name = f"ada-{abs(hash(request.node.nodeid))}"
    return name, _token(store, name, "editor")


def _token(store: Store, name: str, role: Any) -> dict[str, str]:
    user = identity.add_user(store, name, None, role=role)
    with store.write() as tx:
        return {"Authorization": f"Bearer {tokens.issue(tx, user, 'test')[0]}"}


def ok(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def refused(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["code"])


def test_a_user_is_added_signs_in_changes_and_goes(api: TestClient, admin: dict[str, str]) -> None:
    body = {"name": "grace", "password": PASSWORD, "email": "grace@example.com", "attributes": {"region": ["NA"]}}
    made = ok(api.post(f"{AUTH}/users", json=body, headers={**admin, "Idempotency-Key": "grace"}), 201)
    again = api.post(f"{AUTH}/users", json=body, headers={**admin, "Idempotency-Key": "grace"})
    assert (ok(again, 201), again.headers["idempotency-replayed"]) == (made, "true")
    assert (made["roles"], made["attributes"], made["disabled"]) == ({"main": "editor"}, {"region": ["NA"]}, False)
    assert made in ok(api.get(f"{AUTH}/users", headers=admin))["users"]
    assert refused(api.post(f"{AUTH}/users", json=body, headers=admin), 409) == "NAME_TAKEN"
    given = {"username": "grace", "password": PASSWORD}
    grace = {"Authorization": f"Bearer {ok(api.post(f'{AUTH}/token', json=given))['access_token']}"}
    me = ok(api.get(f"{AUTH}/me", headers=grace))
    assert (me["name"], me["role"], me["scopes"]) == ("grace", "editor", ["read", "run", "write"])
    assert (me["workspaces"], me["attributes"]) == ({"main": "editor"}, {"region": ["NA"]})
    assert (me["platform_admin"], me["csrf_token"]) == (False, None)
    changed = ok(api.patch(f"{AUTH}/users/grace", json={"attributes": {}, "email": None}, headers=admin))
    assert (changed["attributes"], changed["email"]) == ({}, None)
    ok(api.patch(f"{AUTH}/users/grace", json={"password": "another one, longer"}, headers=admin))
    refused(api.get(f"{AUTH}/me", headers=grace), 401)
    refused(api.post(f"{AUTH}/token", json=given), 401)
    ok(api.delete(f"{AUTH}/users/grace", headers=admin), 204)
    refused(api.delete(f"{AUTH}/users/grace", headers=admin), 404)
    assert ok(api.post(f"{AUTH}/users", json={**body, "role": "viewer"}, headers=admin), 201)["roles"] == {
        "main": "viewer"
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "robot-1", "kind": "service", "password": PASSWORD}, 400),
        ({"name": "a b", "password": PASSWORD}, 400),
        ({"name": "henry", "password": "short"}, 400),
        ({"name": "henry", "password": PASSWORD, "role": "king"}, 400),
        ({"name": "henry", "password": PASSWORD, "workspace": "nowhere"}, 404),
        ({"name": "henry", "password": PASSWORD, "more": PASSWORD}, 400),
    ],
)
def test_what_is_no_user_is_refused_and_no_password_quoted(
    api: TestClient, admin: dict[str, str], body: dict[str, Any], status: int
) -> None:
    answer = api.post(f"{AUTH}/users", json=body, headers=admin)
    refused(answer, status)
    assert "horse" not in answer.text


def test_a_token_with_scopes_makes_no_wider_one_by_any_way(
    api: TestClient, admin: dict[str, str], store: Store
) -> None:
    made = ok(api.post(f"{AUTH}/tokens", json={"name": "narrow", "scopes": ["admin"]}, headers=admin), 201)
    cut = {"Authorization": f"Bearer {made['access_token']}"}
    service = {"name": "robot-of-a-narrow-token", "kind": "service", "role": "admin"}
    assert refused(api.post(f"{AUTH}/users", json=service, headers=cut), 403) == "FORBIDDEN"
    assert refused(api.patch(f"{AUTH}/users/root", json={"password": PASSWORD}, headers=cut), 403) == "FORBIDDEN"
    assert refused(api.post(f"{AUTH}/users/root/tokens", json={"name": "x"}, headers=cut), 403) == "FORBIDDEN"
    assert refused(api.delete(f"{AUTH}/tokens/{made['token']['id']}", headers=cut), 403) == "FORBIDDEN"


def test_the_last_admin_stays(api: TestClient, admin: dict[str, str], store: Store) -> None:
    main = f"{AUTH}/workspaces/main/grants"
    assert refused(api.delete(f"{main}/user:root", headers=admin), 409) == "LAST_ADMIN"
    assert refused(api.put(f"{main}/user:root", json={"role": "viewer"}, headers=admin), 409) == "LAST_ADMIN"
    assert refused(api.delete(f"{AUTH}/users/root", headers=admin), 409) == "LAST_ADMIN"
    ok(api.get(f"{AUTH}/users", headers=admin))
    ok(api.post(f"{AUTH}/groups", json={"name": "keepers"}, headers=admin), 201)
    ok(api.put(f"{AUTH}/groups/keepers/members/root", headers=admin))
    ok(api.put(f"{main}/group:keepers", json={"role": "admin"}, headers=admin))
    ok(api.delete(f"{main}/user:root", headers=admin), 204)
    assert refused(api.delete(f"{AUTH}/groups/keepers/members/root", headers=admin), 409) == "LAST_ADMIN"
    assert refused(api.delete(f"{AUTH}/groups/keepers", headers=admin), 409) == "LAST_ADMIN"
    ok(api.put(f"{main}/user:root", json={"role": "admin"}, headers=admin))
    ok(api.delete(f"{AUTH}/groups/keepers", headers=admin), 204)


def test_a_token_does_what_its_scopes_say_and_no_more(
    api: TestClient, ada: tuple[str, dict[str, str]], admin: dict[str, str]
) -> None:
    name, headers = ada
    body = {"name": "reader", "scopes": ["read", "admin"], "expires_in_days": 1}
    made = ok(api.post(f"{AUTH}/tokens", json=body, headers=headers), 201)
    cut = {"Authorization": f"Bearer {made['access_token']}"}
    me = ok(api.get(f"{AUTH}/me", headers=cut))
    assert (me["name"], me["role"], me["scopes"]) == (name, "editor", ["read"])
    ok(api.get("/api/v1/experiments", headers=cut))
    refused(api.post("/api/v1/experiments", json={}, headers=cut), 403)
    assert refused(api.post(f"{AUTH}/tokens", json=body, headers=cut), 403) == "FORBIDDEN"
    assert refused(api.get(f"{AUTH}/users", headers=cut), 403) == "FORBIDDEN"
    listed = ok(api.get(f"{AUTH}/tokens", headers=headers))["tokens"]
    kept = next(token for token in listed if token["id"] == made["token"]["id"])
    assert (kept["name"], kept["scopes"], kept["kind"]) == ("reader", ["read", "admin"], "token")
    assert made["access_token"].startswith(kept["prefix"])
    assert made["access_token"] not in str(listed)
    assert listed == ok(api.get(f"{AUTH}/users/{name}/tokens", headers=admin))["tokens"]
    ok(api.delete(f"{AUTH}/tokens/{kept['prefix']}", headers=headers), 204)
    refused(api.get(f"{AUTH}/me", headers=cut), 401)
    assert refused(api.delete(f"{AUTH}/tokens/{kept['id']}", headers=headers), 404) == "TOKEN_NOT_FOUND"
    wrong = api.post(f"{AUTH}/tokens", json={"name": "x", "scopes": ["everything"]}, headers=headers)
    assert refused(wrong, 400) == "INVALID_PARAMETER"


def test_nobody_touches_somebody_elses_tokens(
    api: TestClient, ada: tuple[str, dict[str, str]], admin: dict[str, str]
) -> None:
    theirs = ok(api.get(f"{AUTH}/tokens", headers=admin))["tokens"][0]["id"]
    refused(api.delete(f"{AUTH}/tokens/{theirs}", headers=ada[1]), 404)
    ok(api.get(f"{AUTH}/me", headers=admin))


def test_a_program_is_given_tokens_and_a_person_is_not(api: TestClient, admin: dict[str, str]) -> None:
    ok(api.post(f"{AUTH}/users", json={"name": "robot", "kind": "service", "role": "runner"}, headers=admin), 201)
    made = ok(api.post(f"{AUTH}/users/robot/tokens", json={"name": "nightly"}, headers=admin), 201)
    robot = {"Authorization": f"Bearer {made['access_token']}"}
    me = ok(api.get(f"{AUTH}/me", headers=robot))
    assert (me["name"], me["kind"], me["role"]) == ("robot", "service", "runner")
    ok(api.delete(f"{AUTH}/users/robot/tokens/{made['token']['id']}", headers=admin), 204)
    refused(api.get(f"{AUTH}/me", headers=robot), 401)
    ok(api.post(f"{AUTH}/users", json={"name": "ida", "password": PASSWORD}, headers=admin), 201)
    refused(api.post(f"{AUTH}/users/ida/tokens", json={"name": "nightly"}, headers=admin), 409)


def test_a_groups_roles_are_its_members(
    api: TestClient, store: Store, ada: tuple[str, dict[str, str]], admin: dict[str, str]
) -> None:
    name, headers = ada
    lab = {**headers, "X-Workspace": new_workspace(store, f"lab-of-{name}").name}
    workspace = f"{AUTH}/workspaces/{lab['X-Workspace']}"
    made = ok(api.post(f"{AUTH}/groups", json={"name": "chemists"}, headers=admin), 201)
    assert made["members"] == []
    assert refused(api.post(f"{AUTH}/groups", json={"name": "chemists"}, headers=admin), 409) == "NAME_TAKEN"
    grant = ok(api.put(f"{workspace}/grants/group:chemists", json={"role": "viewer"}, headers=admin))
    assert ok(api.get(f"{workspace}/grants", headers=admin))["grants"] == [grant]
    assert refused(api.get("/api/v1/experiments", headers=lab), 404) == "WORKSPACE_NOT_FOUND"
    assert ok(api.put(f"{AUTH}/groups/chemists/members/{name}", headers=admin))["members"] == [name]
    ok(api.get("/api/v1/experiments", headers=lab))
    assert ok(api.get(f"{AUTH}/me", headers=lab))["role"] == "viewer"
    mine = ok(api.get(f"{AUTH}/workspaces", headers=headers))["workspaces"]
    assert {each["name"] for each in mine} == {"main", lab["X-Workspace"]}
    assert ok(api.delete(f"{AUTH}/groups/chemists/members/{name}", headers=admin))["members"] == []
    refused(api.get("/api/v1/experiments", headers=lab), 404)
    ok(api.delete(f"{AUTH}/groups/chemists", headers=admin), 204)
    assert ok(api.get(f"{workspace}/grants", headers=admin))["grants"] == []
    assert refused(api.get(f"{AUTH}/groups/chemists", headers=admin), 405) == "METHOD_NOT_ALLOWED"


def test_a_workspaces_admin_governs_it_and_no_other(
    api: TestClient, ada: tuple[str, dict[str, str]], admin: dict[str, str]
) -> None:
    name, headers = ada
    quotas = {"trials": 1000, "running_jobs": None, "storage_bytes": None}
    body = {"name": f"of-{name}", "quotas": quotas}
    made = ok(api.post(f"{AUTH}/workspaces", json=body, headers=admin), 201)
    assert made["quotas"] == quotas
    here, own = {**headers, "X-Workspace": made["name"]}, f"{AUTH}/workspaces/{made['name']}"
    assert [grant["subject"] for grant in ok(api.get(f"{own}/grants", headers=admin))["grants"]] == ["user:root"]
    refused(api.get(f"{own}/grants", headers=here), 404)
    ok(api.put(f"{own}/grants/user:{name}", json={"role": "admin"}, headers=admin))
    ok(api.put(f"{own}/grants/user:root", json={"role": "viewer"}, headers=here))
    ok(api.delete(f"{own}/grants/user:root", headers=here), 204)
    refused(api.delete(f"{own}/grants/user:root", headers=here), 404)
    for path in ("grants", "models"):
        refused(api.get(f"{own}/{path}", headers=headers), 403)
        refused(api.get(f"{AUTH}/workspaces/main/{path}", headers=here), 404)
    refused(api.put(f"{AUTH}/workspaces/main/grants/user:{name}", json={"role": "admin"}, headers=here), 404)
    refused(api.patch(own, json={"quotas": {}}, headers=here), 403)
    assert ok(api.patch(own, json={"quotas": {"running_jobs": 2}}, headers=admin))["quotas"]["running_jobs"] == 2
    assert refused(api.put(f"{own}/grants/user:nobody", json={"role": "viewer"}, headers=here), 404) == "USER_NOT_FOUND"
    refused(api.put(f"{own}/grants/somebody", json={"role": "viewer"}, headers=here), 400)


def test_it_is_said_who_may_run_a_model(api: TestClient, admin: dict[str, str]) -> None:
    models = f"{AUTH}/workspaces/main/models"
    given = ok(api.put(f"{models}/linear_reg", json={"subjects": ["user:root", "user:root"]}, headers=admin))
    assert given == ok(api.get(models, headers=admin)) == {"models": {"linear_reg": ["user:root"]}}
    assert refused(api.put(f"{models}/nothing", json={"subjects": ["user:root"]}, headers=admin), 404) == (
        "MODEL_NOT_FOUND"
    )
    assert ok(api.put(f"{models}/linear_reg", json={"subjects": []}, headers=admin))["models"] == {"linear_reg": []}
    assert ok(api.get(models, headers=admin)) == {"models": {}}


def test_a_client_knows_who_it_is_and_makes_tokens(
    api: TestClient, store: Store, ada: tuple[str, dict[str, str]]
) -> None:
    name, headers = ada
    token = headers["Authorization"].removeprefix("Bearer ")
    with Client("http://localhost", token, api._transport) as client:
        assert client.me().name == name
        made = client.tokens.create("notebook", ["read"], expires_in_days=None)
        assert made.expires_at is None
        assert made.token in client.tokens.list()
        with pytest.raises(InvalidParameter):
            client.tokens.create("notebook", ["everything"])
        with Client("http://localhost", made.access_token, api._transport) as cut, pytest.raises(Forbidden):
            cut.tokens.create("another")
        client.tokens.revoke(made.token.prefix)
        with pytest.raises(TokenNotFound):
            client.tokens.revoke(made.token.prefix)
    lost = Client("http://localhost", token, api._transport, workspace="nowhere")
    with lost, pytest.raises(WorkspaceNotFound):
        lost.me()
    with Client("http://localhost", KEY, api._transport) as operator:
        me = operator.me()
        assert (me.name, me.kind, me.role, me.platform_admin) == ("api-key", "key", "admin", True)
        assert operator.tokens.list() == ()
        with pytest.raises(UserNotFound):
            operator.tokens.create("mine")
