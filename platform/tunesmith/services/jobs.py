"""Jobs: submitted, stopped, paused, resumed, retried."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.domain import ExperimentSpec, Job, JobState, Search, Trial
from tunesmith.errors import (
    ExperimentArchived,
    InvalidOptimizer,
    JobNotFound,
    NodeTypeUnavailable,
    NoTool,
    TrialNotFound,
)
from tunesmith.store import Tx

WAITING = (JobState.CREATED, JobState.QUEUED, JobState.PAUSED, JobState.RETRY_WAIT)


def placement(spec: ExperimentSpec, node_types: frozenset[str], dev: bool) -> str | None:
    """What to say about where a job's trials will run; None when it is where the experiment says.

    Raises:
        NodeTypeUnavailable: the cluster has no node of the type that the experiment asks for.
    """
    wanted = spec.compute.instance_model
    if spec.compute.type != "ec2" or wanted in node_types:
        return None
    if dev and not node_types:
        return f"there is no {wanted} node in development mode; its trials run on this machine"
    there = f"it has: {', '.join(sorted(node_types))}" if node_types else "it has no typed nodes"
    raise NodeTypeUnavailable(
        f"The cluster has no node of type {wanted!r}; {there}", wanted=wanted, node_types=sorted(node_types)
    )


def check_cost(search: Search, prices: Mapping[str, float]) -> None:
    """Raise InvalidOptimizer when a search is limited by its cost, and nobody knows what nodes cost."""
    if search.max_cost is not None and not prices:
        raise InvalidOptimizer(
            f"optimizer.max_cost ({search.max_cost:g}) needs the prices of nodes; set TUNESMITH_PRICES, "
            'for instance {"t3.large": 0.0832}, or use budget_s',
            field="max_cost",
        )


def submit(
    tx: Tx,
    experiment_id: int,
    search: Search,
    total: int | None,
    priority: int = 10,
    submitted_by: str | None = None,
    note: str | None = None,
) -> Job:
    """Queue a job.

    Raises:
        ExperimentNotFound: there is no such experiment.
        ExperimentArchived: it takes no new jobs.
        NoTool: the platform cannot evaluate its trials.
        JobActive: it has one already.
        QuotaExceeded: the workspace may not have so many trials.
    """
    experiment = tx.experiment(experiment_id)
    if experiment.archived:
        raise ExperimentArchived(experiment_id=experiment_id)
    if experiment.spec.external:
        raise NoTool(experiment_id=experiment_id)
    return tx.create_job(experiment_id, search, total, priority, submitted_by, note)


def active_job(tx: Tx, experiment_id: int) -> Job:
    """The experiment's queued or running job. Raises ExperimentNotFound, JobNotFound."""
    tx.experiment(experiment_id)
    job = tx.active_job(experiment_id)
    if job is None:
        raise JobNotFound(f"Experiment {experiment_id} has no queued or running job", experiment_id=experiment_id)
    return job


def cancel(tx: Tx, job_id: str) -> Job:
    """Stop a job: its finished trials stay, its running ones are killed. Raises JobNotFound, StateForbids."""
    if tx.lock_job(job_id).state is JobState.RUNNING:
        return tx.ask_job(job_id, "cancelled")
    return tx.move_job(job_id, JobState.CANCELLED, WAITING)


def pause(tx: Tx, job_id: str) -> Job:
    """Start no more trials of a job; the running ones finish. Raises JobNotFound, StateForbids."""
    if tx.lock_job(job_id).state is JobState.RUNNING:
        return tx.ask_job(job_id, "paused")
    return tx.move_job(job_id, JobState.PAUSED, (JobState.QUEUED, JobState.RETRY_WAIT))


def resume(tx: Tx, job_id: str) -> Job:
    """Let a paused job go on, at once, or one that is about to pause. Raises JobNotFound, StateForbids."""
    job = tx.job(job_id)
    if job.state is JobState.RUNNING and job.wanted == "paused":
        return tx.ask_job(job_id, None)
    return tx.move_job(job_id, JobState.QUEUED, (JobState.PAUSED,), available_at=None)


def retry(tx: Tx, job_id: str) -> Job:
    """Queue an ended job again; its failed trials run once more. Raises JobNotFound, StateForbids, JobActive."""
    return tx.retry_job(job_id)


def trial_of(tx: Tx, job: Job, number: int) -> Trial:
    """One of the job's trials. Raises TrialNotFound, also for a trial of another job."""
    trial = tx.trial(job.experiment_id, number)
    if trial.job_id != job.id:
        raise TrialNotFound(f"{job.id} has no trial {number}; it is one of {trial.job_id}", number=number)
    return trial
