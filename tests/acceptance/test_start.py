"""What may start, what must not, and two platforms side by side."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from running import Platform

from tunesmith import Client
from tunesmith.errors import Unauthenticated

pytestmark = pytest.mark.timeout(300)


def refused(platform: Platform) -> str:
    """The message of a platform that may not start."""
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.up"], env=platform.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_without_authentication_it_listens_on_loopback_only(tmp_path: Path) -> None:
    assert "loopback only" in refused(Platform(tmp_path / "d", TUNESMITH_HOST="0.0.0.0"))
    assert not (tmp_path / "d" / "tunesmith.db").exists()
    assert "TUNESMITH_API_KEY" in refused(Platform(tmp_path / "d", TUNESMITH_MODE="prod"))


def test_a_taken_port_a_bad_setting_and_an_unwritable_directory_are_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert port in refused(Platform(tmp_path / "d", TUNESMITH_PORT=port))
    assert "did you mean TUNESMITH_PORT" in refused(Platform(tmp_path / "d", TUNESMITH_PROT="1"))
    (tmp_path / "file").touch()
    assert "TUNESMITH_DATA_DIR" in refused(Platform(tmp_path / "file" / "d"))
    assert "database" in refused(Platform(tmp_path / "d", TUNESMITH_DATABASE_URL="postgresql://127.0.0.1:1/none"))


@pytest.mark.slow
def test_two_platforms_run_side_by_side_and_one_directory_has_one_platform(
    shared: Platform, start: Callable[..., Platform]
) -> None:
    key = "a-key-of-twenty-characters"
    other = start("other", TUNESMITH_MODE="prod", ENABLE_API_AUTH="true", API_KEY=key, TUNESMITH_API_REPLICAS="1")
    assert other.url != shared.url
    assert "another platform" in refused(Platform(shared.data_dir))
    assert httpx2.get(f"{other.url}/api/v1/experiments").status_code == 401
    assert httpx2.get(f"{other.url}/ready").status_code == 200
    with pytest.raises(Unauthenticated):
        list(Client(other.url, token="wrong").experiments())
    body = {"tool_name": "beside", "parameters": [], "command_template_string": "echo ${HOME}"}
    mine = Client(other.url, token=key).create_experiment(body)
    assert mine.submit({"type": "random", "n_iter": 3}).wait(60).job_status == "finished"
    assert "beside" not in {experiment.info.name for experiment in Client(shared.url).experiments()}
    job = Client(other.url, token=key).training_jobs.create(name="what it is told", command=["env"])
    assert job.wait(60).status == "completed"
    log = "".join(job.logs())
    assert "JOB_ID=" in log
    assert key not in log


def listening(pids: set[int]) -> set[str]:
    """Addresses on which HAProxy and the API replicas listen."""
    lines = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3].rsplit(":", 1)[0] for line in lines if any(f"pid={pid}," in line for pid in pids)}


def test_the_service_and_its_statistics_are_on_loopback(shared: Platform) -> None:
    assert listening(set(shared.pids("haproxy"))) == {"127.0.0.1"}


def test_a_web_page_from_elsewhere_cannot_use_a_platform_without_authentication(shared: Platform) -> None:
    url = f"{shared.url}/api/v1/experiments"
    assert httpx2.get(url, headers={"Host": "rebound.example"}).status_code == 403
    refusal = httpx2.post(url, json={}, headers={"Origin": "https://elsewhere.example"})
    assert refusal.status_code == 403
    assert refusal.json()["code"] == "FORBIDDEN"
    assert httpx2.get(url, headers={"Origin": shared.url}).status_code == 200
