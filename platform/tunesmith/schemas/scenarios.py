"""Scenarios on the wire: an algorithm on a dataset, its run, its KPIs; comparisons, and searches over parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.domain import JobState, Parameter, Priority, Time
from tunesmith.domain.session import Scenario, Standing
from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.requests import OptimizerRequest, SpaceRequest
from tunesmith.schemas.sessions import Name
from tunesmith.schemas.words import SCENARIO_WORDS

STOPPED = "the run was cancelled"
"""The error of a run that a person stopped."""
Values = Annotated[Mapping[str, Any] | None, Field(max_length=1000)]
"""Parameter -> value; null is the same as none."""


class ScenarioRequest(Request):
    """An algorithm with its parameters, on a dataset."""

    tag: Name
    """Its name, unique in the session."""
    dataset_key: Name
    """The dataset that it is computed on."""
    algo_name: Name
    """The algorithm."""
    algo_params: Values = None
    """Its parameters; those left out have their defaults."""
    data_params: Values = None
    """The dataset's own knobs."""


class FromTrialRequest(Request):
    """A scenario with the parameters of a trial of an optimization."""

    experiment_id: Annotated[int, Field(ge=1, lt=2**63)] | Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
    """The optimization's experiment, as `optimize` answered it: a number, or its digits as text."""
    number: int | None = Field(default=None, ge=0, lt=2**63)
    """The trial's number; null: the best one."""
    tag: Name
    """The scenario's name, unique in the session."""


class CompareRequest(Request):
    """Scenarios to be compared."""

    ids: tuple[Annotated[str, Field(max_length=64)], ...] = Field(min_length=1, max_length=100)
    """Their ids, one column each."""

    @field_validator("ids")
    @classmethod
    def _once_each(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((given for given in ids if ids.count(given) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands there twice; list each scenario once")
        return ids


class KpiObjective(Request):
    """A KPI to be optimized."""

    kpi: Name
    """The KPI."""
    direction: Literal["minimize", "maximize"] | None = None
    """Null: the one in which the KPI is better."""


class OptimizeRequest(SpaceRequest):
    """A search over an algorithm's parameters, for the best KPIs."""

    algo_name: Name
    """The algorithm."""
    dataset_key: Name
    """The dataset that it is computed on."""
    parameters: tuple[Parameter, ...] = Field(min_length=1, max_length=1000)
    """The search space: ranges or choices of the algorithm's own parameters."""
    parameter_constraints: tuple[str, ...] = Field(default=(), max_length=100)
    """What must hold between parameters."""
    objectives: tuple[KpiObjective, ...] = Field(min_length=1, max_length=20)
    """The KPIs to be optimized."""
    algo_params: Values = None
    """Parameters of the algorithm that are held at one value."""
    data_params: Values = None
    """The dataset's own knobs."""
    optimizer: OptimizerRequest = OptimizerRequest(type="bayesopt", n_init=2, n_iter=2)
    """How to search, as for a job of an experiment."""
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    """Who goes first in the queue."""

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[KpiObjective, ...]) -> tuple[KpiObjective, ...]:
        names = [objective.kpi for objective in objectives]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands there twice; list each KPI once")
        return objectives

    @property
    def rank(self) -> int:
        """The priority as the store sorts it."""
        return int(Priority[self.priority.upper()])


class KpiAnswer(Answer):
    """A KPI of a result."""

    name: str
    """The KPI."""
    better_when: Literal["HIGHER", "LOWER", "AT_LEAST", "AT_MOST"]
    """Which values are better, or good enough."""
    unit: str | None
    """The value's unit."""
    value: float
    """What it is."""
    threshold: float | None
    """What it should reach, or keep below."""
    success: bool | None
    """Whether it does; null without a threshold."""


class AlgorithmAnswer(Answer):
    """A scenario's algorithm."""

    name: str
    """The algorithm."""
    parameters: Mapping[str, Any]
    """Parameter -> value, defaults included."""


class ScenarioStatus(Answer):
    """Where a scenario stands: small, for polling."""

    id: str
    """The scenario's UUID."""
    tag: str
    """Its name."""
    status: str
    """`created`, `queued`, `processing`, `complete` or `failed`."""
    progress: int
    """Percent of the run that is done, 0 to 100."""

    @classmethod
    def of(cls, standing: Standing) -> ScenarioStatus:
        """The answer for a scenario."""
        return cls.model_construct(
            id=standing.id, tag=standing.tag, status=SCENARIO_WORDS[standing.state], progress=standing.progress
        )


class ScenarioAnswer(ScenarioStatus):
    """A scenario, its run and its KPIs."""

    input_data_id: str
    """The dataset that it is computed on."""
    dataset_key: str
    """What that is called."""
    kpis: Mapping[str, KpiAnswer | None]
    """KPI -> what it is; null while it is not computed."""
    algorithm: AlgorithmAnswer
    """The algorithm, with its parameters."""
    data_parameters: Mapping[str, Any]
    """The dataset's own knobs."""
    created_at: Time
    """When it was made."""
    run_started_at: Time | None
    """When its run began."""
    run_finished_at: Time | None
    """When its run ended."""
    result: Any = None
    """What the algorithm returned; `{"error": message}` of a failed run; null before, and in a summary."""

    @classmethod
    def showing(cls, scenario: Scenario, kpis: Mapping[str, Mapping[str, Any] | None]) -> ScenarioAnswer:
        """The answer for a scenario, with what its KPIs show; what the algorithm returned is not in it."""
        failed = scenario.state in (JobState.FAILED, JobState.CANCELLED)
        return cls.model_construct(
            id=scenario.id,
            tag=scenario.tag,
            input_data_id=scenario.dataset_id,
            dataset_key=scenario.dataset_key,
            kpis={name: None if shown is None else KpiAnswer.model_construct(**shown) for name, shown in kpis.items()},
            algorithm=AlgorithmAnswer(name=scenario.algorithm, parameters=scenario.parameters),
            data_parameters=scenario.data_parameters,
            status=SCENARIO_WORDS[scenario.state],
            progress=scenario.progress,
            created_at=scenario.created_at,
            run_started_at=scenario.started_at,
            run_finished_at=scenario.ended_at,
            result={"error": scenario.error or STOPPED} if failed else None,
        )
