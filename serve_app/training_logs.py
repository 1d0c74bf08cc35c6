"""The logs of training jobs as text streams: an attempt's, or those of an execution, also while they grow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.concurrency import run_in_threadpool

from serve_app.context import Context
from serve_app.logs import POLL_S, check_readable, job_log, trial_log
from tunesmith.domain import Job, TrainingJob, Trial, TrialState
from tunesmith.errors import NotFound
from tunesmith.schemas.training_answers import execution_status
from tunesmith.store import Tx

ATTEMPTS = 100
"""Attempts of an execution that are looked through for the newest that began."""


def title(trial: Trial) -> str:
    """What the header line above an attempt's log says."""
    what = f"trial {trial.number}" if trial.params else f"attempt {trial.attempt}"
    return f"{what} of execution {trial.run_number} ({execution_status(trial)})"


def execution(tx: Tx, training: TrainingJob, number: int) -> Job:
    """The firing of an execution. Raises NotFound."""
    attempts = tx.executions(training, number, limit=1).items
    if not attempts:
        raise NotFound(f"{training.id} has no execution {number}", execution=number)
    return attempts[0][1]


def newest(tx: Tx, training: TrainingJob) -> tuple[Trial, Job] | None:
    """The newest attempt of the newest execution, and its firing; one that has begun, if there is one."""
    last = tx.executions(training, limit=1).items
    if not last:
        return None
    found = tx.executions(training, last[0][0].run_number, limit=ATTEMPTS).items
    return next((pair for pair in found if pair[0].state is not TrialState.WAITING), found[0])


def attempt_log(here: Context, trial: Trial, follow: bool) -> AsyncIterator[bytes]:
    """One attempt's log; with `follow` until it has ended. Raises StorageUnavailable."""
    check_readable(here.storage, trial)
    return _until_deleted(trial_log(here, trial, follow))


def execution_log(here: Context, job: Job, follow: bool) -> AsyncIterator[bytes]:
    """The logs of all attempts of an execution, each after a header line; with `follow` until it has ended."""
    return _until_deleted(job_log(here, job, follow, title))


def newest_log(here: Context, training: TrainingJob) -> AsyncIterator[bytes]:
    """Follow the newest execution from its newest attempt on, through its retries; wait for the first one to fire."""
    return _until_deleted(_newest_log(here, training))


async def _newest_log(here: Context, training: TrainingJob) -> AsyncIterator[bytes]:
    found = await run_in_threadpool(_newest, here, training)
    after = -1 if found is None else found[0].number - 1
    while found is None:
        await anyio.sleep(POLL_S)
        found = await run_in_threadpool(_newest, here, training)
    async for data in job_log(here, found[1], True, title, after):
        yield data


def _newest(here: Context, training: TrainingJob) -> tuple[Trial, Job] | None:
    with here.store.read() as tx:
        return newest(tx, tx.training(training.id))


async def _until_deleted(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for data in stream:
            yield data
    except NotFound:  # the training job was deleted, with its logs
        return
