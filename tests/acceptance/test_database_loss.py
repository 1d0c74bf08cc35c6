"""PostgreSQL as the database, and what happens while it is away or its disk is full."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from running import Platform, until

from tunesmith import Client
from tunesmith.testing.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test's own, to be stopped."""
    with postgres_server() as own:
        yield own


@pytest.mark.slow
def test_a_job_waits_while_postgresql_is_away_and_goes_on_when_it_is_back(
    start: Callable[..., Platform], server: PostgresServer
) -> None:
    with server.database() as url:
        platform = start(TUNESMITH_DATABASE_URL=url)
        experiment = Client(platform.url).create_experiment(
            {
                "tool_name": f"away-{secrets.token_hex(4)}",
                "parameters": [{"name": "a", "minimum": 0, "maximum": 1}],
                "command_template_string": "sleep 0.3",
            }
        )
        job = experiment.submit({"type": "random", "n_iter": 30})
        until(lambda: job.refresh().progress.finished >= 4)
        server.stop()
        answer = httpx2.get(f"{platform.url}/api/v1/experiments/{experiment.id}", timeout=60)
        assert answer.status_code == 503
        assert answer.json()["code"] == "DATABASE_UNAVAILABLE"
        assert httpx2.get(f"{platform.url}/health", timeout=60).status_code == 503
        server.start()
        assert job.wait(120).job_status == "finished"
        trials = list(experiment.trials())
        assert [trial.number for trial in trials] == list(range(30))
        assert {trial.state for trial in trials} == {"complete"}
        assert {trial.attempt for trial in trials} == {1}
        platform.stop()


@pytest.mark.slow
def test_a_full_disk_is_503_and_the_job_goes_on_when_there_is_room(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine allows no mount")
    try:
        platform = start("disk/data", TUNESMITH_STORAGE=str(tmp_path / "artifacts"))
        experiment = Client(platform.url).create_experiment(
            {
                "tool_name": "full",
                "parameters": [{"name": "a", "minimum": 0, "maximum": 1}],
                "command_template_string": "sleep 0.2",
            }
        )
        job = experiment.submit({"type": "random", "n_iter": 40})
        until(lambda: job.refresh().progress.finished >= 4)
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 4096)
            except OSError:
                pass
        body = {"tool_name": "more", "parameters": [], "command_template_string": "true " + "x" * 200_000}

        def refused() -> bool:
            return httpx2.post(f"{platform.url}/api/v1/experiments", json=body, timeout=60).status_code == 503

        until(refused, 60)
        (disk / "ballast").unlink()
        assert job.wait(120).job_status == "finished"
        trials = list(experiment.trials())
        assert [trial.number for trial in trials] == list(range(40))
        assert {trial.state for trial in trials} == {"complete"}
        platform.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
