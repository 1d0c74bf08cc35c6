"""The bodies of the experiments surface: optimization of arbitrary tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tunesmith.domain import (
    CommandTool,
    Compute,
    Constraint,
    Experiment,
    ExperimentSpec,
    FunctionTool,
    Job,
    Measurement,
    Objective,
    Parameter,
    Priority,
    Pruner,
    Resources,
    Scalar,
    Search,
    Space,
    Time,
    Trial,
)
from tunesmith.domain.experiment import check_objectives
from tunesmith.domain.space import check_parameters
from tunesmith.domain.tool import MAX_TEMPLATE, check_patterns
from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.words import EXPERIMENT_WORDS

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


class ExperimentRequest(Request):
    """What to optimize: a command template with `${param}` holes, its parameters, and what is better."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE_EXPERIMENT]}}

    tool_name: str = Field(min_length=1, max_length=200)
    """The tool's name; its letter case does not matter."""
    parameters: tuple[Parameter, ...] = Field(max_length=1000)
    """The search space."""
    command_template_string: Template | None = None
    """The command, timed; `${param}` and `$param` stand for declared parameters, any other `$` is bash's."""
    function: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=500)
    """Instead of a command: `package.module:function`, which the workers import and call with the parameters."""
    setup_template_string: Template | None = None
    """Run before the command, untimed."""
    finish_template_string: Template | None = None
    """Run after the command, untimed."""
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

    @field_validator("parameters")
    @classmethod
    def _consistent(cls, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        check_parameters(parameters)
        return parameters

    _distinct = field_validator("objectives")(check_objectives)

    @model_validator(mode="after")
    def _one_tool(self) -> ExperimentRequest:
        if (self.command_template_string is None) == (self.function is None):
            raise ValueError("command_template_string is required (or function instead, never both)")
        if self.command_template_string is not None and not self.command_template_string.strip():
            raise ValueError("command_template_string is empty; write the command to run")
        if self.function is not None and (self.setup_template_string or self.finish_template_string):
            raise ValueError("setup_template_string and finish_template_string belong to a command, not to a function")
        return self

    def spec(self) -> ExperimentSpec:
        """The domain's form of the request."""
        if self.function is not None:
            tool: CommandTool | FunctionTool = FunctionTool(entrypoint=self.function)
        else:
            tool = CommandTool(
                command=self.command_template_string or "",
                setup=self.setup_template_string or None,
                finish=self.finish_template_string or None,
                patterns=self.metrics.patterns,
            )
        return ExperimentSpec(
            tool_name=self.tool_name,
            tool=tool,
            space=Space(parameters=self.parameters),
            objectives=self.objectives,
            constraints=self.constraints,
            compute=self.compute,
            trial_timeout_s=self.trial_timeout_s,
            resources=self.resources,
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


class ParameterConfig(Answer):
    """One parameter's value in a trial."""

    parameter_name: str
    """The parameter."""
    value: Scalar
    """Its value, in the parameter's own type."""


class TrialAnswer(Answer):
    """A trial."""

    experiment_id: int
    """The experiment."""
    run_number: int | None
    """The job's number within the experiment."""
    job_id: str | None
    """The job."""
    number: int
    """The trial's number within the experiment."""
    state: str
    """`waiting`, `running`, `complete`, `pruned` or `failed`."""
    outcome: float | None
    """The first objective's value."""
    outcomes: Mapping[str, float | None]
    """Objective -> value."""
    metrics: Mapping[str, float | None]
    """Everything measured."""
    feasible: bool | None
    """Whether every constraint holds; null when there is none, or the trial is not complete."""
    parameter_configs: tuple[ParameterConfig, ...]
    """The configuration."""
    timestamp: Time | None
    """When it ended, or else when it started."""
    started_at: Time | None
    """When it started."""
    duration_s: float | None
    """Seconds from start to end."""
    error: str | None
    """Why it failed."""
    attempt: int
    """How often it was started."""
    worker: str | None
    """Host and process that ran it."""
    log_url: str | None
    """Where its log can be read."""

    @property
    def params(self) -> dict[str, Scalar]:
        """The configuration as a mapping."""
        return {config.parameter_name: config.value for config in self.parameter_configs}

    @classmethod
    def of(cls, experiment: Experiment, trial: Trial) -> TrialAnswer:
        """The answer for a trial of an experiment."""
        objectives = experiment.spec.objectives
        values = trial.values or (None,) * len(objectives)
        ordered = {p.name: trial.params[p.name] for p in experiment.spec.space if p.name in trial.params}
        ordered |= {name: value for name, value in trial.params.items() if name not in ordered}
        return cls.model_construct(
            experiment_id=trial.experiment_id,
            run_number=trial.run_number,
            job_id=trial.job_id,
            number=trial.number,
            state=trial.state.value,
            outcome=values[0],
            outcomes={o.metric: v for o, v in zip(objectives, values, strict=True)},
            metrics=trial.metrics,
            feasible=None if trial.violation is None else trial.violation <= 0,
            parameter_configs=tuple(
                ParameterConfig.model_construct(parameter_name=name, value=value) for name, value in ordered.items()
            ),
            timestamp=trial.ended_at or trial.started_at,
            started_at=trial.started_at,
            duration_s=trial.duration_s,
            error=trial.error,
            attempt=trial.attempt,
            worker=trial.worker,
            log_url=f"/api/v1/jobs/{trial.job_id}/logs?trial={trial.number}" if trial.job_id else None,
        )


class BestAnswer(Answer):
    """The best trial of a job or an experiment so far."""

    number: int
    """The trial's number."""
    outcome: float | None
    """The first objective's value."""
    outcomes: Mapping[str, float | None]
    """Objective -> value."""
    params: Mapping[str, Scalar]
    """The configuration."""


class ProgressAnswer(Answer):
    """How far a job is."""

    finished: int
    """Trials that ended, failed ones included."""
    failed: int
    """Of these, failed ones."""
    total: int | None
    """Trials to run, when known."""
    best: BestAnswer | None
    """The best so far (by the first objective)."""


class JobMeta(Answer):
    """What a job belongs to."""

    experiment_id: str
    """The experiment."""
    run_number: int
    """1, 2, 3, ... within the experiment."""
    tool_name: str | None = None
    """The tool."""
    optimizer: Mapping[str, Any] = {}
    """The search as it was asked for, with the seed that was drawn."""
    attempt: int = 0
    """How often a runner took it up."""


class JobAnswer(Answer):
    """A job."""

    job_id: str
    """Opaque id."""
    job_status: str
    """`queued`, `started`, `paused`, `finished`, `failed` or `stopped`."""
    job_result: Mapping[str, Any] | None
    """What came of it: number of trials and the best one; null until it ended."""
    job_meta: JobMeta
    """What it belongs to."""
    job_exc_info: str | None
    """Why it failed, with the stack trace."""
    message: str | None
    """What it is doing or waiting for."""
    progress: ProgressAnswer
    """How far it is."""
    priority: str
    """`low`, `normal`, `high` or `critical`."""
    queued_at: Time
    """When it was last queued."""
    started_at: Time | None
    """When it was first taken up."""
    ended_at: Time | None
    """When it ended."""
    submitted_by: str | None
    """Who asked for it."""

    @property
    def ended(self) -> bool:
        """Whether only a retry can make it go on."""
        return self.job_status in ("finished", "failed", "stopped")

    @classmethod
    def of(cls, job: Job, tool_name: str | None = None) -> JobAnswer:
        """The answer for a job."""
        progress = ProgressAnswer.model_validate(job.progress.model_dump())
        optimizer = job.search.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        optimizer |= optimizer.pop("options", {})
        return cls.model_construct(
            job_id=job.id,
            job_status=EXPERIMENT_WORDS[job.state],
            job_result=job.progress.model_dump(mode="json") if job.state.ended else None,
            job_meta=JobMeta(
                experiment_id=str(job.experiment_id),
                run_number=job.run_number,
                tool_name=tool_name,
                optimizer={"type": job.search.type} | optimizer,
                attempt=job.attempt,
            ),
            job_exc_info=job.error,
            message=job.message,
            progress=progress,
            priority=_priority_word(job.priority),
            queued_at=job.queued_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            submitted_by=job.submitted_by,
        )


def _priority_word(rank: int) -> str:
    return max((p for p in Priority if p <= rank), default=Priority.LOW).name.lower()


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
    command_template_string: str | None
    """The command."""
    function: str | None
    """The function, instead of a command."""
    setup_template_string: str | None
    """Run before the command."""
    finish_template_string: str | None
    """Run after the command."""
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


def best_answer(experiment: Experiment, best: list[Trial]) -> TrialAnswer | tuple[TrialAnswer, ...] | None:
    """The best trial, the Pareto set of several objectives, or None when there is none yet."""
    if not best:
        return None
    answers = tuple(TrialAnswer.of(experiment, trial) for trial in best)
    return answers if len(experiment.spec.objectives) > 1 else answers[0]


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
        "command_template_string": command.command if command else None,
        "function": tool.entrypoint if isinstance(tool, FunctionTool) else None,
        "setup_template_string": command.setup if command else None,
        "finish_template_string": command.finish if command else None,
        "compute": spec.compute,
        "objectives": spec.objectives,
        "constraints": spec.constraints,
        "metrics": MetricsRequest(patterns=command.patterns if command else {}),
        "trial_timeout_s": spec.trial_timeout_s,
        "resources": spec.resources,
        "trial_counts": {state.value: count for state, count in experiment.counts.items()},
    }


class ExperimentPage(Answer):
    """A page of experiments."""

    experiments: tuple[ExperimentAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class TrialPage(Answer):
    """A page of trials."""

    trials: tuple[TrialAnswer, ...]
    """The trials."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class JobPage(Answer):
    """A page of jobs."""

    jobs: tuple[JobAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class JobEnvelope(Answer):
    """A job, wrapped as this surface's clients expect it."""

    status: str
    """`success` or `submitted`."""
    job: JobAnswer
    """The job."""
    warnings: tuple[str, ...] = ()
    """What the search that was asked for will not do."""


class MeasurementAnswer(Answer):
    """An intermediate value."""

    metric: str
    """The metric."""
    step: int
    """Epoch, iteration, fidelity."""
    value: float
    """The value."""

    @classmethod
    def of(cls, measurement: Measurement) -> MeasurementAnswer:
        """The answer for a measurement."""
        return cls(metric=measurement.metric, step=measurement.step, value=measurement.value)


class TrialDetail(TrialAnswer):
    """A trial with its intermediate values."""

    measurements: tuple[MeasurementAnswer, ...]
    """By metric and step."""

    @classmethod
    def measured(cls, experiment: Experiment, trial: Trial, measurements: list[Measurement]) -> TrialDetail:
        """The answer for a trial and its intermediate values."""
        fields = dict(TrialAnswer.of(experiment, trial))
        return cls.model_construct(**fields, measurements=tuple(MeasurementAnswer.of(m) for m in measurements))


class ErrorAnswer(Answer):
    """Every answer that is not 2xx, on every surface."""

    error: str
    """What went wrong, and what to do."""
    detail: str
    """The same message."""
    error_type: str
    """The error's class; the Python client raises the same one."""
    code: str
    """Stable, for programs."""
    details: Mapping[str, Any]
    """More, for instance the field errors of a body."""


def canonical(body: Any) -> str:
    """JSON with sorted keys: equal bodies, equal strings."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
