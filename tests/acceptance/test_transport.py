"""TLS from the command line on: `tunesmith up` with a certificate of one's own, and requests over HTTPS."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from running import Platform, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
KEY = "a-key-of-twenty-characters"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `localhost` that nobody else trusts, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_the_platform_speaks_tls_and_its_commands_trust_it(
    start: Callable[..., Platform], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    platform = start("tls", TUNESMITH_TLS_CERT=str(cert), TUNESMITH_TLS_KEY=str(key), TUNESMITH_API_KEY=KEY)
    assert platform.url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=str(cert))
    url = platform.url.replace("127.0.0.1", "localhost")
    with httpx2.Client(base_url=url, headers={"X-API-Key": KEY}, verify=trusting) as client:
        made = client.post("/jobs", json={"name": "over TLS", "command": ["true"]})
        assert made.status_code == 201, made.text
        assert made.headers["strict-transport-security"]
        finished = until(lambda: client.get(f"/jobs/{made.json()['job_id']}").json()["status"] == "completed")
        assert finished
        recorded = until(lambda: client.get("/v1/audit", params={"action": "POST /jobs"}).json()["records"])
        assert (recorded[0]["address"], recorded[0]["details"]["job_id"]) == ("127.0.0.1", made.json()["job_id"])
    environ = {**platform.environ, "TUNESMITH_API_KEY": KEY}
    command = [sys.executable, "-m", "tunesmith.cli", "audit", "--action", "POST /jobs", "--json"]
    told = subprocess.run(command, env=environ, capture_output=True, check=True, cwd=tmp_path)
    assert [one["principal"] for one in json.loads(told.stdout)] == ["api-key"]
    offering = ssl.create_default_context(cafile=str(cert))
    offering.set_alpn_protocols(["h2", "http/1.1"])
    host, port = url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port))) as plain, offering.wrap_socket(plain, server_hostname=host) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(f"{platform.url.replace('https', 'http')}/health")


def test_what_cannot_be_used_is_said_before_anything_is_started(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    for given in (("--tls-cert", cert, "--tls-key", cert), ("--tls-cert", tmp_path / "none", "--tls-key", key)):
        command = [sys.executable, "-m", "tunesmith.cli", "up", "--data-dir", tmp_path, "--port", "0", *given]
        refused = subprocess.run(command, env=os.environ, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "TUNESMITH_TLS_CERT" in refused.stderr
