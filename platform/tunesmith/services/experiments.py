"""Experiments: made or found by content, changed, and shown with their job and their best."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tunesmith.domain import Experiment, ExperimentSpec, Job, Parameter, Space, Trial, TrialState
from tunesmith.errors import InvalidSpace
from tunesmith.store import Tx


@dataclass(frozen=True)
class Overview:
    """An experiment, its active job, and its best trials."""

    experiment: Experiment
    job: Job | None
    best: list[Trial]


def get_or_create(tx: Tx, spec: ExperimentSpec) -> tuple[Experiment, bool]:
    """The experiment of this content, and whether it is new."""
    return tx.get_or_create_experiment(tx.workspace(), spec)


def overview(tx: Tx, experiment_id: int) -> Overview:
    """An experiment with its job and its best. Raises ExperimentNotFound."""
    experiment = tx.experiment(experiment_id)
    best = tx.best_trials(experiment) if experiment.counts[TrialState.COMPLETE] else []
    return Overview(experiment, tx.active_job(experiment_id), best)


def change(
    tx: Tx,
    experiment_id: int,
    name: str | None = None,
    tags: tuple[str, ...] | None = None,
    archived: bool | None = None,
    parameters: tuple[Parameter, ...] | None = None,
    constraints: tuple[str, ...] | None = None,
) -> Experiment:
    """Rename, tag, archive, or give later jobs a wider or narrower space.

    Raises:
        ExperimentNotFound: there is no such experiment.
        InvalidSpace: the new space has other parameters, or other types of them.
    """
    space = None
    if parameters is not None or constraints is not None:
        old = tx.experiment(experiment_id).spec.space
        space = changed_space(old, parameters, constraints)
        tx.drop_prepared(experiment_id)
        job = tx.active_job(experiment_id)
        if job is not None and job.search.space is None:  # it was planned with the old one, and keeps it
            tx.change_search(job.id, job.search.evolve(space=old))
    return tx.update_experiment(experiment_id, name, tags, archived, space)


def changed_space(old: Space, parameters: tuple[Parameter, ...] | None, constraints: tuple[str, ...] | None) -> Space:
    """The space with other ranges or constraints, where they are given. Raises InvalidSpace."""
    try:
        space = Space(
            parameters=old.parameters if parameters is None else parameters,
            constraints=old.constraints if constraints is None else constraints,
        )
    except ValidationError as error:
        raise InvalidSpace(f"parameter_constraints: {error.errors()[0]['msg']}") from error
    _check_same_parameters(old, space)
    return space


def _check_same_parameters(old: Space, new: Space) -> None:
    before = {parameter.name: parameter.type for parameter in old}
    after = {parameter.name: parameter.type for parameter in new}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise InvalidSpace(
                f"parameters: {name!r} was {before.get(name, 'not there')} and would be {after.get(name, 'gone')}; "
                "a living experiment keeps its parameters, only ranges and choices may change. Post a new experiment.",
                parameter=name,
            )
