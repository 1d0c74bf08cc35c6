"""Sharing workers between jobs: each job's share follows its priority, by holding back points, never by killing."""

from __future__ import annotations

from collections.abc import Iterable

from tuners.jobrun import JobRun
from tuners.messages import Shape
from tuners.pool import DEFAULT_SHAPE, Pool, Worker
from tunesmith.domain import Priority


def weight(run: JobRun) -> float:
    """A job's weight: 1 for low, 2 for normal, 4 for high, 8 for critical."""
    return float(2 ** (max(0, run.job.priority) / (Priority.NORMAL - Priority.LOW)))


def load(run: JobRun, extra: int = 0) -> float:
    """Workers of a job relative to its weight."""
    return (len(run.workers) + extra) / weight(run)


def next_job(runs: Iterable[JobRun], worker: Worker, pool: Pool) -> JobRun | None:
    """The job that a free worker serves next: the one furthest below its share, of the worker's shape.

    None when there is no work for it, or when a job of another shape is further below its share and waits for room.
    """
    hungry = sorted((run for run in runs if run.wants_worker and pool.feasible(run.shape)), key=load)
    mine = next((run for run in hungry if run.shape == worker.shape), None)
    first = hungry[0] if hungry else None
    if mine is None or first is None or first.shape == worker.shape:
        return mine
    starved = pool.pending(first.shape) > 0 and load(first, 1) < load(mine, 1)
    return None if starved else mine


def demand(runs: Iterable[JobRun], pool: Pool, warm: int) -> dict[Shape, float]:
    """How many workers of each shape could be used now: those at work and those that could be."""
    wanted: dict[Shape, float] = {}
    for run in (run for run in runs if pool.feasible(run.shape)):
        more = min(run.concurrency - len(run.workers), run.left) if run.wants_worker else 0
        wanted[run.shape] = wanted.get(run.shape, 0) + len(run.workers) + more
    if not any(number for shape, number in wanted.items() if shape != DEFAULT_SHAPE):
        wanted[DEFAULT_SHAPE] = max(wanted.get(DEFAULT_SHAPE, 0), warm)
    return {shape: min(number, 100_000) for shape, number in wanted.items()}
