"""Scenarios: made, run, reset, cancelled, deleted; a run is a job of an experiment of one point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.domain import (
    AlgorithmTool,
    Dataset,
    Experiment,
    ExperimentSpec,
    JobState,
    KpiSpec,
    Scenario,
    Session,
    Space,
    Trial,
)
from tunesmith.errors import BadRequest, DatasetNotFound, InvalidBody, NameTaken, StateForbids, TrialNotFound
from tunesmith.scenarios.parameters import settle
from tunesmith.services import jobs
from tunesmith.services.firing import ONE_POINT
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.plugins import Registry

Values = Mapping[str, Any] | None
"""Parameter -> value in its JSON form; those left out have their defaults."""


def create(
    tx: Tx,
    registry: Registry,
    session: Session,
    tag: str,
    dataset_key: str,
    algo_name: str,
    algo_params: Values = None,
    data_params: Values = None,
) -> Scenario:
    """Make one, not yet run.

    Raises:
        AlgorithmNotFound, DatasetNotFound, SessionNotFound: there is none of that name.
        InvalidBody: the tag is blank.
        NameTaken: the session has a scenario of that tag.
        InvalidParameter: a parameter is unknown, or its value is none.
    """
    algorithm = registry.algorithm(algo_name).item
    tx.lock_session(session.id)
    dataset = tx.dataset(session.id, dataset_key)
    if not tag.strip():
        raise InvalidBody("tag: it is blank; give one that people can see", field="tag")
    if tx.tag_taken(session.id, tag):
        raise NameTaken(f"A scenario has the name {tag!r} already; choose another one", field="tag", value=tag)
    parameters = algorithm.settle(algo_params or {})
    knobs = settle(registry.data_source.parameters(), data_params or {}, dataset_key)
    return tx.create_scenario(session.id, tag, dataset.id, algo_name, parameters, knobs)


def run(tx: Tx, registry: Registry, session: Session, scenario_id: str, submitted_by: str | None = None) -> Scenario:
    """Queue its run; one that has to wait until others of the session have ended begins by itself then.

    Raises:
        SessionNotFound, ScenarioNotFound: there is none.
        StateForbids: it was run, and not reset.
        AlgorithmNotFound: the algorithm is not there any more.
    """
    session, scenario = _hold(tx, session, scenario_id)
    if scenario.state is not JobState.CREATED:
        raise _forbidden(scenario, "reset it before you run it again")
    spec = spec_of(registry, scenario, tx.dataset_by_id(scenario.dataset_id))
    if scenario.experiment_id is None:
        experiment = tx.own_experiment(session.workspace_id, scenario.id, spec.tool_name, spec, [scenario.tag])
    else:
        tx.change_program(scenario.experiment_id, spec, [scenario.tag])
        experiment = tx.experiment(scenario.experiment_id)
    state = JobState.QUEUED if tx.has_room(session) else JobState.CREATED
    job = tx.create_job(experiment.id, ONE_POINT, 1, submitted_by=submitted_by, state=state)
    tx.first_attempt(job, experiment)
    return tx.set_run(scenario, experiment.id, job.id)


def reset(tx: Tx, session: Session, scenario_id: str) -> Scenario:
    """Let one that has ended be as before its run; the run stays with the experiment that it is.

    Raises:
        SessionNotFound, ScenarioNotFound: there is none.
        StateForbids: it has not ended, or was not run.
    """
    _session, scenario = _hold(tx, session, scenario_id)
    if not scenario.state.ended:
        created = scenario.state is JobState.CREATED
        raise _forbidden(scenario, "there is nothing to reset" if created else "cancel it before you reset it")
    return tx.set_run(scenario, scenario.experiment_id, None)


def cancel(tx: Tx, session: Session, scenario_id: str) -> Scenario:
    """Stop its run, at once or as soon as its runner hears of it; it has failed then.

    Raises:
        SessionNotFound, ScenarioNotFound: there is none.
        StateForbids: it does not run, and does not wait to run.
    """
    _session, scenario = _hold(tx, session, scenario_id)
    if scenario.job_id is None or not scenario.state.active or tx.lock_job(scenario.job_id).state.ended:
        raise _forbidden(tx.scenario(session.id, scenario_id), "there is nothing to cancel")
    jobs.cancel(tx, scenario.job_id)
    return tx.scenario(session.id, scenario_id)


def delete(tx: Tx, session: Session, scenario_id: str) -> None:
    """Delete it with its runs. Raises SessionNotFound, ScenarioNotFound, StateForbids (it runs)."""
    _session, scenario = _hold(tx, session, scenario_id)
    tx.delete_scenario(scenario)


def from_trial(
    tx: Tx, registry: Registry, session: Session, experiment_id: int, number: int | None, tag: str
) -> Scenario:
    """A scenario with the parameters of a trial of an optimization; without a number, of the best one.

    Raises:
        ExperimentNotFound, TrialNotFound: there is none, or no best one yet.
        BadRequest: the experiment is none over an algorithm's parameters.
        DatasetNotFound: the session has not the dataset that it is computed on.
        AlgorithmNotFound, InvalidBody, NameTaken, InvalidParameter, SessionNotFound: as for `create`.
    """
    experiment = tx.experiment(experiment_id)
    tool = experiment.spec.tool
    if not isinstance(tool, AlgorithmTool) or tool.kind != "algorithm" or len(experiment.spec.space) == 0:
        message = f"Experiment {experiment_id} is none over an algorithm's parameters; take one that `optimize` made"
        raise BadRequest(message, experiment_id=experiment_id)
    trial = _chosen(tx, experiment, number)
    dataset = _dataset_of(tx, session, experiment_id, tool)
    parameters = {**tool.parameters, **trial.params}
    return create(tx, registry, session, tag, dataset.key, tool.name, parameters, tool.data_parameters)


def kpis_of(registry: Registry, algo_name: str) -> tuple[KpiSpec, ...]:
    """The KPIs that an algorithm's results are measured by: those of its plugin; none where it is not there."""
    known = registry.algorithms.get(algo_name)
    return tuple(
        kpi.item.spec for kpi in registry.kpis.values() if known is not None and kpi.reference == known.reference
    )


def measured_by(registry: Registry, scenario: Scenario) -> tuple[KpiSpec, ...]:
    """The KPIs of a scenario's run, as they were then; without a run, those that it would be measured by now."""
    return kpis_of(registry, scenario.algorithm) if scenario.job_id is None else scenario.kpis


def spec_of(registry: Registry, scenario: Scenario, dataset: Dataset) -> ExperimentSpec:
    """The experiment of one point that a scenario is. Raises AlgorithmNotFound."""
    tool = tool_of(registry, scenario.algorithm, dataset, scenario.parameters, scenario.data_parameters)
    limit = registry.algorithm(scenario.algorithm).item.timeout_s
    return ExperimentSpec(tool_name=tool.name, tool=tool, space=Space(parameters=()), trial_timeout_s=limit)


def tool_of(
    registry: Registry, algo_name: str, dataset: Dataset, parameters: Mapping[str, Any], knobs: Mapping[str, Any]
) -> AlgorithmTool:
    """An algorithm on the present version of a dataset. Raises AlgorithmNotFound."""
    return AlgorithmTool(
        name=algo_name,
        plugin=registry.algorithm(algo_name).reference,
        parameters=parameters,
        files=dataset.files,
        data_parameters=knobs,
        kpis=kpis_of(registry, algo_name),
    )


def _hold(tx: Tx, session: Session, scenario_id: str) -> tuple[Session, Scenario]:
    """Both as they are now, the session's row held."""
    return tx.lock_session(session.id), tx.scenario(session.id, scenario_id)


def _forbidden(scenario: Scenario, remedy: str) -> StateForbids:
    state = scenario.state.value
    return StateForbids(f"The scenario is {state}; {remedy}", scenario_id=scenario.id, state=state)


def _chosen(tx: Tx, experiment: Experiment, number: int | None) -> Trial:
    if number is not None:
        return tx.trial(experiment.id, number)
    best = tx.best_trials(experiment)
    if not best:
        message = f"Experiment {experiment.id} has no complete trial yet that keeps its constraints"
        raise TrialNotFound(message, experiment_id=experiment.id)
    return best[0]


def _dataset_of(tx: Tx, session: Session, experiment_id: int, tool: AlgorithmTool) -> Dataset:
    """The session's dataset with the experiment's very files, or the one they were a version of."""
    linked = tx.optimized_dataset(experiment_id)
    found = tx.datasets(session.id)
    same = [dataset for dataset in found if dataset.files == tool.files]
    same += [dataset for dataset in found if dataset.id == linked]
    if not same:
        message = f"The session has not the dataset that experiment {experiment_id} is computed on"
        raise DatasetNotFound(message, experiment_id=experiment_id)
    return same[0]
