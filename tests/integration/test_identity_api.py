"""Who asks, over REST: signing in, and what a key, a token and nothing are accepted for."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from hashes import quick_hashes  # noqa: F401

from serve_app import auth
from serve_app.app import build
from serve_app.identities import Identities
from serve_app.routes.identity import ADDRESS_RATE, NAME_RATE
from tunesmith.domain import User
from tunesmith.services import identity, tokens
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.tables import idempotency_keys

pytestmark = pytest.mark.usefixtures("quick_hashes")
KEY, PASSWORD = "k" * 16, "correct horse battery"
EVERYWHERE = ["/api/v1/experiments", "/jobs", "/stats", "/api/runs", "/api/v1/sessions", "/metrics", "/api/v1/samplers"]
"""Something of every surface."""
Make = Callable[..., TestClient]


@pytest.fixture
def make(sqlite_store: Store, tmp_path: Path) -> Iterator[Make]:
    """Builds the service with these settings."""
    with_clients: list[TestClient] = []

    def made(**settings: Any) -> TestClient:
        app = build(Settings(data_dir=tmp_path, **settings), store=sqlite_store)

        @app.get("/v1/anybody", include_in_schema=False)
        async def anybody(request: Request) -> str:
            return auth.who(request)

        client = TestClient(app)
        client.__enter__()
        with_clients.append(client)
        return client

    yield made
    for client in with_clients:
        client.__exit__(None, None, None)


@pytest.fixture
def ada(sqlite_store: Store) -> User:
    return identity.add_user(sqlite_store, "ada", PASSWORD)


def sign_in(api: TestClient, username: str = "ada", password: str = PASSWORD, **headers: str) -> Any:
    return api.post("/v1/auth/token", json={"username": username, "password": password}, headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(store: Store, user: User) -> str:
    with store.write() as tx:
        return tokens.issue(tx, user, "test")[0]


@pytest.mark.usefixtures("ada")
class TestSigningIn:
    def test_the_password_gives_a_token_that_is_kept_by_nobody_on_the_way(self, make: Make) -> None:
        api = make(api_key=KEY)
        answer = sign_in(api)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert sorted(body) == ["access_token", "expires_at", "token_type"]
        assert body["token_type"] == "bearer"
        assert api.get("/v1/anybody", headers=bearer(body["access_token"])).json() == "ada"

    def test_an_idempotency_key_keeps_no_token(self, make: Make, sqlite_store: Store) -> None:
        api = make()
        given = [sign_in(api, **{"Idempotency-Key": "one"}).json()["access_token"] for _ in range(2)]
        assert given[0] != given[1]
        with sqlite_store.read() as tx:
            assert tx.connection.execute(idempotency_keys.select()).first() is None

    def test_who_is_not_known_is_told_the_same_as_who_is(self, make: Make) -> None:
        api = make()
        answers = [sign_in(api, "ada", "wrong"), sign_in(api, "nobody", "wrong")]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["www-authenticate"] == "Bearer"
        assert answers[0].json()["code"] == "UNAUTHENTICATED"

    @pytest.mark.parametrize(
        "body",
        [
            {"username": "ada"},
            {"username": "ada", "password": ["hunter2-hunter2"]},
            {"username": "ada", "pasword": "hunter2-hunter2"},
            {"username": "ada", "password": "hunter2-hunter2", "more": "hunter2-hunter2"},
            {"username": "", "password": "hunter2-hunter2"},
            {"username": 7, "password": "hunter2-hunter2"},
            {"username": "ada", "password": ""},
            {"username": "ada", "password": "hunter2-hunter2" * 100},
            {"username": "a\0da", "password": "hunter2-hunter2\0"},
            "hunter2-hunter2",
            ["hunter2-hunter2"],
            None,
        ],
    )
    def test_what_is_malformed_is_refused_and_not_quoted(
        self, make: Make, body: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            answer = make().post("/v1/auth/token", json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == "INVALID_BODY"
        assert "hunter2" not in answer.text
        assert "hunter2" not in caplog.text

    def test_neither_password_nor_token_is_logged(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        api = make()
        with caplog.at_level(logging.DEBUG):
            token = sign_in(api).json()["access_token"]
            sign_in(api, "ada", "hunter2-hunter2")
            api.get("/stats", headers=bearer(token))
            api.get("/v1/anybody", headers=bearer(token + "x"))
        assert not [secret for secret in (PASSWORD, "hunter2", token) if secret in caplog.text]

    def test_it_is_refused_after_too_many_failures_under_a_name(self, make: Make) -> None:
        api, allowed = make(), int(NAME_RATE.partition("/")[0])
        assert sign_in(api).status_code == 200
        for _ in range(allowed):
            assert sign_in(api, "ada", "wrong").status_code == 401
        refused = sign_in(api)  # the right password does not help now
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert "ada" not in refused.text
        assert sign_in(api, "ben").status_code == 401

    def test_it_is_refused_after_too_many_failures_from_an_address(self, make: Make) -> None:
        api, allowed = make(), int(ADDRESS_RATE.partition("/")[0])
        for number in range(allowed):
            assert sign_in(api, f"user-{number}", "wrong").status_code == 401
        assert sign_in(api).status_code == 429

    def test_those_who_get_it_right_are_never_refused(self, make: Make) -> None:
        api = make()
        assert {sign_in(api).status_code for _ in range(int(NAME_RATE.partition("/")[0]) + 2)} == {200}


class TestAcceptance:
    @pytest.mark.parametrize("settings", [{}, {"api_key": KEY}, {"api_key": KEY, "mode": "prod"}])
    @pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
    def test_a_token_is_accepted_wherever_the_key_is(
        self, make: Make, sqlite_store: Store, ada: User, settings: dict[str, Any], header: str
    ) -> None:
        api, token = make(**settings), token_of(sqlite_store, ada)
        headers = {header: f"Bearer {token}" if header == "Authorization" else token}
        assert {api.get(path, headers=headers).status_code for path in EVERYWHERE} == {200}
        assert api.get("/v1/anybody", headers=headers).json() == "ada"

    def test_with_a_key_nobody_comes_in_without_one(self, make: Make, sqlite_store: Store, ada: User) -> None:
        api, token = make(api_key=KEY), token_of(sqlite_store, ada)
        others = [
            {},
            {"Authorization": f"Basic {token}"},
            {"X-API-Key": ""},
            *map(bearer, ("", "x", KEY + "x", KEY[:-1], token[:-1], token + "x", token.swapcase(), token[3:], "ts_")),
        ]
        for path in [
            *EVERYWHERE,
            "/v1/anybody",
            "/v1/nothing",
            "/docs",
            "/openapi.json",
            "/v1/auth/token/",
            "/v1/auth",
        ]:
            for headers in others:
                refused = api.get(path, headers=headers)
                assert refused.status_code == 401, (path, headers)
                assert refused.headers["www-authenticate"] == "Bearer"
                assert refused.json()["code"] == "UNAUTHENTICATED"
                assert token[10:-1] not in refused.text
            assert api.get(path, headers=bearer(KEY)).status_code in (200, 404)
        assert api.get("/v1/anybody", headers=bearer(KEY)).json() == "api-key"
        for path in ("/health", "/ready"):
            assert api.get(path, headers=bearer("wrong")).status_code in (200, 503)

    def test_without_a_key_prod_is_not_open(self, make: Make, sqlite_store: Store, ada: User) -> None:
        api = make(mode="prod")
        assert api.get("/stats").status_code == 401
        assert api.get("/stats", headers=bearer(token_of(sqlite_store, ada))).status_code == 200

    def test_dev_is_open_but_for_what_says_that_it_is_not(self, make: Make, sqlite_store: Store) -> None:
        api = make()
        assert api.get("/v1/anybody").json() == "anonymous"
        assert api.post("/v1/models/nothing/stop").status_code == 404
        identity.add_user(sqlite_store, "ada", PASSWORD)
        api = make()  # one that has not looked yet
        refused = api.post("/v1/models/nothing/stop")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert {api.get(path).status_code for path in [*EVERYWHERE, "/v1/anybody"]} == {200}

    def test_below_v1_a_token_that_is_none_is_always_refused(self, make: Make, sqlite_store: Store, ada: User) -> None:
        api, token = make(), token_of(sqlite_store, ada)
        for given in ("x", token[:-1], "ts_" + secrets.token_urlsafe(32)):
            for headers in (bearer(given), {"X-API-Key": given}):
                assert api.get("/v1/anybody", headers=headers).status_code == 401
                assert api.get("/stats", headers=headers).status_code == 200
        assert sign_in(api, **bearer("an old token")).status_code == 200

    def test_expired_and_revoked_tokens_and_those_of_removed_users_are_refused(
        self, sqlite_store: Store, ada: User, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Identities.__init__, "__defaults__", (0.1,))
        api, revoked, kept = make(api_key=KEY), token_of(sqlite_store, ada), token_of(sqlite_store, ada)
        accepted = [api.get("/stats", headers=bearer(token)).status_code for token in (revoked, kept)]
        assert accepted == [200, 200]
        with sqlite_store.write() as tx:
            tokens.revoke(tx, ada, [revoked[: tokens.PREFIX]])
        self._await_refusal(api, revoked)
        assert api.get("/stats", headers=bearer(kept)).status_code == 200
        with sqlite_store.write() as tx:
            identity.remove_user(tx, "ada")
        self._await_refusal(api, kept)
        assert sign_in(api).status_code == 401

    def test_each_of_many_at_once_is_who_he_is(self, make: Make, sqlite_store: Store) -> None:
        api = make()
        people = {name: token_of(sqlite_store, self._add(sqlite_store, name)) for name in ("ann", "ben", "cleo")}

        def ask(name: str) -> bool:
            headers = bearer(people[name]) if name in people else {}
            return bool(api.get("/v1/anybody", headers=headers).json() == name)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(ask, [*people, "anonymous"] * 50))

    def test_who_submits_a_run_is_kept_with_it(self, make: Make, sqlite_store: Store, ada: User) -> None:
        api, headers = make(), bearer(token_of(sqlite_store, ada))
        body = {"model_id": "linear_reg", "inputs": {"region": "NA", "year": 2024, "parameter_set": "baseline"}}
        mine = api.post("/api/runs", json=body, headers=headers).json()["run_id"]
        api.post("/api/runs", json=body)
        assert [run["run_id"] for run in api.get("/api/runs?mine=true", headers=headers).json()["runs"]] == [mine]
        assert api.get(f"/api/runs/{mine}").json()["submitted_by"] == "ada"

    def _add(self, store: Store, name: str) -> User:
        with store.write() as tx:
            return tx.create_user(tx.default_workspace(), name, "a hash")

    def _await_refusal(self, api: TestClient, token: str) -> None:
        deadline = time.monotonic() + 5
        while api.get("/stats", headers=bearer(token)).status_code != 401:
            assert time.monotonic() < deadline


def test_a_database_that_is_away_is_503_and_no_refusal(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/nothing", api_key=KEY)
    api = TestClient(build(settings), raise_server_exceptions=False)
    assert api.get("/stats", headers=bearer("ts_" + "a" * 43)).status_code == 503
    assert api.get("/stats", headers=bearer("ts_")).status_code == 401
