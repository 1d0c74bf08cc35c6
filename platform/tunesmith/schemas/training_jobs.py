"""Request bodies of training jobs: what to run, when, and who is told; and the domain's form of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator

from tunesmith.domain import (
    Constraint,
    Cron,
    Experiment,
    ExperimentSpec,
    Objective,
    Parameter,
    Priority,
    ProgramTool,
    Resources,
    Space,
    TrainingJob,
    TrainingPlan,
)
from tunesmith.domain.backoff import MAX_BACKOFF_S
from tunesmith.domain.cron import MAX_LENGTH
from tunesmith.domain.experiment import DEFAULT_OBJECTIVE, check_objectives
from tunesmith.domain.notification import Rule
from tunesmith.domain.space import check_parameters
from tunesmith.domain.tool import (
    MAX_ARGUMENT,
    Secrets,
    check_checkpoint_path,
    check_command,
    check_distinct,
    check_environment,
    check_image,
)
from tunesmith.errors import InvalidBody, InvalidSpace
from tunesmith.schemas.base import Request
from tunesmith.schemas.jobs import priority_word
from tunesmith.schemas.requests import OptimizerRequest, Tag

EXAMPLE_TRAINING: dict[str, Any] = {
    "name": "resnet50-training",
    "image": "registry.example.com/trainer:1",
    "command": ["python", "train.py", "--model", "resnet50", "--epochs", "100"],
    "schedule": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "max_retries": 3,
    "checkpoint_path": "/checkpoints/resnet50",
}
Argument = Annotated[str, Field(max_length=MAX_ARGUMENT)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
Command = Annotated[
    tuple[Argument, ...], Field(max_length=1000, json_schema_extra={"minItems": 1}), AfterValidator(check_command)
]
PROGRAM = tuple(name for name in ProgramTool.model_fields if name != "type")
"""The fields of a request that are its program's."""
PLAN = ("schedule", "timezone", "max_retries", "retry_backoff_s", "catch_up", "overlap", "notify")
"""Those that are its plan's, as they are."""
Fields = Mapping[str, Any]
"""Every field of a request by its name; the optimizer is the domain's `Search`."""


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class TrainingOptions(Request):
    """What a training job can have, and need not."""

    image: str | None = Field(default=None, max_length=500)
    """The image that the command runs in; null: on the node itself."""
    schedule: str | None = Field(default=None, max_length=MAX_LENGTH)
    """Cron's five fields, or a macro such as `@daily`; null: it runs once, at once."""
    timezone: str = Field(default="UTC", max_length=MAX_LENGTH)
    """IANA name of the zone that the schedule is meant in."""
    max_retries: int = Field(default=3, ge=0, le=10)
    """Further attempts after a failed one."""
    retry_backoff_s: float = Field(default=60, ge=0, le=MAX_BACKOFF_S)
    """Seconds before the first retry; twice as many before each further one, an hour at most."""
    checkpoint_path: str | None = Field(default=None, min_length=1, max_length=1000)
    """Where its checkpoint is kept: an absolute path, one inside the data directory, or `s3://bucket/prefix`."""
    resume_flag: str | None = Field(default="--resume-from-checkpoint", min_length=1, max_length=200)
    """The argument before the checkpoint's path on a retry; null: the command stays as it is."""
    env: Mapping[str, Argument] = Field(default={}, max_length=1000)
    """More of its environment."""
    secrets: Secrets = {}
    """Variables of its environment -> names of the workspace's secrets that they get."""
    network: bool = False
    """Whether it has a network where the platform puts trials into a sandbox."""
    timeout_s: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds until an attempt is ended, and has failed; null: never."""
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    """Who goes first in the queue."""
    depends_on: tuple[Name, ...] = Field(default=(), max_length=100)
    """Names of training jobs; it fires when they have completed."""
    catch_up: Literal["skip", "once", "all"] = "once"
    """What becomes of firings that were missed while the service was down."""
    overlap: Literal["skip", "queue"] = "skip"
    """What becomes of a firing while the one before it has not ended."""
    resources: Resources = Resources()
    """What one attempt needs."""
    tags: tuple[Tag, ...] = Field(default=(), max_length=100)
    """Labels."""
    notify: tuple[Rule, ...] = Field(default=(), max_length=20)
    """Who is told of which changes of its status."""
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=1000)
    """With parameters each firing is a search, whose trials run the command with `${name}` replaced."""
    parameter_constraints: tuple[str, ...] = Field(default=(), max_length=100)
    """What must hold between parameters."""
    objectives: tuple[Objective, ...] = Field(default=(DEFAULT_OBJECTIVE,), min_length=1, max_length=20)
    """What a search optimizes."""
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=100)
    """Bounds on metrics that a best trial must keep."""
    optimizer: OptimizerRequest | None = None
    """How to search; null: bayesopt with 2 random and 2 model-based points."""

    _referable = field_validator("image")(check_image)
    _kept_inside = field_validator("checkpoint_path")(check_checkpoint_path)
    _settable = field_validator("env")(check_environment)
    _distinct = field_validator("objectives")(check_objectives)

    @field_validator("depends_on")
    @classmethod
    def _once_each(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands there twice; list each job once")
        return names

    @field_validator("parameters")
    @classmethod
    def _consistent(cls, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        check_parameters(parameters)
        return parameters

    def _fields(self, names: Iterable[str]) -> Fields:
        found = {name: getattr(self, name) for name in names}
        if self.optimizer is not None:
            found["optimizer"] = self.optimizer.search()
        return found


class TrainingRequest(TrainingOptions):
    """A training job: what to run, when, and what becomes of it when it fails."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE_TRAINING]}}

    name: Name
    """What people call it; no two have the same."""
    command: Command
    """The program and its arguments; no shell looks at them."""

    @property
    def fields(self) -> Fields:
        """Every field."""
        return self._fields(type(self).model_fields)


class TrainingPatch(TrainingOptions):
    """What may change in a training job; fields that are left out stay as they are."""

    model_config = {**Request.model_config, "json_schema_extra": _without_defaults}

    name: Name = ""
    """A new name."""
    command: Command = ()
    """Another program, with its arguments."""

    @property
    def given(self) -> Fields:
        """The fields that were sent."""
        return self._fields(self.model_fields_set)


def fields_of(training: TrainingJob, experiment: Experiment, depends_on: Iterable[str]) -> dict[str, Any]:
    """The request that would make a training job as it is now, its secrets included."""
    spec, plan = experiment.spec, training.plan
    assert isinstance(spec.tool, ProgramTool)
    return {
        "name": training.name,
        **{name: getattr(spec.tool, name) for name in PROGRAM},
        **{name: getattr(plan, name) for name in PLAN},
        "timeout_s": spec.trial_timeout_s,
        "priority": priority_word(plan.priority),
        "depends_on": tuple(depends_on),
        "resources": spec.resources,
        "tags": experiment.tags,
        "parameters": spec.space.parameters,
        "parameter_constraints": spec.space.constraints,
        "objectives": spec.objectives,
        "constraints": spec.constraints,
        "optimizer": plan.search,
    }


def changed(before: Fields, given: Fields) -> Fields:
    """The fields after a change; a rule whose secrets are masked, as answers show it, is the one that was there."""
    after = {**before, **given}
    after["notify"] = _unmasked(after["notify"], before["notify"])
    if "optimizer" not in given and before["optimizer"] is not None:
        if not after["parameters"]:
            after["optimizer"] = None
        elif given.keys() & {"parameters", "parameter_constraints", "objectives", "constraints"}:
            after["optimizer"] = before["optimizer"].evolve(chosen=None)  # `auto` chooses anew
    return after


def _unmasked(rules: Sequence[Rule], before: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules with the secrets that they had; of those that look alike, the first one's first."""
    known: dict[Rule, list[Rule]] = {}
    for rule in before:
        known.setdefault(rule.shown.evolve(on=()), []).append(rule)
    found = []
    for rule in rules:
        alike = known.get(rule.evolve(on=()))
        found.append(alike.pop(0).evolve(on=rule.on) if alike else rule)
    return tuple(found)


def spec_of(fields: Fields) -> ExperimentSpec:
    """What it runs. Raises InvalidSpace, InvalidBody."""
    try:
        check_distinct(fields["env"], fields["secrets"])
    except ValueError as error:
        field = {"field": "secrets", "message": str(error), "value": None}
        raise InvalidBody(f"secrets: {error}", fields=[field]) from error
    if fields["optimizer"] is not None and not fields["parameters"]:
        field = {"field": "optimizer", "message": "needs parameters to search; add them, or remove it", "value": None}
        raise InvalidBody(f"optimizer: {field['message']}", fields=[field])
    try:
        space = Space(parameters=fields["parameters"], constraints=fields["parameter_constraints"])
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidSpace(f"parameter_constraints: {problem}", field="parameter_constraints") from error
    return ExperimentSpec(
        tool_name=fields["name"],
        tool=ProgramTool(**{name: fields[name] for name in PROGRAM}),
        space=space,
        objectives=fields["objectives"],
        constraints=fields["constraints"],
        trial_timeout_s=fields["timeout_s"],
        resources=fields["resources"],
    )


def plan_of(fields: Fields) -> TrainingPlan:
    """When it fires, without its search. Raises InvalidSchedule."""
    Cron(fields["schedule"] or "@daily", fields["timezone"])
    rank = int(Priority[fields["priority"].upper()])
    return TrainingPlan(**{name: fields[name] for name in PLAN}, priority=rank)
