"""Random kills of everything while 500 training jobs run: each ends as its command deserves, none runs twice at once.

`CHAOS_SEED`, `CHAOS_S` (300), `CHAOS_KILLS` (1,000: it takes longer where these were fewer), `CHAOS_JOBS` (500) and
`CHAOS_RATE` (1: a kill every 0.05 s, where there is a victim) choose another run.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from running import Platform, processes_with, until

from tunesmith.testing.postgres import PostgresServer, postgres_server

SEED = int(os.environ.get("CHAOS_SEED", "1"))
RATE = float(os.environ.get("CHAOS_RATE", "1"))
SECONDS = float(os.environ.get("CHAOS_S", "300"))
KILLS = int(os.environ.get("CHAOS_KILLS", "1000"))
JOBS = int(os.environ.get("CHAOS_JOBS", "500"))
RETRIES = 10
"""Of a job whose command succeeds unless it is killed."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 1500)]

SCRIPT = """
exec 9> "$PLACE/$JOB_ID.lock"
flock -n -E 99 9
[ $? = 99 ] && echo "$JOB_ID attempt $ATTEMPT" >> "$PLACE/overlaps"
sleep $SLEEP
echo "$JOB_ID" >> "$PLACE/done"
exit $CODE
"""


class Killer:
    """Kills at random moments: of each kind of process one every so many seconds, in the mean."""

    def __init__(self, platform: Platform, server: PostgresServer, script: Path, chance: random.Random) -> None:
        self.server, self.chance = server, chance
        self.kinds: dict[str, tuple[float, Callable[[], list[int]]]] = {
            "command": (0.05, lambda: processes_with(str(script))),
            "worker": (4, lambda: platform.pids("ray::TrialWorker")),
            "dispatcher": (12, lambda: platform.pids("ray::ServeReplica:tunesmith:Dispatcher")),
            "runner": (12, lambda: platform.pids("ray::Runner")),
            "database": (60, list),
        }
        self.killed: Counter[str] = Counter()
        self.next = {kind: time.monotonic() + self._pause(kind) for kind in self.kinds}

    def act(self) -> None:
        """Kill what is due to be killed."""
        for kind, moment in self.next.items():
            if time.monotonic() >= moment:
                self.killed[kind] += self._restart() if kind == "database" else self._kill(kind)
                self.next[kind] = time.monotonic() + self._pause(kind)

    def _pause(self, kind: str) -> float:
        return self.chance.expovariate(RATE / self.kinds[kind][0])

    def _kill(self, kind: str) -> int:
        pids = sorted(self.kinds[kind][1]())
        try:
            os.kill(self.chance.choice(pids), signal.SIGKILL)
        except (IndexError, ProcessLookupError):
            return 0
        return 1

    def _restart(self) -> int:
        self.server.stop()
        time.sleep(self.chance.uniform(0.1, 2))
        self.server.start()
        return 1


def submit(http: httpx2.Client, place: Path, script: Path, number: int, chance: random.Random) -> str:
    """A job; every fifth deserves to fail. The same name is never made twice, however often it has to be tried."""
    fails = number % 5 == 0
    body = {
        "name": f"chaos {number}",
        "command": ["bash", str(script)],
        "env": {"PLACE": str(place), "SLEEP": f"{chance.uniform(0.05, 1):.2f}", "CODE": "1" if fails else "0"},
        "max_retries": 1 if fails else RETRIES,
        "retry_backoff_s": 0.1,
    }

    def posted() -> dict[str, Any] | None:
        try:
            answer = http.post("/jobs", json=body, headers={"Idempotency-Key": f"chaos-{number}"})
        except httpx2.TransportError:
            return None
        return answer.json() if answer.status_code == 201 else None

    return str(until(posted, 120, 0.5)["job_id"])


def states(http: httpx2.Client) -> Counter[str]:
    """Jobs by status, where an answer comes."""
    try:
        stats = http.get("/stats").json()
    except (httpx2.TransportError, ValueError):
        return Counter()
    return Counter({status: count for status, count in stats.items() if status != "total_jobs" and count})


def test_every_job_ends_as_its_command_deserves(start: Callable[..., Platform], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    script = tmp_path / "work.sh"
    script.write_text(SCRIPT)
    with postgres_server() as server, server.database() as url:
        platform = start(TUNESMITH_DATABASE_URL=url, TUNESMITH_NUM_CPUS="4")
        http = httpx2.Client(base_url=platform.url, timeout=30)
        killer = Killer(platform, server, script, chance)
        ids: dict[str, int] = {}
        began = time.monotonic()
        while (passed := time.monotonic() - began) < SECONDS or killer.killed.total() < KILLS:
            if len(ids) < min(JOBS, JOBS * passed / (0.8 * SECONDS)):
                ids[submit(http, tmp_path, script, len(ids), chance)] = len(ids)
            killer.act()
            time.sleep(0.02)
        print(f"\nseed {SEED}: {killer.killed.total()} kills {dict(killer.killed)}, then {dict(states(http))}")
        ended = ("completed", "failed")
        until(lambda: sum(states(http)[status] for status in ended) == len(ids), 900, 1)
        check(http, tmp_path, ids)


def check(http: httpx2.Client, place: Path, ids: dict[str, int]) -> None:
    """What every job came to."""
    wrong, completed, attempts = [], set(), 0
    for job_id, number in ids.items():
        job = http.get(f"/jobs/{job_id}").json()
        executions = http.get(f"/jobs/{job_id}/executions").json()["executions"]
        attempts += len(executions)
        deserved = "failed" if number % 5 == 0 else "completed"
        told = [one["status"] for one in executions]
        if len(told) > RETRIES and set(told) == {"failed"}:
            deserved = "failed"  # its command was killed as often as it may be begun anew
        if deserved == "completed":
            completed.add(job_id)
        if job["status"] != deserved or told[0] != deserved or set(told[1:]) - {"failed"}:
            wrong.append((job["name"], job["status"], told, job["error_message"]))
    print(f"{len(ids)} jobs, {attempts} attempts")
    assert wrong == []
    done = set((place / "done").read_text().split())
    assert completed <= done
    assert not (place / "overlaps").exists(), (place / "overlaps").read_text()
