"""Training jobs at their size: 10,000 of them with 100,000 executions.

Run it as `python -m tests.bench.bench_training [metrics]`; it needs about a minute a part and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import insert
from starlette.types import Message, Receive, Scope, Send

from serve_app.counting import CountRequests, RequestCounts
from tunesmith import __version__
from tunesmith.domain import TrainingPlan, utcnow
from tunesmith.services.metrics import render
from tunesmith.store import Store, open_store
from tunesmith.store.tables import experiments, jobs, training_jobs, trials
from tunesmith.testing import memory_store
from tunesmith.testing.postgres import postgres_server
from tunesmith.testing.training_contract import program

TRAININGS = 10_000
RUNS = 10
"""Executions of each."""
CALLS = 30
SCRAPE_MS, REQUEST_US = 20.0, 20.0
STATUSES = ("completed", "failed", "running", "retrying", "pending")


def main() -> None:
    """Measure the parts that are named, or all, and print what was measured beside its target."""
    logging.getLogger("alembic").setLevel(logging.ERROR)
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()


def metrics() -> None:
    """A scrape on both databases, and what counting adds to a request."""
    for kind in ("sqlite", "postgres"):
        with fresh_database(kind) as url:
            store = open_store(url)
            fill(store)
            counts = RequestCounts(store)
            print(f"{kind}: {TRAININGS:,} training jobs, {TRAININGS * RUNS:,} executions     least       p50    target")
            show("a scrape", times_of(partial(render, store, __version__)), SCRAPE_MS, "ms")
            show("a scrape that writes what was counted", times_of(partial(scrape, store, counts)), SCRAPE_MS, "ms")
            counts.close()
            store.close()
    show("counting, added to a request", asyncio.run(counting_us()), REQUEST_US, "us")


def scrape(store: Store, counts: RequestCounts) -> None:
    """As the endpoint does it, after some requests."""
    for route in ("/metrics", "/jobs", "/jobs/{job_id}"):
        counts.add("GET", route, 200, 0.01)
    counts.write()
    render(store, __version__)


def show(name: str, found: tuple[float, float], target: float, unit: str) -> None:
    """One line."""
    least, median = found
    missed = "" if least < target else "  MISSED"
    print(f"  {name:<44}{least:10.2f}{median:10.2f}{target:10.0f} {unit}{missed}")


def times_of(call: Callable[[], Any]) -> tuple[float, float]:
    """The least and the median of some calls, in milliseconds."""
    taken = []
    for _ in range(CALLS + 3):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    taken = sorted(taken[3:])
    return taken[0], taken[CALLS // 2]


async def counting_us() -> tuple[float, float]:
    """Microseconds that the middleware adds to a request: the least and the median of some rounds."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None: ...

    class Route:
        path = "/jobs/{job_id}"

    route, store = Route(), memory_store()
    store.upgrade()
    counts = RequestCounts(store)
    times: dict[Any, list[float]] = {app: [], CountRequests(app, counts): []}
    for _ in range(5):
        for called, found in times.items():
            begun = time.perf_counter()
            for _ in range(20_000):
                await called({"type": "http", "method": "GET", "path": "/jobs/1"}, receive, send)
            found.append((time.perf_counter() - begun) / 20_000 * 1e6)
    counts.close()
    store.close()
    plain, counted = map(sorted, times.values())
    return counted[0] - plain[0], counted[2] - plain[2]


@contextmanager
def fresh_database(kind: str) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:///{folder}/tunesmith.db")
            store.upgrade()
            store.close()
            yield f"sqlite:///{folder}/tunesmith.db"
    else:
        with postgres_server() as server, server.database() as url:
            server.durable()
            yield url


def fill(store: Store) -> None:
    """Training jobs with their firings, and an attempt of each; past the write path."""
    with store.write() as tx:
        workspace = tx.default_workspace()
        for table, rows in tables_of(workspace):
            tx.connection.execute(insert(table), rows)
    if not store.embedded:
        with store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


def tables_of(workspace: str) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """The rows of each table; the executions are of the last days, one an hour."""
    now, plan = utcnow(), TrainingPlan(schedule="0 * * * *")
    ids = range(1, TRAININGS + 1)
    names = {n: f"train-{n:08x}" for n in ids}
    yield (
        experiments,
        [
            {
                "id": n,
                "workspace_id": workspace,
                "content_hash": names[n],
                "name": f"nightly {n}",
                "spec": program(f"nightly {n}"),
                "tags": [],
                "created_at": now,
                "next_number": RUNS,
                "next_run": RUNS + 1,
                "n_complete": RUNS,
            }
            for n in ids
        ],
    )
    yield (
        training_jobs,
        [
            {
                "id": names[n],
                "workspace_id": workspace,
                "name": f"nightly {n}",
                "experiment_id": n,
                "plan": plan,
                "status": STATUSES[n % len(STATUSES)],
                "paused": n % 7 == 0,
                "scheduled": True,
                "latest_run": RUNS,
                "next_run_at": now + timedelta(hours=1),
                "created_at": now,
                "updated_at": now,
            }
            for n in ids
        ],
    )
    runs = [(n, run, now - timedelta(hours=RUNS - run)) for n in ids for run in range(1, RUNS + 1)]
    yield (
        jobs,
        [
            {
                "id": f"job-{n}-{run}",
                "experiment_id": n,
                "run_number": run,
                "state": "succeeded",
                "priority": 10,
                "search": {},
                "progress": {},
                "queued_at": at,
                "ended_at": at,
                "training_id": names[n],
            }
            for n, run, at in runs
        ],
    )
    yield (
        trials,
        [
            {
                "experiment_id": n,
                "number": run - 1,
                "job_id": f"job-{n}-{run}",
                "run_number": run,
                "state": "complete",
                "params": {},
                "values": [1.0],
                "value": 1.0,
                "score": 1.0,
                "worker": "node:1",
                "metrics": {"wall_time_s": 1.0, "exit_code": 0.0},
                "created_at": at,
                "started_at": at,
                "ended_at": at,
            }
            for n, run, at in runs
        ],
    )


PARTS = {"metrics": metrics}

if __name__ == "__main__":
    main()
