"""A run in its database: found by name or made, and claimed, also from a process that died while it held it."""

from __future__ import annotations

import logging
import secrets
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tuners import samplers
from tuners.api import owner
from tuners.samplers import Plan
from tunesmith.client.tune_request import INCIDENTAL, Task
from tunesmith.domain import (
    CallableTool,
    Experiment,
    Job,
    JobState,
    Point,
    Search,
    utcnow,
)
from tunesmith.errors import ExperimentNotFound, InvalidSpace, JobActive
from tunesmith.services import experiments as service
from tunesmith.store import Store, Tx

log = logging.getLogger("tuners")

LEASE_S = 30.0
"""Seconds until a run whose process went silent, somewhere else, is taken over."""
LOOK_S = 0.25
"""Seconds between two looks at a run that another process holds."""
MAX_GRID_POINTS = 1_000_000


@dataclass(frozen=True)
class Claim:
    """A run that this process holds."""

    experiment: Experiment
    """What it searches."""
    job: Job
    """Its job, under this process's lease."""
    before: int
    """Finished trials of earlier jobs of the run."""


def find(tx: Tx, name: str) -> Experiment | None:
    """The newest run of this name."""
    cursor: str | None = None
    while True:
        page = tx.experiments(cursor, 50, name, archived=True)
        for experiment in page.items:
            same = experiment.spec.tool_name.casefold() == name.casefold()
            if same and isinstance(experiment.spec.tool, CallableTool):
                return experiment
        cursor = page.next_cursor
        if cursor is None:
            return None


def named(tx: Tx, name: str) -> Experiment:
    """The run of this name. Raises ExperimentNotFound."""
    found = find(tx, name)
    if found is None:
        raise ExperimentNotFound(f"there is no run {name!r} in this storage", name=name)
    return found


def claim(store: Store, task: Task, code: str | None = None) -> Claim | Experiment:
    """Hold the task's run, or give back its experiment when all its trials are there, or it stopped by itself.

    Waits for another living process that works on it. `code` is the digest of a function that was shipped.

    Raises:
        InvalidBody, InvalidSpace: the run of this name searches something else.
        InvalidOptimizer: no such sampler, or it does not take these options.
    """
    told = False
    while True:
        experiment = _experiment(store, task)
        with store.read() as tx:
            job = tx.active_job(experiment.id)
        if job is None or not _held(job):
            try:
                return _claim(store, task, experiment, job, code)
            except JobActive:
                continue  # another process was faster; look again
        if not told:
            told = True
            log.warning(
                "%r is being worked on by %s; waiting until it has ended (or, should it be dead, for %.0f s at most)",
                task.name,
                owner.shown(job.lease_owner),
                LEASE_S,
            )
        time.sleep(LOOK_S)


def _held(job: Job) -> bool:
    """Whether somebody alive holds the job, as far as can be known."""
    running = job.state is JobState.RUNNING and job.lease_expires_at is not None and job.lease_expires_at > utcnow()
    return running and not owner.known_dead(job.lease_owner)


def _experiment(store: Store, task: Task) -> Experiment:
    wanted = task.experiment.spec()
    with store.write() as tx:
        found = find(tx, task.name) if task.named else None
        if found is None:
            return service.get_or_create(tx, wanted)[0]
        task.refuse_another(found.spec, found.spec.define_by_run)
        return found


def _claim(store: Store, task: Task, experiment: Experiment, job: Job | None, code: str | None) -> Claim | Experiment:
    found, experiment = experiment, _with_space(store, task, experiment)
    with store.read() as tx:
        if job is None:
            last = next(iter(tx.jobs(experiment_id=experiment.id, limit=1).items), None)
            if last is not None and experiment == found and _stopped(tx, task, experiment, last):
                return experiment
            job = last if last is not None and last.state is JobState.FAILED else None
        others = [trial for trial in tx.history(experiment.id) if job is None or trial.job_id != job.id]
    known = [trial.params for trial in others]
    planned = _planned(task, experiment, known, job)
    if planned is None:
        return experiment
    for warning in planned.warnings:
        warnings.warn(warning, UserWarning, stacklevel=6)  # at the caller of tune()
    search = planned.search.evolve(code=code)
    with store.write() as tx:
        if job is None:
            job = tx.create_job(experiment.id, search, planned.total, note=planned.note)
        else:
            job = _reopened(tx, job)
        leased = _leased(tx, job, search, planned.total)
        return Claim(tx.experiment(experiment.id), leased, len(others))


def _stopped(tx: Tx, task: Task, experiment: Experiment, last: Job) -> bool:
    """Whether the last job stopped by itself (by its patience, say), and the task asks for no more than it did."""
    if last.state is not JobState.SUCCEEDED or last.message is None:
        return False
    known = [trial.params for trial in tx.history(experiment.id) if trial.job_id != last.id]
    planned = _planned(task, experiment, known, last)
    return planned is None or _lasting(planned.search) == _lasting(last.search)


def _lasting(search: Search) -> dict[str, Any]:
    """The fields of a search that make it ask for more, or for something else."""
    return search.model_dump(mode="json", exclude_none=True, exclude=set(INCIDENTAL))


def _with_space(store: Store, task: Task, experiment: Experiment) -> Experiment:
    wanted, there = task.experiment.spec().space, experiment.spec.space
    if wanted == there:
        return experiment
    try:
        with store.write() as tx:
            return service.change(tx, experiment.id, parameters=wanted.parameters, constraints=wanted.constraints)
    except InvalidSpace as error:
        raise InvalidSpace(f"the run {task.name!r} has another space: {error.message}, or give another name") from error


def _planned(task: Task, experiment: Experiment, known: Sequence[Point], job: Job | None) -> Plan | None:
    """The search for what is left beyond the `known` trials of earlier jobs; None when nothing is."""
    asked = task.search(None).search()
    counted = "n_iter" in samplers.find(samplers.resolved(asked).type).fields
    trials = task.trials
    if trials is None and counted and asked.budget_s is None:
        trials = samplers.DEFAULT_TRIALS
    left = None if trials is None else trials - len(known)
    if left is not None and left <= 0:
        return None
    search = task.search(left, known).search()
    if job is not None:  # what was drawn and chosen when it began stays
        seed = job.search.seed if search.seed is None else search.seed
        search = search.evolve(seed=seed, chosen=job.search.chosen if search.type == job.search.type else None)
    planned = samplers.plan(experiment, search, MAX_GRID_POINTS)
    done = planned.total is not None and planned.total <= len(known) and not counted
    return None if done else planned


def _reopened(tx: Tx, job: Job) -> Job:
    """A job that a dead or interrupted process left, queued again with what it had begun; a failed one, once more."""
    now = tx.lock_job(job.id)
    if now.state is JobState.FAILED:
        return tx.retry_job(job.id)
    if now.state is not job.state or now.lease_token != job.lease_token or _held(now):
        raise JobActive(job_id=job.id)  # somebody else took it meanwhile
    return now if now.state is JobState.QUEUED else tx.set_job_state(now, JobState.QUEUED)


def _leased(tx: Tx, job: Job, search: Search, total: int | None) -> Job:
    """Claim this very job; nobody sees it queued, as this happens in the transaction that queues it."""
    now = utcnow()
    progress = job.progress.evolve(total=total)
    return tx.set_job_state(
        job,
        JobState.RUNNING,
        search=search.model_dump(mode="json", exclude_none=True),
        progress=progress.model_dump(mode="json"),
        lease_owner=owner.this_process(),
        lease_token=secrets.token_hex(16),
        lease_expires_at=now + timedelta(seconds=LEASE_S),
        started_at=job.started_at or now,
        attempt=job.attempt + 1,
    )
