"""HAProxy as the platform starts it, before a real application: TLS, who is asking, and requests that are too much."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from conftest import served
from fastapi import FastAPI

from serve_app.app import build
from serve_app.haproxy import wrapped
from serve_app.headers import MAX_HEADERS
from serve_app.limits import BodyLimit
from serve_app.ports import free_ports
from tunesmith.client import Client
from tunesmith.domain.audit import AuditRecord
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.audit import AuditFilter

CONFIGURATION = """global
    tune.bufsize 16384
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server one 127.0.0.1:{behind}
"""
EXPERIMENT = {
    "tool_name": "mine",
    "parameters": [{"name": "x", "minimum": 0, "maximum": 1}],
    "command_template_string": "run ${x}",
}


@pytest.fixture
def app(settings: Settings, sqlite_store: Store) -> FastAPI:
    return build(settings, store=sqlite_store)


@contextmanager
def ingress(
    app: FastAPI, scratch: Path, trusted: tuple[str, ...] = (), certificate: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """HAProxy in front of the application; gives its port."""
    (port,) = free_ports(1)
    with served(app) as url:
        configuration = scratch / "haproxy.cfg"
        configuration.write_text(CONFIGURATION.format(port=port, behind=url.rpartition(":")[2]))
        wrapper = wrapped(scratch, True, trusted, certificate)
        process = subprocess.Popen([wrapper, "-db", "-f", configuration], stderr=subprocess.PIPE)
        try:
            end = time.monotonic() + 10
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                assert time.monotonic() < end
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.communicate()


def records(store: Store, count: int) -> list[AuditRecord]:
    end = time.monotonic() + 5
    while True:
        with store.read() as tx:
            found = list(tx.audit(AuditFilter()).items)
        if len(found) >= count:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_tls_with_a_certificate_of_ones_own(
    app: FastAPI, tmp_path: Path, certificate: tuple[Path, Path], sqlite_store: Store
) -> None:
    with ingress(app, tmp_path, certificate=certificate) as port:
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx2.Client(base_url=f"https://localhost:{port}", verify=trusting) as client:
            answer = client.post("/api/v1/experiments", json=EXPERIMENT, headers={"X-Forwarded-Proto": "http"})
            assert answer.status_code == 201
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with Client(f"https://127.0.0.1:{port}", certificate=certificate[0]) as ours:
            assert ours.health().status == "healthy"
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx2.get(f"https://localhost:{port}/health")
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(f"http://localhost:{port}/health")
        old = ssl.create_default_context(cafile=str(certificate[0]))
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"https://localhost:{port}/health", verify=old)
    assert records(sqlite_store, 1)[-1].address == "127.0.0.1"


def test_what_a_client_says_of_itself_is_believed_of_trusted_proxies_alone(
    settings: Settings, sqlite_store: Store, tmp_path: Path
) -> None:
    claimed = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9", "X-Forwarded-Proto": "https"}
    found = []
    for trusted in ((), ("127.0.0.0/8",)):
        scratch = tmp_path / str(len(trusted))
        scratch.mkdir()
        app = build(settings.model_copy(update={"trusted_proxies": trusted}), store=sqlite_store)
        with ingress(app, scratch, trusted) as port:
            answer = httpx2.get(f"http://127.0.0.1:{port}/api/v1/nothing", headers=claimed)
            found.append(
                (records(sqlite_store, len(found) + 1)[0].address, "strict-transport-security" in answer.headers)
            )
    assert found == [("127.0.0.1", False), ("203.0.113.9", True)]


@pytest.mark.parametrize("size", [MAX_HEADERS + 500, 40_000])
def test_headers_that_are_too_large_are_refused_and_that_is_recorded(
    app: FastAPI, tmp_path: Path, sqlite_store: Store, size: int
) -> None:
    with ingress(app, tmp_path) as port:
        answer = httpx2.post(
            f"http://127.0.0.1:{port}/api/v1/experiments", json=EXPERIMENT, headers={"Cookie": "a" * size}
        )
        assert (answer.status_code, answer.json()["code"]) == (431, "HEADERS_TOO_LARGE")
        assert answer.json()["details"]["bytes"] > size
        assert httpx2.get(f"http://127.0.0.1:{port}/health", headers={"Cookie": "a" * 13_000}).status_code == 200
    refused = records(sqlite_store, 1)[-1]
    assert (refused.action, refused.status, refused.address) == ("POST /api/v1/experiments", 431, "127.0.0.1")


def test_a_body_that_comes_too_slowly_is_cut_and_that_is_recorded(
    app: FastAPI, tmp_path: Path, sqlite_store: Store
) -> None:
    (layer,) = (layer for layer in app.user_middleware if layer.cls is BodyLimit)
    layer.kwargs["patience_s"] = 0.4
    lines = ("POST /api/v1/experiments HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 90")
    with ingress(app, tmp_path) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall("\r\n".join([*lines, "", '{"tool_name"']).encode())
        begun = time.monotonic()
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert 0.2 < time.monotonic() - begun < 5
        fast = httpx2.post(f"http://127.0.0.1:{port}/api/v1/experiments", json=EXPERIMENT)
        assert fast.status_code == 201
    assert [one.status for one in records(sqlite_store, 2)] == [201, 408]
