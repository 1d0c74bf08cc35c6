"""Sharing workers between jobs: each job's share follows its priority, by holding back points, never by killing.

Workers of one shape are shared by start-time fair queueing (Goyal, Vin, Cheng 1996): every job has a tag, the time that
its workers spent, divided by its weight; the job with the least tag is served next. What a batch will take is charged
when it starts and corrected when it ends, so that a job that has just come gets its share with the next free workers,
and no more. A job that had nothing to do for a while catches nothing up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tuners.jobrun import JobRun
from tuners.messages import Shape
from tuners.pool import DEFAULT_SHAPE, Pool, Worker
from tunesmith.domain import Priority

UNKNOWN_S = 1.0
"""Seconds that an evaluation is reckoned with before the job's first one ended."""
LATE_S = 0.5
"""Seconds beyond four times what was reckoned with after which a worker's batch is late."""


def weight(run: JobRun) -> float:
    """A job's weight: 1 for low, 2 for normal, 4 for high, 8 for critical."""
    return float(2 ** (max(0, run.job.priority) / (Priority.NORMAL - Priority.LOW)))


class Shares:
    """The tags of all jobs, and who is served next."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self.pool, self.clock = pool, clock
        self._tags: dict[str, float] = {}
        self._virtual: dict[Shape, float] = {}
        """Shape -> the tag of the job that was served last: where a job that comes (again) begins."""
        self._hungry: frozenset[str] = frozenset()

    def next_job(self, runs: Iterable[JobRun], worker: Worker) -> JobRun | None:
        """The job that a free worker serves next: the one furthest below its share, of the worker's shape.

        None when there is no work for it, or when a job of another shape is further below its share and waits for room.
        """
        hungry = [run for run in runs if run.wants_worker and self.pool.feasible(run.shape)]
        self._welcome(hungry)
        mine = min((run for run in hungry if run.shape == worker.shape), key=self._tag, default=None)
        if mine is None:
            return None
        other = min((run for run in hungry if run.shape != worker.shape), key=_load, default=None)
        starved = other is not None and self.pool.pending(other.shape) > 0 and _load(other, 1) < _load(mine, 1)
        return None if starved else mine

    def assign(self, run: JobRun, worker: Worker) -> None:
        """A worker was given to a job, whose next points are being chosen."""
        worker.began, worker.charged_s = self.clock(), 0.0
        self._virtual[run.shape] = max(self._tags[run.job.id], self._virtual.get(run.shape, 0.0))
        self.charge(run, worker, 1)

    def charge(self, run: JobRun, worker: Worker, evaluations: int) -> None:
        """The worker begins so many evaluations: reckon with what they will take."""
        self._charge(run, worker, evaluations * (run.seconds or UNKNOWN_S))

    def settle(self, run: JobRun, worker: Worker) -> None:
        """The worker ended its batch: what it took counts, instead of what was reckoned with."""
        self._charge(run, worker, self.clock() - worker.began)
        worker.charged_s = 0.0

    def late(self, worker: Worker) -> bool:
        """Whether its batch takes far longer than was reckoned with."""
        return self.clock() - worker.began > LATE_S + 4 * worker.charged_s

    def forget(self, run: JobRun) -> None:
        """A job left."""
        self._tags.pop(run.job.id, None)

    def _charge(self, run: JobRun, worker: Worker, seconds: float) -> None:
        if run.job.id in self._tags:
            self._tags[run.job.id] += (seconds - worker.charged_s) / weight(run)
        worker.charged_s = seconds

    def _welcome(self, hungry: list[JobRun]) -> None:
        """Jobs that had nothing to do until now begin where the others are."""
        for run in hungry:
            if run.job.id not in self._hungry:
                here = self._virtual.get(run.shape, 0.0)
                self._tags[run.job.id] = max(here, self._tags.get(run.job.id, 0.0))
        self._hungry = frozenset(run.job.id for run in hungry)

    def _tag(self, run: JobRun) -> float:
        now = self.clock()
        workers = (self.pool.workers.get(worker_id) for worker_id in run.workers)
        late = sum(max(0.0, now - worker.began - worker.charged_s) for worker in workers if worker is not None)
        return self._tags[run.job.id] + late / weight(run)


def _load(run: JobRun, extra: int = 0) -> float:
    """Workers of a job relative to its weight."""
    return (len(run.workers) + extra) / weight(run)


def demand(runs: Iterable[JobRun], pool: Pool, warm: int) -> dict[Shape, float]:
    """How many workers of each shape could be used now: those at work and those that could be."""
    wanted: dict[Shape, float] = {}
    for run in (run for run in runs if pool.feasible(run.shape)):
        more = min(run.concurrency - len(run.workers), run.left) if run.wants_worker else 0
        wanted[run.shape] = wanted.get(run.shape, 0) + len(run.workers) + more
    if not any(number for shape, number in wanted.items() if shape != DEFAULT_SHAPE):
        wanted[DEFAULT_SHAPE] = max(wanted.get(DEFAULT_SHAPE, 0), warm)
    return {shape: min(number, 100_000) for shape, number in wanted.items()}
