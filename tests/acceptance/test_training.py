"""Training jobs on a whole platform: what runs, fails, is cut off, and comes back."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from running import Platform, processes_with, until

pytestmark = pytest.mark.timeout(400)

TRAIN = """
trap 'echo saved at TERM >> "$CHECKPOINT_DIR/state"; exit 15' TERM
exec 9> "$0.$JOB_ID.lock"
flock -n -E 99 9
[ $? = 99 ] && echo overlap >> "$0.overlap"
echo "attempt $ATTEMPT resumes from [$RESUME_FROM_CHECKPOINT] with [$*]"
echo "attempt $ATTEMPT" >> "$CHECKPOINT_DIR/state"
n=0
while [ $n -lt $EPOCHS ]; do sleep 0.1 & wait $!; n=$((n + 1)); done
[ "$(grep -c attempt "$CHECKPOINT_DIR/state")" -ge "$NEEDED" ]
"""
"""Succeeds at its NEEDEDth attempt, after EPOCHS tenths of a second; notes if it runs twice at once."""


class Api:
    """The calls of the surface, over HTTP."""

    def __init__(self, platform: Platform, place: Path) -> None:
        self.http = httpx2.Client(base_url=platform.url, timeout=30)
        self.script = place / "train.sh"
        self.script.write_text(TRAIN)

    def create(self, needed: int = 1, epochs: int = 1, **fields: Any) -> str:
        """A job that runs the script; its id."""
        body = {
            "name": f"train {secrets.token_hex(4)}",
            "command": ["bash", str(self.script)],
            "env": {"NEEDED": str(needed), "EPOCHS": str(epochs)},
            "retry_backoff_s": 0.2,
            **fields,
        }
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, job_id: str, act: str) -> dict[str, Any]:
        answer = self.http.post(f"/jobs/{job_id}/{act}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def executions(self, job_id: str) -> list[dict[str, Any]]:
        """Its attempts, the first one first."""
        return list(reversed(self.http.get(f"/jobs/{job_id}/executions").json()["executions"]))

    def wait(self, job_id: str, *statuses: str, timeout_s: float = 90) -> dict[str, Any]:
        """Wait for one of these statuses."""
        until(lambda: self.job(job_id)["status"] in statuses, timeout_s)
        return self.job(job_id)

    def running(self, job_id: str) -> None:
        """Wait until its command runs."""
        until(lambda: "attempt" in self.http.get(f"/jobs/{job_id}/logs").text, 60)

    def overlapped(self) -> bool:
        return Path(f"{self.script}.overlap").exists()


@pytest.fixture
def api(shared: Platform, tmp_path: Path) -> Api:
    return Api(shared, tmp_path)


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_failed_attempt_is_repeated_from_its_checkpoint(api: Api) -> None:
    job_id = api.create(needed=3)
    done = api.wait(job_id, "completed", "failed")
    assert (done["status"], done["retry_count"], done["error_message"]) == ("completed", 2, None)
    first, second, third = api.executions(job_id)
    assert [one["attempt"] for one in (first, second, third)] == [1, 2, 3]
    assert [one["exit_code"] for one in (first, second, third)] == [1, 1, 0]
    assert first["checkpoint"] is None
    assert second["checkpoint"] == third["checkpoint"] is not None
    log = api.http.get(f"/jobs/{job_id}/logs", params={"execution": 1}).text
    assert "attempt 1 resumes from [] with []" in log
    path = second["checkpoint"]
    assert f"attempt 3 resumes from [{path}] with [--resume-from-checkpoint {path}]" in log


def test_its_error_is_that_of_the_last_attempt(api: Api) -> None:
    job_id = api.create(command=["bash", "-c", "exit $((10 + ATTEMPT))"], max_retries=1, retry_backoff_s=0.1)
    error = api.wait(job_id, "failed")["error_message"]
    assert "exit code 12" in error
    assert "exit code 11" not in error


def test_a_cancelled_one_can_save_and_goes_on_when_it_is_retried(api: Api) -> None:
    job_id = api.create(epochs=600)
    api.running(job_id)
    refused = api.http.delete(f"/jobs/{job_id}")
    assert refused.status_code == 409
    api.post(job_id, "cancel")
    assert api.wait(job_id, "cancelled")["retry_count"] == 0
    (cut,) = api.executions(job_id)
    assert cut["status"] == "cancelled"
    program = {"env": {"NEEDED": "2", "EPOCHS": "1"}}
    assert api.http.put(f"/jobs/{job_id}", json=program).status_code == 200
    again = api.post(job_id, "retry")
    assert (again["status"], again["retry_count"], again["error_message"]) == ("pending", 0, None)
    assert api.wait(job_id, "completed", "failed")["status"] == "completed"
    cut, last = api.executions(job_id)
    assert Path(last["checkpoint"], "state").read_text().split("\n")[:3] == ["attempt 1", "saved at TERM", "attempt 2"]


def test_a_killed_worker_is_a_failed_attempt_and_takes_its_command_with_it(shared: Platform, api: Api) -> None:
    job_id = api.create(epochs=40)
    api.running(job_id)
    before = processes_with(str(api.script))
    kill(shared.pids("ray::TrialWorker"))
    until(lambda: not set(before) & set(processes_with(str(api.script))), 20)
    done = api.wait(job_id, "completed", "failed")
    assert (done["status"], done["retry_count"]) == ("completed", 1)
    assert [one["status"] for one in api.executions(job_id)] == ["failed", "completed"]
    assert "worker process died" in api.executions(job_id)[0]["error"]
    assert not api.overlapped()


def test_a_killed_runner_costs_no_retry_and_nothing_runs_twice_at_once(shared: Platform, api: Api) -> None:
    job_id = api.create(epochs=40, max_retries=0)
    api.running(job_id)
    kill(shared.pids("ray::Runner"))
    done = api.wait(job_id, "completed", "failed")
    assert (done["status"], done["retry_count"]) == ("completed", 0)
    assert [one["status"] for one in api.executions(job_id)] == ["failed", "completed"]
    assert not api.overlapped()


def test_a_scheduled_search_fills_in_its_parameters(api: Api) -> None:
    job_id = api.create(
        command=["sh", "-c", 'echo "{\\"loss\\": ${x}}" >> $TUNESMITH_METRICS'],
        parameters=[{"name": "x", "type": "int", "minimum": 1, "maximum": 5}],
        objectives=[{"metric": "loss"}],
        optimizer={"type": "brute_force"},
    )
    done = api.wait(job_id, "completed", "failed")
    assert done["status"] == "completed", done
    assert sorted(one["params"]["x"] for one in api.executions(job_id)) == [1, 2, 3, 4, 5]
    best = api.http.get(f"/api/v1/experiments/{done['experiment_id']}").json()["best"]
    assert "1" in json.dumps(best)


def test_a_cron_job_fires_at_its_minute_and_a_paused_one_does_not(api: Api) -> None:
    fires, paused = (api.create(schedule="* * * * *") for _ in range(2))
    assert api.post(paused, "pause")["status"] == "paused"
    due = datetime.fromisoformat(api.job(fires)["next_run_at"])
    (first, *_rest) = until(lambda: [one for one in api.executions(fires) if one["started_at"]], 75, 0.2)
    late = (datetime.fromisoformat(first["started_at"]) - due).total_seconds()
    assert 0 <= late < 10, f"{late:.3f} s late"
    assert api.job(paused)["next_run_at"] is not None
    assert api.executions(paused) == []
    for job_id in (fires, paused):
        api.wait(job_id, "completed", "paused")
        assert api.http.delete(f"/jobs/{job_id}").status_code == 204


def test_stats_and_metrics_agree(api: Api) -> None:
    api.wait(api.create(), "completed")
    stats = api.http.get("/stats").json()
    lines = api.http.get("/metrics").text.splitlines()
    told = {
        status: f'tunesmith_training_jobs{{status="{status}"}} {stats[status]:.1f}'
        for status in stats
        if status != "total_jobs"
    }
    assert set(told.values()) <= set(lines)
    assert stats["total_jobs"] == sum(count for status, count in stats.items() if status != "total_jobs")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_retries_attempts_and_firings_survive_a_restart(
    start: Callable[..., Platform], tmp_path: Path, end: str
) -> None:
    platform = start()
    api = Api(platform, tmp_path)
    failed = api.create(needed=2, retry_backoff_s=20)
    runs = api.create(needed=2, epochs=100, max_retries=0)
    missed = api.create(schedule="* * * * *")
    next_run_at = str(api.job(missed)["next_run_at"])
    assert api.wait(failed, "retrying")["retry_count"] == 1
    api.running(runs)
    (platform.stop if end == "stop" else platform.kill)()
    until(lambda: not processes_with(str(api.script)), 20)
    due = datetime.fromisoformat(next_run_at)
    until(lambda: datetime.now(UTC) > due, 90)
    platform.start()
    api = Api(platform, tmp_path)
    assert api.wait(failed, "completed", "failed")["status"] == "completed"
    assert [one["attempt"] for one in api.executions(failed)] == [1, 2]
    assert api.wait(runs, "completed", "failed")["status"] == "completed"
    first, second = api.executions(runs)
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert second["checkpoint"] is not None
    until(lambda: api.executions(missed))
    assert not api.overlapped()
