"""A job as SQL has it, taken up: what its search has to know, and what is still open."""

from __future__ import annotations

from collections.abc import Callable

from tuners import samplers
from tuners.jobrun import Claim, JobRun, Reserve
from tuners.messages import Shape
from tuners.others import Others
from tuners.studies.finite import untried
from tunesmith.domain import Experiment, ExperimentSpec, Job, Search
from tunesmith.store import Tx


def load(tx: Tx, job: Job, shape: Callable[[ExperimentSpec], Shape], reserve: Reserve, claim: Claim) -> JobRun:
    """The run of a job. Its history is read as a stream, for it may be long. `reserve`, `claim`: see JobRun."""
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
        claim if _countable(experiment, search) else None,
        [tx.curves(experiment.id, objective.metric) for objective in objectives] if search.pruner is not None else (),
        tx.history(experiment.id, job.id),
        tx.best_trials(experiment) if search.goal is not None else (),
    )
    run.others = others
    return run


def _countable(experiment: Experiment, search: Search) -> bool:
    """Whether others may come upon the same points: those of a list, or of a finite space."""
    spec, plain = experiment.spec, samplers.resolved(search)
    listed = samplers.find(plain.type).finite
    return not spec.define_by_run and (listed or untried(spec.space, plain.fixed) is not None)
