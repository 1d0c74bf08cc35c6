"""Training jobs in real containers on a whole platform: none is left, whatever is killed."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from running import Platform, until

from tests.images import ENGINE, OPTIONS, busybox_image, engine

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with busybox_image(tmp_path_factory.mktemp("image")) as name:
        yield name


@pytest.fixture
def http(shared: Platform) -> httpx2.Client:
    return httpx2.Client(base_url=shared.url, timeout=30)


def create(http: httpx2.Client, image: str, script: str, **fields: Any) -> str:
    body = {"name": secrets.token_hex(4), "image": image, "command": ["sh", "-c", script, "sh"], **fields}
    answer = http.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def wait(http: httpx2.Client, job_id: str, *statuses: str) -> dict[str, Any]:
    until(lambda: http.get(f"/jobs/{job_id}").json()["status"] in statuses, 90)
    return dict(http.get(f"/jobs/{job_id}").json())


def containers(job_id: str) -> list[str]:
    return engine("ps", "--all", f"--filter=label=tunesmith.job={job_id}", "--format={{.Names}}").stdout.split()


def test_output_exit_code_and_checkpoint(http: httpx2.Client, image: str) -> None:
    count = "echo x >> $CHECKPOINT_DIR/n; [ $(tr -d '\\n' < $CHECKPOINT_DIR/n) = xx ]"
    script = f'echo "attempt $ATTEMPT $NAME $*"; {count}'
    job_id = create(http, image, script, env={"NAME": "a 'b' c"}, retry_backoff_s=0.1)
    done = wait(http, job_id, "completed", "failed")
    log = http.get(f"/jobs/{job_id}/logs", params={"execution": 1}).text
    assert (done["status"], done["retry_count"]) == ("completed", 1), log
    assert "attempt 1 a 'b' c \n" in log
    assert "attempt 2 a 'b' c --resume-from-checkpoint /checkpoint" in log
    assert containers(job_id) == []


def test_an_image_that_is_not_there_fails_with_its_name(http: httpx2.Client) -> None:
    job_id = create(http, "localhost/no-such-image:1", "true", max_retries=0)
    failed = wait(http, job_id, "completed", "failed")
    assert failed["status"] == "failed"
    assert "localhost/no-such-image:1" in failed["error_message"]


VICTIMS = ["cancel", "ray::TrialWorker", pytest.param("ray::Runner", marks=pytest.mark.slow)]


@pytest.mark.parametrize("victim", VICTIMS)
def test_no_container_is_left(shared: Platform, http: httpx2.Client, image: str, victim: str) -> None:
    job_id, name = started(http, image)
    if victim == "cancel":
        assert http.post(f"/jobs/{job_id}/cancel").status_code == 200
    else:
        kill(shared, victim)
    until(lambda: name not in containers(job_id), 60)
    if victim == "ray::Runner":  # it goes on by itself, in another container
        until(lambda: containers(job_id), 60)
        assert http.post(f"/jobs/{job_id}/cancel").status_code == 200
        until(lambda: not containers(job_id), 60)


@pytest.mark.slow
def test_no_container_is_left_when_the_node_is_lost(start: Callable[..., Platform], image: str) -> None:
    settings = {"TUNESMITH_CONTAINER_ENGINE": ENGINE, "TUNESMITH_CONTAINER_OPTIONS": json.dumps(OPTIONS)}
    platform = start(TUNESMITH_NUM_CPUS="2", **settings)
    job_id, name = started(httpx2.Client(base_url=platform.url, timeout=30), image)
    kill(platform, "raylet/raylet")
    until(lambda: name not in containers(job_id), 60)


def started(http: httpx2.Client, image: str) -> tuple[str, str]:
    """A job that runs, and its container."""
    job_id = create(http, image, "echo on; sleep 600", max_retries=0)
    (name,) = until(lambda: containers(job_id) if "on" in http.get(f"/jobs/{job_id}/logs").text else [])
    return job_id, name


def kill(platform: Platform, victim: str) -> None:
    pids = platform.pids(victim)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
