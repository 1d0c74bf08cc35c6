"""Optimizing an algorithm's parameters by its KPIs: an ordinary experiment, on a dataset of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from tunesmith.domain import (
    Experiment,
    ExperimentSpec,
    Job,
    KpiSpec,
    Objective,
    Parameter,
    Priority,
    Scalar,
    Search,
    Session,
    Space,
    metric_name,
)
from tunesmith.errors import BadRequest, InvalidParameter, InvalidSpace
from tunesmith.scenarios.parameters import nearest, settle
from tunesmith.services import jobs
from tunesmith.services.scenarios import kpis_of, tool_of
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.plugins import Registry
    from tunesmith.scenarios import Algorithm, ParameterType

Direction = Literal["minimize", "maximize"]
Planned = tuple[Search, int | None, str | None]
"""A search with everything filled in, its trials where their number is known, and what is to be known about it."""
SEARCHED: Mapping[str, tuple[str, ...]] = {
    "integer": ("int", "categorical"),
    "float": ("float", "int", "categorical"),
    "enum": ("categorical",),
    "boolean": ("categorical",),
}
"""Type of an algorithm's parameter -> the types that it may have in a space, the usual one first."""


@dataclass(frozen=True)
class Optimization:
    """What is to be optimized."""

    algo_name: str
    """The algorithm."""
    dataset_key: str
    """The session's dataset that it is computed on."""
    parameters: Sequence[Parameter]
    """The space: parameters of the algorithm."""
    objectives: Sequence[tuple[str, Direction | None]]
    """KPIs, and which end is better; None: the one that the KPI says."""
    constraints: Sequence[str] = ()
    """What must hold between the parameters of the space."""
    algo_params: Mapping[str, Any] | None = None
    """Parameters of the algorithm that are held fixed; the others have their defaults."""
    data_params: Mapping[str, Any] | None = None
    """The dataset's own knobs."""
    priority: int = int(Priority.NORMAL)
    """Higher goes first."""
    submitted_by: str | None = None
    """Who asks for it."""


def optimize(
    tx: Tx, registry: Registry, session: Session, asked: Optimization, plan: Callable[[Experiment], Planned]
) -> tuple[Experiment, Job]:
    """Queue a job over an algorithm's parameters; asked for again, its experiment goes on with what it has learnt.

    `plan` makes the search for the experiment; when it raises, nothing is left.

    Raises:
        AlgorithmNotFound, DatasetNotFound, SessionNotFound: there is none of that name.
        InvalidParameter: a parameter is unknown, or of a type that cannot be searched, or leaves its range.
        InvalidSpace: the parameters, or constraints between them, make no space.
        BadRequest: there is no KPI of a name.
        JobActive: the same is being optimized.
    """
    algorithm = registry.algorithm(asked.algo_name).item
    now = tx.lock_session(session.id)
    dataset = tx.dataset(now.id, asked.dataset_key)
    fixed = _fixed(algorithm, asked)
    knobs = settle(registry.data_source.parameters(), asked.data_params or {}, asked.dataset_key)
    spec = ExperimentSpec(
        tool_name=asked.algo_name,
        tool=tool_of(registry, asked.algo_name, dataset, fixed, knobs),
        space=_space(asked),
        objectives=_objectives(asked, kpis_of(registry, asked.algo_name)),
        trial_timeout_s=algorithm.timeout_s,
    )
    experiment, _new = tx.get_or_create_experiment(now.workspace_id, spec)
    if experiment.archived:
        experiment = tx.update_experiment(experiment.id, archived=False)
    tx.link_optimization(experiment.id, now.id, dataset.id)
    search, total, note = plan(experiment)
    return experiment, jobs.submit(tx, experiment.id, search, total, asked.priority, asked.submitted_by, note)


def _fixed(algorithm: type[Algorithm], asked: Optimization) -> dict[str, Any]:
    """The algorithm's parameters that are not searched, checked together with those that are."""
    given = dict(asked.algo_params or {})
    searched: dict[str, Scalar] = {}
    for parameter in asked.parameters:
        if parameter.name in given:
            raise _refused(algorithm, parameter, "is held fixed and searched; take it out of one of them")
        searched[parameter.name] = _extremes(parameter)[0]
    settled = algorithm.settle({**given, **searched})
    declared = algorithm.parameters()
    for parameter in asked.parameters:
        _check(algorithm, parameter, declared[parameter.name])
    return {name: value for name, value in settled.items() if name not in searched}


def _check(algorithm: type[Algorithm], parameter: Parameter, declared: ParameterType[Any]) -> None:
    """Raise InvalidParameter unless every value of the space's parameter is one of the algorithm's."""
    allowed = SEARCHED.get(declared.type)
    if allowed is None:
        raise _refused(algorithm, parameter, f"is of type {declared.type}, which cannot be searched; hold it fixed")
    if parameter.type not in allowed:
        raise _refused(algorithm, parameter, f"is of type {declared.type}; search it as {allowed[0]}")
    if parameter.when and declared.required:
        raise _refused(algorithm, parameter, "is required, so it has to be there always; leave `when` out")
    for value in _extremes(parameter):
        try:
            declared.parse(value)
        except ValueError as error:
            raise _refused(algorithm, parameter, f"{error}; take {declared.wanted}") from None


def _extremes(parameter: Parameter) -> Sequence[Scalar]:
    """The lowest and the highest value, or all choices."""
    if parameter.type == "categorical":
        return parameter.choices or ()
    return [parameter.cast(bound) for bound in parameter.bounds]


def _space(asked: Optimization) -> Space:
    try:
        return Space(parameters=tuple(asked.parameters), constraints=tuple(asked.constraints))
    except ValidationError as error:
        raise InvalidSpace(f"parameters: {error.errors()[0]['msg']}") from error


def _objectives(asked: Optimization, kpis: Sequence[KpiSpec]) -> tuple[Objective, ...]:
    known = {kpi.name: kpi for kpi in kpis}
    for name, _direction in asked.objectives:
        if name not in known:
            message = f"objectives: {asked.algo_name} has no KPI {name!r}{nearest(name, known)}"
            raise BadRequest(f"{message}; it has {', '.join(known) or 'none'}", field="objectives", value=name)
    return tuple(
        Objective(metric=metric_name(name), direction=direction or known[name].direction)
        for name, direction in asked.objectives
    )


def _refused(algorithm: type[Algorithm], parameter: Parameter, message: str) -> InvalidParameter:
    return InvalidParameter(f"{algorithm.name}.{parameter.name}: {message}", parameter=parameter.name)
