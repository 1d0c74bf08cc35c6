"""The logs of trials as text streams: one trial's, or all of a job's in order, to their end or as they grow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice

import anyio
from starlette.concurrency import run_in_threadpool

from serve_app.context import Context
from tunesmith.domain import Job, Trial, TrialState
from tunesmith.domain.page import encode_cursor
from tunesmith.storage import CHUNK, Storage, trial_key

POLL_S = 0.2
"""Seconds between two looks at a growing log."""
CHUNKS = 16
"""Chunks of the storage that are read, and sent, at once."""
TRIALS = 100
"""Trials read at once."""


def log_key(trial: Trial) -> str:
    """Where the trial's log lies, also while it is still running."""
    return trial.log or trial_key(trial.experiment_id, trial.number) + "/log.txt"


def check_readable(storage: Storage, trial: Trial) -> None:
    """Raise StorageUnavailable while there is still a status to say it with."""
    next(storage.read(log_key(trial)), None)


async def trial_log(here: Context, trial: Trial, follow: bool) -> AsyncIterator[bytes]:
    """A trial's log; with `follow` until the trial has finished. Raises StorageUnavailable."""
    offset, attempt = 0, trial.attempt
    while True:
        if follow:
            trial = await run_in_threadpool(_trial, here, trial.experiment_id, trial.number)
        if trial.attempt != attempt:
            offset, attempt = 0, trial.attempt
        if follow:
            offset = await run_in_threadpool(_position, here.storage, log_key(trial), offset)
        while data := await run_in_threadpool(_read, here.storage, log_key(trial), offset):
            offset += len(data)
            yield data
        if not follow or trial.state.finished:
            return
        await anyio.sleep(POLL_S)


def trial_title(trial: Trial) -> str:
    """What the header line above a trial's log says."""
    return f"trial {trial.number} ({trial.state})"


async def job_log(
    here: Context, job: Job, follow: bool, title: Callable[[Trial], str] = trial_title, after: int = -1
) -> AsyncIterator[bytes]:
    """The logs of a job's trials, each after a header line; with `follow` until the job has ended.

    `after`: the number of the last trial that is left out.
    """
    last = after
    while True:
        ended, found = await run_in_threadpool(_next_trials, here, job, last)
        for trial in found:
            started = await _started(here, trial) if follow else trial
            yield f"==> {title(started)} <==\n".encode()
            end = b"\n"
            async for data in trial_log(here, started, follow):
                end = data[-1:]
                yield data
            if end != b"\n":
                yield b"\n"
            last = trial.number
        if not found and (ended or not follow):
            return
        if not found:
            await anyio.sleep(POLL_S)


async def _started(here: Context, trial: Trial) -> Trial:
    while trial.state is TrialState.WAITING:
        await anyio.sleep(POLL_S)
        trial = await run_in_threadpool(_trial, here, trial.experiment_id, trial.number)
    return trial


def _position(storage: Storage, key: str, offset: int) -> int:
    """Where to go on: a log that became shorter was rotated, and the last of it may be new."""
    if storage.local is None or offset == 0:
        return offset
    try:
        size = (storage.local / key).stat().st_size
    except OSError:
        return offset
    return offset if size >= offset else max(0, size - CHUNK)


def _read(storage: Storage, key: str, offset: int) -> bytes:
    return b"".join(islice(storage.read(key, offset), CHUNKS))


def _trial(here: Context, experiment_id: int, number: int) -> Trial:
    with here.store.read() as tx:
        return tx.trial(experiment_id, number)


def _next_trials(here: Context, job: Job, after: int) -> tuple[bool, Sequence[Trial]]:
    with here.store.read() as tx:
        ended = tx.job(job.id).state.ended
        experiment = tx.experiment(job.experiment_id)
        cursor = encode_cursor(after) if after >= 0 else None
        return ended, tx.trials(experiment, cursor=cursor, limit=TRIALS, job_id=job.id).items
