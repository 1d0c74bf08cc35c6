"""Request bodies of the experiments surface: what to optimize, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from tunesmith.domain import (
    CallableTool,
    CommandTool,
    Compute,
    Constraint,
    ExperimentSpec,
    ExternalTool,
    FunctionTool,
    Objective,
    Parameter,
    Priority,
    Pruner,
    Resources,
    Scalar,
    Search,
    Space,
)
from tunesmith.domain.experiment import check_objectives
from tunesmith.domain.space import check_parameters, parse_constraints
from tunesmith.domain.tool import MAX_TEMPLATE, Secrets, check_patterns
from tunesmith.schemas.base import Request

Template = Annotated[str, Field(max_length=MAX_TEMPLATE)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]

EXAMPLE_EXPERIMENT: dict[str, Any] = {
    "tool_name": "sleepExample",
    "parameters": [
        {"name": "paramA", "type": "int", "minimum": 1, "maximum": 3},
        {"name": "paramB", "type": "int", "minimum": 1, "maximum": 3},
    ],
    "command_template_string": "#!/bin/bash\nsleep $(( ${paramA} + ${paramB} ))\n",
}


class MetricsRequest(Request):
    """Where metrics come from, besides the metrics file."""

    patterns: Mapping[str, str] = {}
    """Metric name -> regular expression over stdout; the last match's first group is the value."""

    _compiles = field_validator("patterns")(check_patterns)


class SpaceRequest(Request):
    """What has `parameters` and `parameter_constraints`, checked against one another."""

    @field_validator("parameters", check_fields=False)
    @classmethod
    def _consistent(cls, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        check_parameters(parameters)
        return parameters

    @field_validator("parameter_constraints", check_fields=False)
    @classmethod
    def _parsed(cls, constraints: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        parse_constraints(constraints, info.data.get("parameters", ()))
        return constraints


class ExperimentRequest(SpaceRequest):
    """What to optimize: a command template with `${param}` holes, its parameters, and what is better."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE_EXPERIMENT]}}

    tool_name: str = Field(min_length=1, max_length=200)
    """The tool's name; its letter case does not matter."""
    parameters: tuple[Parameter, ...] = Field(max_length=1000)
    """The search space."""
    parameter_constraints: tuple[str, ...] = Field(default=(), max_length=100)
    """What must hold between parameters, for instance `["a + b <= 1", "lo < hi"]`; no sampler leaves it."""
    command_template_string: Template | None = None
    """The command, timed; `${param}` and `$param` stand for declared parameters, any other `$` is bash's."""
    function: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=500)
    """Instead of a command: `package.module:function`, which the workers import and call with the parameters."""
    callable: CallableTool | None = None
    """Instead of a command: a function that is shipped with each job (`Client.tune`)."""
    external: bool = False
    """Instead of a command: workers of your own ask for its trials and tell what came of them."""
    setup_template_string: Template | None = None
    """Run before the command, untimed."""
    finish_template_string: Template | None = None
    """Run after the command, untimed."""
    secrets: Secrets = {}
    """Variables of the environment -> names of the workspace's secrets that they get."""
    network: bool = False
    """Whether the command has a network where the platform puts trials into a sandbox."""
    compute: Compute = Compute()
    """Where trials run."""
    objectives: tuple[Objective, ...] = Field(default=(Objective(metric="wall_time_s"),), min_length=1, max_length=20)
    """What is optimized; by default the command's wall-clock seconds, minimized."""
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=100)
    """Bounds on metrics that a best trial must keep."""
    metrics: MetricsRequest = MetricsRequest()
    """Where metrics come from, besides the metrics file."""
    trial_timeout_s: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds until a trial is ended and recorded as failed."""
    resources: Resources = Resources()
    """What one trial needs."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """How often a trial evaluates its point: its values are means, with standard errors as `<metric>_stderr`."""

    _distinct = field_validator("objectives")(check_objectives)

    @model_validator(mode="after")
    def _one_tool(self) -> ExperimentRequest:
        tools = (self.command_template_string, self.function, self.callable, self.external or None)
        if sum(tool is not None for tool in tools) != 1:
            raise ValueError(
                "command_template_string is required (or function, callable or external instead, never two of them)"
            )
        if self.command_template_string is not None and not self.command_template_string.strip():
            raise ValueError("command_template_string is empty; write the command to run")
        if self.command_template_string is None and (self.setup_template_string or self.finish_template_string):
            raise ValueError("setup_template_string and finish_template_string belong to a command, not to a function")
        if self.network and self.command_template_string is None:
            raise ValueError("network belongs to a command, which may be put into a sandbox")
        if self.secrets and self.command_template_string is None and self.function is None:
            raise ValueError("secrets belong to a command or a function; those of a callable stand in it")
        return self

    def spec(self) -> ExperimentSpec:
        """The domain's form of the request."""
        tool: CallableTool | CommandTool | ExternalTool | FunctionTool
        if self.external:
            tool = ExternalTool()
        elif self.callable is not None:
            tool = self.callable
        elif self.function is not None:
            tool = FunctionTool(entrypoint=self.function, secrets=self.secrets)
        else:
            tool = CommandTool(
                command=self.command_template_string or "",
                setup=self.setup_template_string or None,
                finish=self.finish_template_string or None,
                patterns=self.metrics.patterns,
                secrets=self.secrets,
                network=self.network,
            )
        return ExperimentSpec(
            tool_name=self.tool_name,
            tool=tool,
            space=Space(parameters=self.parameters, constraints=self.parameter_constraints),
            objectives=self.objectives,
            constraints=self.constraints,
            compute=self.compute,
            trial_timeout_s=self.trial_timeout_s,
            resources=self.resources,
            repeats=self.repeats,
        )


class ExperimentPatch(Request):
    """What may change in an experiment; its content stays, and so does its identity."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    """A new name."""
    tags: tuple[Tag, ...] | None = Field(default=None, max_length=100)
    """New labels, instead of the old ones."""
    archived: bool | None = None
    """Hide it from lists and refuse new jobs, or the reverse."""
    parameters: tuple[Parameter, ...] | None = Field(default=None, max_length=1000)
    """A wider or narrower space for later jobs: the same parameters, with other ranges or choices."""
    parameter_constraints: tuple[str, ...] | None = Field(default=None, max_length=100)
    """Other constraints between the parameters, for later jobs."""

    @field_validator("parameters")
    @classmethod
    def _consistent(cls, parameters: tuple[Parameter, ...] | None) -> tuple[Parameter, ...] | None:
        check_parameters(parameters or ())
        return parameters


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not a boolean")
    return value


Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=10_000_000)]


class OptimizerRequest(Request):
    """How to search: a sampler, how long, and when to stop. A sampler's own options stand beside these fields."""

    model_config = {**Request.model_config, "extra": "allow"}  # a sampler's options; the registry checks their names

    type: str = Field(default="bayesopt", max_length=100)
    """`bayesopt`, `grid`, `random`, or any sampler that `GET /api/v1/samplers` lists."""
    n_init: Count | None = None
    """bayesopt: random points first."""
    n_iter: Count | None = None
    """Trials (bayesopt: model-based ones after the random ones)."""
    num_configs_per_param: int | tuple[int, ...] | None = None
    """grid: points per parameter, one number or one per parameter."""
    budget_s: float | None = Field(default=None, gt=0)
    """Seconds after which no new trial starts."""
    max_concurrent: int | None = Field(default=None, ge=1, le=100_000)
    """Trials at once, at most."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Makes every random choice repeatable."""
    converge_steps: int | None = Field(default=None, ge=1)
    """Stop after this many finished trials without improvement ..."""
    converge_thres: float | None = Field(default=None, ge=0)
    """... by more than this."""
    pruner: str | Pruner | Mapping[str, Any] | None = None
    """Ends hopeless trials early: a name, or `{"type": name, option: value, ...}`."""
    max_failed_trials: int | None = Field(default=None, ge=1)
    """Failed trials that make the job fail."""
    enqueue: tuple[Mapping[str, Scalar], ...] = Field(default=(), max_length=10_000)
    """Points to try first."""
    fixed: Mapping[str, Scalar] = Field(default={}, max_length=1000)
    """Parameters to hold at one value: name -> value."""
    goal: float | Mapping[str, float] | None = None
    """Stop when a feasible trial is at least this good: the first objective's value, or metric -> value."""
    max_cost: float | None = Field(default=None, gt=0)
    """Money after which no new trial starts, in the currency of the platform's `TUNESMITH_PRICES`."""
    code: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """callable: the digest that `POST /api/v1/functions` answered."""

    @field_validator("pruner")
    @classmethod
    def _named(cls, pruner: str | Pruner | Mapping[str, Any] | None) -> str | Pruner | Mapping[str, Any] | None:
        if isinstance(pruner, Mapping) and not isinstance(pruner.get("type"), str):
            raise ValueError('needs a "type", for instance {"type": "median"}')
        return pruner

    def search(self) -> Search:
        """The domain's form; a sampler's own options are collected under `options`."""
        known = {name: getattr(self, name) for name in type(self).model_fields if name != "pruner"}
        return Search(**known, pruner=_pruner(self.pruner), options=dict(self.model_extra or {}))


class JobRequest(Request):
    """A request to optimize an experiment; the empty body takes the default optimizer."""

    model_config = {
        **Request.model_config,
        "json_schema_extra": {"examples": [{"optimizer": {"type": "bayesopt", "n_init": 2, "n_iter": 2}}]},
    }

    optimizer: OptimizerRequest = OptimizerRequest(type="bayesopt", n_init=2, n_iter=2)
    """How to search."""
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    """Who goes first in the queue."""

    @property
    def rank(self) -> int:
        """The priority as the store sorts it."""
        return int(Priority[self.priority.upper()])


def _pruner(given: str | Pruner | Mapping[str, Any] | None) -> Pruner | None:
    if given is None or isinstance(given, Pruner):
        return given
    if isinstance(given, str):
        return Pruner(type=given)
    return Pruner(type=given["type"], options={name: value for name, value in given.items() if name != "type"})
