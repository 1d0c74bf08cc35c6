"""Users of a whole platform: the admin of the settings, tokens on every replica, and where no password gets to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from running import Platform

from serve_app.routes.identity import NAME_RATE
from tunesmith import Client
from tunesmith.store import open_store

PASSWORD = "the password of the admin"
pytestmark = pytest.mark.timeout(300)


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it has ended


@pytest.mark.slow
def test_the_admin_of_the_settings_signs_in_and_is_locked_out_everywhere(start: Callable[..., Platform]) -> None:
    platform = start(
        "identity", TUNESMITH_API_KEY="a-key-of-twenty-characters", TUNESMITH_ADMIN_PASSWORD=PASSWORD,
        TUNESMITH_API_REPLICAS="2",
    )  # fmt: skip
    url, admin = f"{platform.url}/v1/auth/token", {"username": "admin", "password": PASSWORD}
    token = httpx2.post(url, json=admin).json()["access_token"]
    with Client(platform.url, token=token) as client:
        job = client.training_jobs.create(name="what it is told", command=["env"])
        assert job.wait(60).status == "completed"
        assert PASSWORD not in "".join(job.logs())
    assert [pid for pid in platform.pids() if PASSWORD.encode() in environment_of(pid)] == [platform.process.pid]
    assert PASSWORD not in platform.log
    assert PASSWORD not in (platform.data_dir / "logs" / "tunesmith.log").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    assert {httpx2.get(f"{platform.url}/stats", headers=headers).status_code for _ in range(20)} == {200}
    store = open_store(f"sqlite:///{platform.data_dir}/tunesmith.db")
    with store.write() as tx:
        tx.revoke_tokens(tx.user("admin").id)
    time.sleep(5)
    assert {httpx2.get(f"{platform.url}/stats", headers=headers).status_code for _ in range(20)} == {401}
    for number in range(int(NAME_RATE.partition("/")[0])):  # says that it is somebody else every time
        claimed = {"X-Forwarded-For": f"10.0.0.{number}"}
        assert httpx2.post(url, json=admin | {"password": "wrong"}, headers=claimed).status_code == 401
    assert httpx2.post(url, json=admin).status_code == 429
    with store.read() as tx:
        assert tx.request_count("LIMITER/failed sign-ins/address 127.0.0.1/30/1/minute")[0] == 10
    store.close()
