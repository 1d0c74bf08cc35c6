"""Training jobs through the whole platform: lateness and idle cost with 10,000 schedules, and executions a second.

python bench_firing.py [SCHEDULES]      10,000 by default; it needs some five minutes
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform, until

from tunesmith.domain import ExperimentSpec, ProgramTool, Space, TrainingPlan
from tunesmith.services import trainings
from tunesmith.store import open_store

FIRING = 20
"""Schedules that fire every minute; the others once a year."""
EXECUTIONS, CLIENTS = 500, 8
IDLE_S = 20.0
TICKS = 100
"""Clock ticks in a second, in which /proc counts."""


def main() -> None:
    """Measure, and print what was measured beside its target."""
    schedules = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        with Platform(Path(folder) / "plain", TUNESMITH_NUM_CPUS="2") as platform:
            plain = idle_cost(platform)
            starts, rate = executions(platform)
        many = Path(folder) / "many"
        fill(f"sqlite:///{many / 'tunesmith.db'}", schedules)
        with Platform(many, TUNESMITH_NUM_CPUS="2") as platform:
            crowded = idle_cost(platform)
            late, begun = lateness(platform)
    print(f"the dispatcher's idle cost: {plain:.2%} of a core, {crowded:.2%} with {schedules:,} schedules (target 2%)")
    print(f"lateness with {schedules:,} schedules, {FIRING} of them due at once, SQLite: seconds")
    print(f"  to the firing     median {statistics.median(late):.3f}, worst {max(late):.3f}   target 1")
    print(f"  to its process    median {statistics.median(begun):.3f}, worst {max(begun):.3f}")
    print(f"`true` as a training job: {rate:.0f} executions/s ({EXECUTIONS} by {CLIENTS} clients), target 20")
    print(f"  POST to process start: median {statistics.median(starts):.3f} s, worst {max(starts):.3f}; target 0.3")


def fill(url: str, schedules: int) -> None:
    """A database with so many schedules."""
    store = open_store(url)
    store.upgrade()
    for part in range(0, schedules, 500):
        with store.write() as tx:
            for n in range(part, min(part + 500, schedules)):
                spec = ExperimentSpec(
                    tool_name=f"schedule {n}", tool=ProgramTool(command=("true",)), space=Space(parameters=())
                )
                often = "* * * * *" if n < FIRING else f"{n % 60} {n % 24} 1 1 *"
                trainings.create(tx, spec.tool_name, spec, TrainingPlan(schedule=often, catch_up="skip"))
    store.close()


def idle_cost(platform: Platform) -> float:
    """Share of a core that the dispatcher uses when nothing is due."""
    time.sleep(max(0.0, 5 + 60 - time.time() % 60 if time.time() % 60 > 30 else 5))  # between two minutes
    (pid,) = platform.pids("ray::ServeReplica:tunesmith:Dispatcher")

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    before = used()
    time.sleep(IDLE_S)
    return (used() - before) / IDLE_S


def executions(platform: Platform) -> tuple[list[float], float]:
    """Seconds from POST to the start of the process, one at a time; and executions a second, many at a time."""
    with httpx2.Client(base_url=platform.url, timeout=60) as http:
        starts = []
        for n in range(20):
            began = time.time()
            job_id = post(http, f"single {n}")
            until(lambda job_id=job_id: one(http, job_id)["status"] == "completed")  # type: ignore[misc]
            (attempt,) = http.get(f"/jobs/{job_id}/executions").json()["executions"]
            starts.append(datetime.fromisoformat(attempt["started_at"]).timestamp() - began)
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda n: post(http, f"many {n}"), range(EXECUTIONS)))
        until(lambda: http.get("/stats").json()["completed"] == EXECUTIONS + 20, 300)
        return starts, EXECUTIONS / (time.perf_counter() - start)


def lateness(platform: Platform) -> tuple[list[float], list[float]]:
    """Seconds after their minute at which jobs were made, and their processes began."""
    store = open_store(f"sqlite:///{platform.data_dir / 'tunesmith.db'}")
    minute = time.time() // 60 * 60 + 60
    time.sleep(minute + 15 - time.time())
    late, begun = [], []
    with store.read() as tx:
        for n in range(FIRING):
            training = tx.training_named(tx.default_workspace(), f"schedule {n}")
            assert training is not None
            (newest, *_rest) = tx.executions(training, limit=1).items
            trial, job = newest
            assert job.scheduled_at is not None
            assert trial.started_at is not None
            late.append((job.queued_at - job.scheduled_at).total_seconds())
            begun.append((trial.started_at - job.scheduled_at).total_seconds())
    store.close()
    return late, begun


def post(http: httpx2.Client, name: str) -> str:
    """A job that runs `true` at once; its id."""
    answer = http.post("/jobs", json={"name": name, "command": ["true"]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def one(http: httpx2.Client, job_id: str) -> dict[str, Any]:
    """How a job stands."""
    return dict(http.get(f"/jobs/{job_id}").json())


if __name__ == "__main__":
    main()
