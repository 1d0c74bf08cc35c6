"""Carrying a run out: claim it, have it worked on, read what was found, and say clearly how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tuners.api.runs import Claim, claim
from tuners.api.storage import opened, read_result, stays
from tunesmith.client.tune_progress import ProgressBar
from tunesmith.client.tune_request import Task
from tunesmith.client.tune_result import Interrupted, Result
from tunesmith.domain import Experiment, Job, JobState
from tunesmith.errors import DatabaseUnavailable, LeaseLost, TunesmithError
from tunesmith.store import Store

Work = Callable[[Store, Claim, ProgressBar], Job]
"""Evaluates the trials of a claimed run; the job as it ended. Raises KeyboardInterrupt."""


def at_interrupt(task: Task) -> JobState:
    """What becomes of a job at Ctrl-C: only a run with a name can be taken up again."""
    return JobState.PAUSED if task.named else JobState.CANCELLED


def carry_out(task: Task, url: str, work: Work, code: str | None = None, kept: bool = True) -> Result:
    """Claim a run in a database, work on it, and read its result. `kept`: whether the database stays.

    Raises:
        Interrupted: Ctrl-C.
        TunesmithError: no trial succeeded, or too many failed.
    """
    store, kept = opened(url), kept and stays(url)
    try:
        claimed = claim(store, task, code)
        if isinstance(claimed, Experiment):  # there is nothing left to do
            return read_result(store, url, claimed.id, kept)
        experiment_id, metric = claimed.experiment.id, claimed.experiment.spec.objectives[0].metric
        with ProgressBar(task.name, metric, task.progress, claimed.before) as bar:
            try:
                job = work(store, claimed, bar)
            except BaseException as error:
                let_go(store, claimed, at_interrupt(task))
                if isinstance(error, KeyboardInterrupt):
                    raise interrupted(task, read_result(store, url, experiment_id, kept)) from error
                raise
        if job.state is JobState.FAILED:
            raise TunesmithError(f"{task.name!r} failed: {job.error}", name=task.name, job_id=job.id)
        return read_result(store, url, experiment_id, kept)
    finally:
        store.close()


def let_go(store: Store, claimed: Claim, state: JobState) -> None:
    """Give the run back, unless that was done already or somebody else holds it."""
    with contextlib.suppress(LeaseLost, DatabaseUnavailable), store.write() as tx:
        tx.end_lease(claimed.job.id, str(claimed.job.lease_token), state)


def interrupted(task: Task, found: Result) -> Interrupted:
    """The exception that Ctrl-C becomes."""
    onwards = f"; the same call goes on with it, by its name {task.name!r}" if task.named else ""
    return Interrupted(f"interrupted after {len(found)} trials{onwards}", found)
