"""Experiments: a tool, the space to search, and what is better; found again by their content."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.domain.search import Search
from tunesmith.domain.space import Space
from tunesmith.domain.tool import CallableTool, ExternalTool, Tool
from tunesmith.domain.trial import TrialState
from tunesmith.domain.value import Finite, Time, Value, check_text

METRIC_NAME = r"^[A-Za-z_][A-Za-z0-9_./-]*$"


class Objective(Value):
    """A metric to optimize."""

    metric: str = Field(min_length=1, max_length=200, pattern=METRIC_NAME)
    """The metric's name."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Which end is better."""

    @property
    def sign(self) -> float:
        """1 where less is better, -1 where more is: value * sign is always minimized."""
        return 1.0 if self.direction == "minimize" else -1.0


class Constraint(Value):
    """A bound on a metric: trials that break it are kept, but are never the best."""

    metric: str = Field(min_length=1, max_length=200, pattern=METRIC_NAME)
    """The metric's name."""
    min: Finite | None = None
    """Lowest allowed value, in the metric's unit."""
    max: Finite | None = None
    """Highest allowed value, in the metric's unit."""

    @model_validator(mode="after")
    def _bounded(self) -> Constraint:
        if self.min is None and self.max is None:
            raise ValueError(f"the constraint on {self.metric!r} needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; nothing could satisfy it")
        return self

    def violation(self, value: float) -> float:
        """How far the value lies outside the bounds, in the metric's unit; 0 or less when it is inside."""
        below = self.min - value if self.min is not None else float("-inf")
        above = value - self.max if self.max is not None else float("-inf")
        return min(max(below, above), sys.float_info.max)


class Compute(Value):
    """Where trials run."""

    type: Literal["local", "ec2"] = "local"
    """`local`: on the cluster's own nodes; `ec2`: on nodes of one instance type."""
    max_threads: int | None = Field(default=None, ge=1, le=100_000)
    """Trials at once; unset: as many as the cluster has room for."""
    instance_model: str | None = Field(default=None, max_length=100)
    """EC2 instance type, for instance `t2.micro`; required for `ec2`."""
    instance_family: str | None = Field(default=None, max_length=100)
    """EC2 instance family, for instance `t2`."""
    ami: str | None = Field(default=None, max_length=100)
    """EC2 machine image, for the record: nodes take the image of their node type."""

    @model_validator(mode="after")
    def _complete(self) -> Compute:
        if self.type == "ec2" and not self.instance_model:
            raise ValueError('compute of type ec2 needs instance_model, for instance "t2.micro"')
        if self.type == "local" and (self.instance_model or self.instance_family or self.ami):
            raise ValueError("instance_model, instance_family and ami belong to compute of type ec2")
        return self


class Resources(Value):
    """What one trial needs: the scheduler's reckoning; a limit only where the trial runs in a container."""

    cpus: float = Field(default=1, ge=0, le=100_000)
    """CPU cores; a fraction is fine."""
    gpus: float = Field(default=0, ge=0, le=10_000)
    """GPUs; a fraction shares one."""
    memory_bytes: int | None = Field(default=None, ge=0)
    """Memory in bytes; unset: not reckoned with."""


DEFAULT_OBJECTIVE = Objective(metric="wall_time_s")


def check_objectives(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    """The objectives, unless a metric stands there twice: ValueError says which."""
    metrics = [objective.metric for objective in objectives]
    if len(set(metrics)) < len(metrics):
        twice = next(metric for metric in metrics if metrics.count(metric) > 1)
        raise ValueError(f"{twice!r} stands there twice; list each metric once")
    return objectives


class ExperimentSpec(Value):
    """What an experiment is: equal specs are one experiment."""

    tool_name: str = Field(min_length=1, max_length=200)
    """The tool's name; its letter case does not matter."""
    tool: Tool
    """How a configuration is evaluated."""
    space: Space
    """What may be varied."""
    objectives: tuple[Objective, ...] = Field(default=(DEFAULT_OBJECTIVE,), min_length=1, max_length=20)
    """What is optimized; several make a Pareto front."""
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=100)
    """Bounds that a best trial must keep."""
    compute: Compute = Compute()
    """Where trials run."""
    trial_timeout_s: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds until a trial is ended and recorded as failed; unset: never."""
    resources: Resources = Resources()
    """What one trial needs."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """How often a trial evaluates its point; its values are the means."""

    _distinct = field_validator("objectives")(check_objectives)

    @model_validator(mode="after")
    def _storable(self) -> ExperimentSpec:
        check_text(self)
        return self

    @property
    def define_by_run(self) -> bool:
        """Whether trials ask for their parameters while they run."""
        return isinstance(self.tool, CallableTool | ExternalTool) and self.tool.define_by_run

    @property
    def external(self) -> bool:
        """Whether the platform itself cannot evaluate its trials."""
        return isinstance(self.tool, ExternalTool)

    def violation(self, metrics: Mapping[str, float]) -> float:
        """How far the constraints are broken together, those left out whose metric was not measured; 0: not at all."""
        measured = (c.violation(metrics[c.metric]) for c in self.constraints if c.metric in metrics)
        return min(sum(max(0.0, broken) for broken in measured), sys.float_info.max)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content, the same for any key order and any letter case of the tool's name."""
        content: dict[str, Any] = self.model_dump(mode="json") | {"tool_name": self.tool_name.casefold()}
        # What came later and says nothing keeps the identity of the experiments that were there before.
        if self.repeats == 1:
            del content["repeats"]
        if not self.space.constraints:
            del content["space"]["constraints"]
        for name in ("secrets", "network"):
            if not content["tool"].get(name):
                content["tool"].pop(name, None)
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Experiment(Value):
    """An experiment as it is kept: its spec, and what came after."""

    id: int
    """Unique, never used again."""
    workspace_id: str
    """The workspace it belongs to."""
    spec: ExperimentSpec
    """Tool, space, objectives."""
    name: str
    """What people call it; at first the tool's name."""
    tags: tuple[str, ...]
    """Labels to find it by."""
    archived: bool
    """Hidden from lists, and refusing new jobs."""
    created_at: Time
    """When it was first posted."""
    counts: Mapping[TrialState, int]
    """Trials per state."""
    asking: Search | None = None
    """How points are chosen for workers that ask for them; None before the first one asked."""
    user_attrs: Mapping[str, Any] | None = None
    """What people noted about it as an Optuna study."""
    system_attrs: Mapping[str, Any] | None = None
    """What Optuna noted about it as a study."""
