"""What HAProxy says by itself: our error body, also where no replica can say it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve_app.haproxy import REFUSALS, raw_answer, wrapped
from tunesmith.errors import from_body

CONFIGURATION = """global
    tune.bufsize 16384
defaults
    mode http
    errorfile 502 /elsewhere/500.http
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:8000
    http-request return status 503 content-type text/plain string "Service Unavailable" if healthcheck
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
listen stats
  bind *:8404
"""


def edited(scratch: Path, loopback: bool, *more: Any) -> str:
    """The configuration as HAProxy gets it, after two starts with it."""
    wrapper = wrapped(scratch, loopback, *more)
    stand_in = wrapper.read_text().splitlines()
    stand_in[-1] = "exec true"
    wrapper.write_text("\n".join(stand_in))
    configuration = scratch / "haproxy.cfg"
    configuration.write_text(CONFIGURATION)
    for _ in range(2):
        subprocess.run([wrapper, "-f", configuration], check=True)
    return configuration.read_text()


@pytest.mark.parametrize("status", REFUSALS)
def test_each_answer_is_whole_and_has_the_one_error_body(status: int) -> None:
    head, body = raw_answer(status).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert (b"Retry-After: 1" in head) == (status in (502, 503, 504))
    assert json.loads(body) == from_body(status, json.loads(body)).body()


def test_the_configuration_names_our_answers_once(tmp_path: Path) -> None:
    text = edited(tmp_path, loopback=False)
    assert text.count("errorfile ") == len(REFUSALS)
    assert "/elsewhere" not in text
    assert text.index("defaults") < text.index("errorfile 400") < text.index("frontend")
    assert "return status 503 default-errorfiles" in text
    assert "tune.bufsize 65536" in text
    assert text.count("url_len") == 1
    assert text.count("http-request add-header X-Forwarded-For %[src]") == 1
    assert " ssl " not in text
    assert text.index("bind 127.0.0.1:8000") < text.index("X-Forwarded-For") < text.index("healthcheck")
    assert text.index("bind 127.0.0.1:8000") < text.index("url_len") < text.index("healthcheck")
    assert '"Service Unavailable" if healthcheck' in text


def test_only_on_loopback_everything_listens_on_loopback(tmp_path: Path) -> None:
    for loopback, bound in (
        (True, ["127.0.0.1:9101", "127.0.0.1:8000", "127.0.0.1:8404"]),
        (False, [":9101", "127.0.0.1:8000", "*:8404"]),
    ):
        scratch = tmp_path / str(loopback)
        scratch.mkdir()
        lines = edited(scratch, loopback).splitlines()
        assert [line.split()[1] for line in lines if line.strip().startswith("bind")] == bound


def test_only_the_service_speaks_tls_and_only_these_proxies_are_believed(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    text = edited(tmp_path, True, ("10.0.0.0/8", "192.0.2.1"), (certificate, key))
    bound = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.strip().startswith("bind")]
    speaks = f"127.0.0.1:8000 ssl crt {tmp_path}/tls.pem alpn http/1.1 ssl-min-ver TLSv1.2"
    assert bound == ["127.0.0.1:9101", speaks, "127.0.0.1:8404"]
    assert text.count("acl trusted src 10.0.0.0/8 192.0.2.1") == 1
    assert (tmp_path / "tls.pem").readlink() == certificate
    assert (tmp_path / "tls.pem.key").readlink() == key
