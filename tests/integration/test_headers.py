"""What every answer tells browsers, which sites may ask, and who is taken for whom behind proxies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from serve_app.app import build
from serve_app.headers import MAX_HEADERS
from serve_app.proxies import FromProxies, address
from tunesmith.settings import Settings
from tunesmith.store import Store

SITE = "https://lab.example.org"
KEY = "a-key-of-twenty-characters"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[TestClient]:
    directory = tmp_path_factory.mktemp("headers")
    shutil.copy(sqlite_template, directory / "tunesmith.db")
    settings = Settings(data_dir=directory, api_key=KEY, cors_origins=(SITE,), trusted_proxies=("10.0.0.0/8",))
    with TestClient(build(settings), client=("10.1.2.3", 1)) as client:
        yield client


@pytest.mark.parametrize("path", ["/health", "/api/v1/jobs", "/nowhere", "/docs"])
def test_every_answer_is_neither_guessed_nor_framed_nor_kept(api: TestClient, path: str) -> None:
    for headers in ({}, {"X-API-Key": KEY}):
        said = api.get(path, headers=headers).headers
        assert said["x-content-type-options"] == "nosniff"
        assert said["x-frame-options"] == "DENY"
        assert said["referrer-policy"] == "no-referrer"
        assert said["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in said["content-security-policy"]
        assert "strict-transport-security" not in said


def test_pages_run_no_scripts_but_those_of_the_documentation(api: TestClient) -> None:
    policies = {path: api.get(path).headers["content-security-policy"] for path in ("/api/v1/jobs", "/docs")}
    assert policies["/api/v1/jobs"].startswith("default-src 'none'")
    assert "script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net" in policies["/docs"]
    page = api.get("/docs", headers={"X-API-Key": KEY}).text
    assert {word.split("/")[2] for word in page.split('"') if word.startswith("https://")} <= {
        "cdn.jsdelivr.net", "fastapi.tiangolo.com"
    }  # fmt: skip


def test_an_answer_keeps_what_it_says_itself(api: TestClient) -> None:
    said = api.get("/api/models", headers={"X-API-Key": KEY}).headers
    (caching,) = said.get_list("cache-control")
    assert "max-age=" in caching


def test_over_tls_browsers_are_told_to_stay_there(api: TestClient) -> None:
    said = api.get("/health", headers={"X-Forwarded-Proto": "https"}).headers
    assert said["strict-transport-security"] == "max-age=31536000"


def test_pages_of_sites_that_are_named_may_ask_and_no_others(api: TestClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key, X-Workspace"}
    for origin, status, allowed in ((SITE, 200, SITE), ("https://evil.example.org", 400, None), ("null", 400, None)):
        preflight = api.options("/api/v1/experiments", headers={"Origin": origin, **asked})
        assert (preflight.status_code, preflight.headers.get("access-control-allow-origin")) == (status, allowed)
        answer = api.get("/health", headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers, "no cookies"


def test_no_site_may_ask_unless_it_is_named(settings: Settings, sqlite_store: Store) -> None:
    client = TestClient(build(settings, store=sqlite_store))
    asked = {"Origin": SITE, "Access-Control-Request-Method": "GET"}
    assert client.options("/api/v1/jobs", headers=asked).status_code == 405


def test_headers_have_a_limit(api: TestClient) -> None:
    refused = api.get("/health", headers={"Cookie": "a" * MAX_HEADERS})
    assert (refused.status_code, refused.json()["code"]) == (431, "HEADERS_TOO_LARGE")


FAR = "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        (FAR, ["198.51.100.1"], FAR),  # no proxy of ours
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [FAR], FAR),
        ("10.0.0.1", [f"198.51.100.1, {FAR}"], FAR),  # the client wrote the first one
        ("10.0.0.1", ["198.51.100.1", f"{FAR}, 10.0.0.2"], FAR),  # two proxies
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a machine of the inner network
        ("127.0.0.1", [FAR], FAR),  # the ingress of this machine
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["'; DROP TABLE audit"], "10.0.0.1"),
        ("10.0.0.1", ["\r\n"], "10.0.0.1"),
        ("testclient", [FAR], "testclient"),
    ],
)
def test_who_asks_is_who_the_last_trusted_proxy_names(peer: str, said: list[str], found: str) -> None:
    scheme = "http" if peer in (FAR, "testclient") else "https"
    assert asyncio.run(_behind(peer, said)) == (found, scheme)


async def _behind(peer: str, said: list[str]) -> tuple[str, str]:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    headers = [(b"x-forwarded-for", line.encode()) for line in said] + [(b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    await FromProxies(app, ("10.0.0.0/8",))(scope, None, None)  # type: ignore[arg-type]
    return address(seen[0]), seen[0]["scheme"]
