"""The queue: 10,000 queued no-op jobs claimed, worked and applied by 4 threads on PostgreSQL, beside procrastinate's.

Run it as `python -m tests.bench.bench_queue`; it needs about two minutes and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import procrastinate
from sqlalchemy import insert, make_url

from tunesmith.domain import CommandTool, ExperimentSpec, JobState, Search, Space, utcnow
from tunesmith.store import Store, open_store
from tunesmith.store.tables import experiments, jobs
from tunesmith.testing.postgres import PostgresServer, postgres_server

JOBS = 10_000
THREADS = 4
AT_ONCE = 100
PER_S, RATIO = 2_500, 5.0


def main() -> None:
    """Measure, and print what was measured beside its target."""
    for name in ("alembic", "procrastinate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with postgres_server() as server:
        server.durable()
        here = ours(server)
        peer = asyncio.run(theirs(server))
    print(f"{JOBS:,} no-op jobs, claimed, worked and applied by {THREADS} threads, PostgreSQL (fsync on)")
    print(f"  ours         {here:8,.0f}/s   target {PER_S:,}/s")
    print(f"  procrastinate{peer:8,.0f}/s   ours is {here / peer:.1f} x that, target {RATIO:g} x")


def ours(server: PostgresServer) -> float:
    """Jobs a second."""
    with server.database() as url:
        store = open_store(url)
        queue_jobs(store)
        start = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            done = sum(pool.map(lambda n: dispatch(store, f"thread-{n}"), range(THREADS)))
        seconds = time.perf_counter() - start
        assert done == JOBS, f"{done} of {JOBS} jobs were done"
        with store.read() as tx:
            assert not tx.jobs({JobState.QUEUED, JobState.RUNNING}).items
        store.close()
    return JOBS / seconds


def dispatch(store: Store, owner: str) -> int:
    """Claim, work, apply, until nothing is queued."""
    done = 0
    while True:
        with store.write() as tx:
            claimed = tx.claim_jobs(owner, 60.0, max_running=JOBS, limit=AT_ONCE)
        if not claimed:
            return done
        with store.write() as tx:
            done += len(tx.end_leases([str(job.lease_token) for job in claimed], JobState.SUCCEEDED))


def queue_jobs(store: Store) -> None:
    """Experiments with a queued job each."""
    with store.write() as tx:
        workspace = tx.default_workspace()
        spec = ExperimentSpec(tool_name="noop", tool=CommandTool(command="true"), space=Space(parameters=()))
        rows = [
            {
                "workspace_id": workspace, "content_hash": str(n), "name": "noop", "spec": spec, "tags": [],
                "archived": False, "created_at": utcnow(),
            }
            for n in range(JOBS)
        ]  # fmt: skip
        ids = tx.connection.scalars(insert(experiments).returning(experiments.c.id), rows).all()
        search = Search(type="random", n_iter=1).model_dump(mode="json", exclude_none=True)
        tx.connection.execute(
            insert(jobs),
            [
                {
                    "id": f"job-{n}", "workspace_id": workspace, "experiment_id": n, "run_number": 1, "state": "queued",
                    "priority": 10, "search": search, "progress": {"total": 1}, "queued_at": utcnow(), "active": 1,
                }
                for n in ids
            ],
        )  # fmt: skip


async def theirs(server: PostgresServer) -> float:
    """Jobs a second of procrastinate's worker, that as many run at once."""
    with server.database(migrated=False) as url:
        parsed = make_url(url).set(drivername="postgresql")
        connector = procrastinate.PsycopgConnector(conninfo=parsed.render_as_string(hide_password=False))
        app = procrastinate.App(connector=connector)

        @app.task(name="noop")
        async def noop() -> None:
            """Do nothing."""

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await noop.batch_defer_async(*[{} for _ in range(JOBS)])
            start = time.perf_counter()
            await app.run_worker_async(
                wait=False, concurrency=THREADS, install_signal_handlers=False, listen_notify=False
            )
            return JOBS / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
