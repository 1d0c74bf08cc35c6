"""A run on several processes: the platform's runner on a Ray of this machine, for as long as the call lasts."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from tuners.api import owner
from tuners.api.carrying import at_interrupt, carry_out
from tuners.api.runs import LEASE_S, Claim
from tuners.api.storage import artifacts_of, stays
from tuners.names import NAMESPACE, RUNNER
from tuners.tools.callable_load import function_key
from tunesmith.client.functions import pack
from tunesmith.client.tune_progress import ProgressBar
from tunesmith.client.tune_request import Task
from tunesmith.client.tune_result import Result
from tunesmith.domain import Job, JobState, Resources
from tunesmith.errors import Conflict, StateForbids, TunesmithError
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store

LOOK_S = 0.1
"""Seconds between two looks at how far the job is."""
START_S = 60.0
"""Seconds that the runner may take to start."""
STOP_S = 30.0
"""Seconds that it may take to stop what it started."""
OBJECT_STORE = 100_000_000
"""Bytes of shared memory for Ray's objects, which are small here."""


@dataclass(frozen=True)
class Place:
    """Where a run's database and files lie."""

    url: str
    """The database."""
    artifacts: str
    """Functions and logs."""
    scratch: Path
    """Everything that is gone afterwards."""


def tuned_on_ray(task: Task, url: str, workers: int) -> Result:
    """Search with so many trials at once. Raises Interrupted, TunesmithError."""
    scratch = Path(tempfile.mkdtemp(prefix="tune-"))
    try:
        kept = stays(url)
        place_url = url if kept else f"sqlite:///{scratch / 'runs.db'}"
        place = Place(place_url, artifacts_of(url, str(scratch / "artifacts")), scratch)
        code = ship(task, place.artifacts)

        def work(store: Store, claimed: Claim, bar: ProgressBar) -> Job:
            with connected(task.experiment.resources, workers), running(place, claimed) as runner:
                return followed(store, claimed, runner, bar, at_interrupt(task))

        return carry_out(task, place.url, work, code, kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ship(task: Task, artifacts: str) -> str:
    """Put the objective where the workers find it; its digest."""
    shipped = pack(task.objective)
    Storage(artifacts).write(function_key(shipped.digest), shipped.payload)
    return shipped.digest


@contextlib.contextmanager
def connected(resources: Resources, workers: int) -> Iterator[None]:
    """Connected to Ray: as this process is already, or to one of its own, which ends with the block."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        address="local",
        num_cpus=max(workers, round(workers * resources.cpus + 0.499)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        namespace=NAMESPACE,
        object_store_memory=OBJECT_STORE,
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def running(place: Place, claimed: Claim) -> Iterator[Any]:
    """The runner with the claimed job; afterwards nothing of it is left."""
    from tuners.runner import Runner

    settings = Settings(
        data_dir=place.scratch, database_url=place.url, storage=place.artifacts, lease_s=LEASE_S, warm_workers=0
    )
    try:
        runner: Any = (
            ray.remote(Runner)
            .options(name=RUNNER, namespace=NAMESPACE, num_cpus=0, max_concurrency=1000)
            .remote(settings.environment(), owner.this_process(), 0, False)
        )
    except ValueError as error:
        raise Conflict(
            "this process is connected to a Ray on which a platform, or another search, runs already; "
            "use Client().tune() there, or call ray.shutdown() first"
        ) from error
    try:
        ray.get(runner.start.remote(claimed.job), timeout=START_S)
        yield runner
    finally:
        ray.kill(runner)  # its workers go with it, and what it knew is in SQL


def followed(store: Store, claimed: Claim, runner: Any, bar: ProgressBar, interrupted: JobState) -> Job:
    """Show how the job goes until it has ended; the job as it ended. Raises KeyboardInterrupt."""
    alive = runner.watch.remote()
    try:
        while True:
            with store.read() as tx:
                job = tx.job(claimed.job.id)
            bar.update(job.progress)
            if job.state is not JobState.RUNNING:
                return job
            answered, _ = ray.wait([alive], timeout=LOOK_S)
            if answered:
                ray.get(alive)
                alive = runner.watch.remote()
                time.sleep(LOOK_S / 10)
    except RayError as error:
        raise TunesmithError(f"the search's runner died: {error}") from error
    except KeyboardInterrupt:
        with contextlib.suppress(RayError, GetTimeoutError):
            ray.get(runner.shutdown.remote(), timeout=STOP_S)
        with contextlib.suppress(StateForbids), store.write() as tx:
            tx.move_job(claimed.job.id, interrupted, {JobState.QUEUED})
        raise
