"""A job as SQL has it, taken up: what its search has to know, and what is still open."""

from __future__ import annotations

from collections.abc import Callable

from tuners import samplers
from tuners.jobrun import JobRun, Reserve
from tuners.messages import Shape
from tuners.others import Others
from tunesmith.domain import ExperimentSpec, Job
from tunesmith.store import Tx


def load(tx: Tx, job: Job, shape: Callable[[ExperimentSpec], Shape], reserve: Reserve) -> JobRun:
    """The run of a job. Its history is read as a stream, for it may be long. `reserve`: see JobRun."""
    experiment = tx.experiment(job.experiment_id)
    search = job.search
    if search.space is not None:  # the experiment's was changed after the job was planned
        experiment = experiment.evolve(spec=experiment.spec.evolve(space=search.space))
    objectives = experiment.spec.objectives
    learns = samplers.needs_history(search)
    others = Others(tx, experiment.id, job.id) if learns else None
    run = JobRun(
        experiment,
        job,
        shape(experiment.spec),
        tx.history(experiment.id, None if learns else job.id),
        tx.open_trials(job.id),
        reserve,
        [tx.curves(experiment.id, objective.metric) for objective in objectives] if search.pruner is not None else (),
        tx.history(experiment.id, job.id),
        tx.best_trials(experiment) if search.goal is not None else (),
    )
    run.others = others
    return run
