"""What `tunesmith doctor` warns of: an open Ray dashboard, a cluster without a token, keys in the clear."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli import safety
from tunesmith.domain import render_time, utcnow
from tunesmith.settings import Settings


class Dashboard(BaseHTTPRequestHandler):
    """Answers as Ray's does: its jobs to whoever has the token, where there is one."""

    status = 200

    def do_GET(self) -> None:
        assert self.path == "/api/jobs/"
        assert "Authorization" not in self.headers
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(safety, "DASHBOARD_PORT", server.server_port)
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", [None, "auto", "127.0.0.1:6379", "ray://127.0.0.1:10001"])
def test_an_open_dashboard_is_a_warning(port: int, tmp_path: Path, address: str | None) -> None:
    found = safety.dashboard(Settings(data_dir=tmp_path, ray_address=address))
    assert found.level == "warn"
    expected = f"http://127.0.0.1:{port} is open: whoever reaches it can run commands on every node"
    assert found.message == expected
    assert "RAY_AUTH_MODE=token" in str(found.remedy)


@pytest.mark.usefixtures("port")
def test_one_that_asks_for_a_token_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dashboard, "status", 401)
    assert safety.dashboard(Settings(data_dir=tmp_path)).level == "ok"
    open_to_all = Settings(data_dir=tmp_path, dashboard_host="0.0.0.0")
    assert safety.dashboard(open_to_all).level == "warn"


def test_the_running_platforms_own_dashboard_is_asked(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "DASHBOARD_PORT", 1)
    record = {"pid": 1, "url": "http://x", "dashboard_url": f"http://127.0.0.1:{port}", "version": "1"}
    monkeypatch.setattr("tunesmith.client.discovery._is_another", lambda *_args: False)
    (tmp_path / "run.json").write_text(json.dumps({**record, "started_at": render_time(utcnow())}))
    assert safety.dashboard(Settings(data_dir=tmp_path)).level == "warn"


def test_no_dashboard_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "DASHBOARD_PORT", 1)
    assert safety.dashboard(Settings(data_dir=tmp_path)).message == "none answers"


def test_a_cluster_without_a_token_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert safety.ray_token(Settings()).level == "ok"
    assert safety.ray_token(Settings(ray_address="auto")).level == "warn"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert safety.ray_token(Settings(ray_address="auto")).level == "ok"


def test_a_public_address_without_tls_is_a_warning() -> None:
    assert safety.transport(Settings()).level == "ok"
    assert safety.transport(Settings(mode="prod", host="0.0.0.0")).level == "warn"
    assert safety.transport(Settings(mode="prod", host="0.0.0.0", trusted_proxies=("10.0.0.0/8",))).level == "ok"
    with_tls = Settings(mode="prod", host="0.0.0.0", tls_cert=Path("cert.pem"), tls_key=Path("key.pem"))
    assert safety.transport(with_tls).level == "ok"


def test_a_sandbox_that_does_not_work_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert safety.isolation(Settings()).level == "ok"
    monkeypatch.setattr(safety, "BWRAP", ["sh", "-c", "echo no namespaces >&2; exit 1"])
    found = safety.isolation(Settings(trial_sandbox="bwrap"))
    assert (found.level, found.message) == ("fail", "no bwrap that runs (no namespaces)")
