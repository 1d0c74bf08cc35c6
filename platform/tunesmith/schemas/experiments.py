"""Answers about experiments: optimization of arbitrary tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.domain import (
    CallableTool,
    CommandTool,
    Compute,
    Constraint,
    Experiment,
    FunctionTool,
    Job,
    Objective,
    Parameter,
    ProgramTool,
    Resources,
    Time,
    Trial,
)
from tunesmith.schemas.base import Answer
from tunesmith.schemas.jobs import JobAnswer
from tunesmith.schemas.requests import MetricsRequest
from tunesmith.schemas.trials import TrialAnswer, best_answer


class ExperimentAnswer(Answer):
    """An experiment: what was posted, with every default, and how it stands."""

    id: int
    """Unique, never used again."""
    name: str
    """What people call it."""
    tags: tuple[str, ...]
    """Labels."""
    archived: bool
    """Hidden from lists, refusing new jobs."""
    created_at: Time
    """When it was first posted."""
    tool_name: str
    """The tool's name."""
    parameters: tuple[Parameter, ...]
    """The search space."""
    parameter_constraints: tuple[str, ...] = ()
    """What holds between parameters."""
    command_template_string: str | None
    """The command."""
    function: str | None
    """The function, instead of a command."""
    callable: CallableTool | None = None
    """The function that is shipped with each job, instead of a command."""
    program: ProgramTool | None = None
    """The program of a training job, instead of a command."""
    external: bool = False
    """Whether workers of somebody's own evaluate its trials, and no job can."""
    setup_template_string: str | None
    """Run before the command."""
    finish_template_string: str | None
    """Run after the command."""
    secrets: Mapping[str, str] = {}
    """Variables of the environment -> the secrets that they get."""
    network: bool = False
    """Whether the command has a network in a sandbox."""
    compute: Compute
    """Where trials run."""
    objectives: tuple[Objective, ...]
    """What is optimized."""
    constraints: tuple[Constraint, ...]
    """Bounds that a best trial keeps."""
    metrics: MetricsRequest
    """Where metrics come from."""
    trial_timeout_s: float | None
    """Seconds until a trial is ended."""
    resources: Resources
    """What one trial needs."""
    repeats: int = 1
    """How often a trial evaluates its point."""
    trial_counts: Mapping[str, int]
    """Trials per state."""
    warnings: tuple[str, ...]
    """What looks like a slip."""

    @classmethod
    def of(cls, experiment: Experiment, warnings: tuple[str, ...] = ()) -> ExperimentAnswer:
        """The answer for an experiment."""
        return cls.model_construct(**experiment_fields(experiment), warnings=warnings)


class ExperimentDetail(ExperimentAnswer):
    """An experiment with its current job and its best."""

    job: JobAnswer | dict[str, Any]
    """The queued or running job, else `{}`."""
    best: TrialAnswer | tuple[TrialAnswer, ...] | None
    """The best trial, or the Pareto set of several objectives; null before the first complete trial."""

    @classmethod
    def with_job(
        cls, experiment: Experiment, job: Job | None, best: list[Trial], warnings: tuple[str, ...] = ()
    ) -> ExperimentDetail:
        """The answer for an experiment, its active job and its best trials."""
        return cls.model_construct(
            **experiment_fields(experiment),
            warnings=warnings,
            job=JobAnswer.of(job, experiment.spec.tool_name) if job else {},
            best=best_answer(experiment, best),
        )


class ExperimentPage(Answer):
    """A page of experiments."""

    experiments: tuple[ExperimentAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


def experiment_fields(experiment: Experiment) -> dict[str, Any]:
    """The fields of an experiment's answer."""
    spec = experiment.spec
    tool = spec.tool
    command = tool if isinstance(tool, CommandTool) else None
    return {
        "id": experiment.id,
        "name": experiment.name,
        "tags": experiment.tags,
        "archived": experiment.archived,
        "created_at": experiment.created_at,
        "tool_name": spec.tool_name,
        "parameters": spec.space.parameters,
        "parameter_constraints": spec.space.constraints,
        "command_template_string": command.command if command else None,
        "function": tool.entrypoint if isinstance(tool, FunctionTool) else None,
        "callable": tool if isinstance(tool, CallableTool) else None,
        "program": tool if isinstance(tool, ProgramTool) else None,
        "external": spec.external,
        "setup_template_string": command.setup if command else None,
        "finish_template_string": command.finish if command else None,
        "secrets": tool.secrets if isinstance(tool, CommandTool | FunctionTool) else {},
        "network": command is not None and command.network,
        "compute": spec.compute,
        "objectives": spec.objectives,
        "constraints": spec.constraints,
        "metrics": MetricsRequest(patterns=command.patterns if command else {}),
        "trial_timeout_s": spec.trial_timeout_s,
        "resources": spec.resources,
        "repeats": spec.repeats,
        "trial_counts": {state.value: count for state, count in experiment.counts.items()},
    }
