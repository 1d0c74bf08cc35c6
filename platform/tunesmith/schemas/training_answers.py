"""Answers about training jobs and their executions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.domain import (
    NOT_EVALUATED,
    Constraint,
    Experiment,
    JobState,
    Objective,
    Parameter,
    Resources,
    Scalar,
    Time,
    TrainingJob,
    TrainingStatus,
    Trial,
    TrialState,
)
from tunesmith.domain.notification import Rule
from tunesmith.schemas.base import Answer
from tunesmith.schemas.jobs import optimizer_shown
from tunesmith.schemas.training_jobs import fields_of

EXECUTION_WORDS: Mapping[TrialState, str] = {
    TrialState.WAITING: "pending",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAILED: "failed",
}
"""The state of a trial in the words of this surface."""
CANCELLED = NOT_EVALUATED + JobState.CANCELLED.value
"""The error of an attempt that its job's end stopped."""


class TrainingAnswer(Answer):
    """A training job: what was asked for, and where it stands."""

    job_id: str
    """`train-` and 8 hexadecimal digits."""
    name: str
    """What people call it."""
    image: str | None
    """The image that the command runs in."""
    command: tuple[str, ...]
    """The program and its arguments."""
    schedule: str | None
    """Cron expression or macro; null: it runs once."""
    timezone: str
    """The zone that the schedule is meant in."""
    max_retries: int
    """Further attempts after a failed one."""
    retry_count: int
    """How often its latest execution was begun anew."""
    retry_backoff_s: float
    """Seconds before the first retry."""
    checkpoint_path: str | None
    """Where its checkpoint is kept; null: in the platform's own storage."""
    resume_flag: str | None
    """The argument before the checkpoint's path on a retry."""
    env: Mapping[str, str]
    """More of its environment."""
    secrets: Mapping[str, str] = {}
    """Variables of its environment -> the secrets that they get."""
    network: bool = False
    """Whether it has a network in a sandbox."""
    timeout_s: float | None
    """Seconds until an attempt is ended."""
    priority: str
    """`low`, `normal`, `high` or `critical`."""
    depends_on: tuple[str, ...]
    """Names of those that it depends on, sorted."""
    catch_up: str
    """`skip`, `once` or `all`."""
    overlap: str
    """`skip` or `queue`."""
    resources: Resources
    """What one attempt needs."""
    tags: tuple[str, ...]
    """Labels."""
    notify: tuple[Rule, ...]
    """Who is told of what, without secrets."""
    parameters: tuple[Parameter, ...]
    """What a scheduled search may vary."""
    parameter_constraints: tuple[str, ...]
    """What holds between parameters."""
    objectives: tuple[Objective, ...]
    """What a search optimizes."""
    constraints: tuple[Constraint, ...]
    """Bounds that a best trial keeps."""
    optimizer: Mapping[str, Any] | None
    """How each firing searches; null: it runs the command once."""
    status: str
    """`pending`, `running`, `paused`, `retrying`, `completed`, `failed` or `cancelled`."""
    next_run_at: Time | None
    """When it fires next."""
    started_at: Time | None
    """When its latest execution began."""
    completed_at: Time | None
    """When that one ended."""
    error_message: str | None
    """Why its last attempt failed."""
    message: str | None
    """What it waits for, or what became of its last firing."""
    experiment_id: int
    """The experiment that its executions' trials belong to."""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When a person or its latest execution changed it last."""

    @classmethod
    def of(
        cls, training: TrainingJob, experiment: Experiment, depends_on: Sequence[str], waits_for: Sequence[str]
    ) -> TrainingAnswer:
        """The answer for a training job; `waits_for`: those that have to complete before it begins."""
        fields = fields_of(training, experiment, depends_on)
        search = training.plan.search
        fields |= {
            "notify": tuple(rule.shown for rule in training.plan.notify),
            "optimizer": None if search is None else optimizer_shown(search),
        }
        waiting = f"it waits for {', '.join(waits_for)}" if waits_for else None
        return cls.model_construct(
            **fields,
            job_id=training.id,
            status=training.shown.value,
            retry_count=training.retry_count,
            next_run_at=training.next_run_at,
            started_at=training.started_at,
            completed_at=training.completed_at,
            error_message=training.error_message,
            message=training.message or waiting,
            experiment_id=training.experiment_id,
            created_at=training.created_at,
            updated_at=training.updated_at,
        )


class TrainingPage(Answer):
    """A page of training jobs."""

    jobs: tuple[TrainingAnswer, ...]
    """Newest first, unless `sort` says otherwise."""
    total: int
    """How many there are on all pages."""
    page: int
    """1, 2, 3, ..."""
    page_size: int
    """Jobs of a page, at most."""


class TrainingChecked(Answer):
    """A request that would be taken."""

    valid: bool
    """True; what is invalid is refused, as it would be on making the job."""
    schedule: str | None
    """The schedule in words; null: it runs once."""
    next_runs: tuple[Time, ...]
    """The next five firings of the schedule."""
    warnings: tuple[str, ...]
    """What its search will not do."""


class UsageAnswer(Answer):
    """What an attempt used."""

    wall_time_s: float | None
    """Seconds from start to end."""
    cpu_time_s: float | None
    """Seconds of CPU time."""
    max_rss_bytes: float | None
    """Most memory at once, in bytes."""


class ExecutionAnswer(Answer):
    """One attempt of an execution."""

    number: int | None
    """The execution: 1 for the first firing, 2, 3, ..."""
    attempt: int
    """1, 2, 3, ... within the execution."""
    trial: int
    """The attempt's trial within the job's experiment."""
    status: str
    """`pending`, `running`, `completed`, `pruned`, `failed` or `cancelled`."""
    started_at: Time | None
    """When it began."""
    ended_at: Time | None
    """When it ended."""
    exit_code: int | None
    """The program's exit code."""
    duration_s: float | None
    """Seconds from start to end."""
    checkpoint: str | None
    """The checkpoint that it went on from."""
    node: str | None
    """Host and process that ran it."""
    error: str | None
    """Why it failed."""
    params: Mapping[str, Scalar]
    """Of a search: the configuration."""
    usage: UsageAnswer
    """What it used."""
    log: str
    """Where its log can be read."""

    @classmethod
    def of(cls, training: TrainingJob, trial: Trial) -> ExecutionAnswer:
        """The answer for an attempt."""
        code = trial.metrics.get("exit_code")
        return cls.model_construct(
            number=trial.run_number,
            attempt=trial.attempt,
            trial=trial.number,
            status=execution_status(trial),
            started_at=trial.started_at,
            ended_at=trial.ended_at,
            exit_code=None if code is None else int(code),
            duration_s=trial.duration_s,
            checkpoint=(trial.system_attrs or {}).get("tunesmith:resumed_from"),
            node=trial.worker,
            error=trial.error,
            params=trial.params,
            usage=UsageAnswer(
                wall_time_s=trial.metrics.get("wall_time_s"),
                cpu_time_s=trial.metrics.get("cpu_time_s"),
                max_rss_bytes=trial.metrics.get("max_rss_bytes"),
            ),
            log=f"/jobs/{training.id}/logs?trial={trial.number}",
        )


class ExecutionPage(Answer):
    """A page of attempts."""

    executions: tuple[ExecutionAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class StatsAnswer(Answer):
    """Training jobs by status."""

    total_jobs: int
    """All of them."""
    pending: int
    """Waiting for their first firing, or for their turn."""
    running: int
    """Running."""
    completed: int
    """Their latest execution ended well."""
    failed: int
    """It ended badly."""
    retrying: int
    """It failed, and waits for its next attempt."""
    paused: int
    """Held back by a person."""
    cancelled: int
    """Stopped by a person."""

    @classmethod
    def of(cls, counts: Mapping[TrainingStatus, int]) -> StatsAnswer:
        """The answer for the counts per status."""
        return cls(total_jobs=sum(counts.values()), **{status.value: count for status, count in counts.items()})


def execution_status(trial: Trial) -> str:
    """Where an attempt stands: what was stopped with its job has not failed by itself."""
    if trial.state is TrialState.FAILED and (trial.error or "").startswith(CANCELLED):
        return TrainingStatus.CANCELLED.value
    return EXECUTION_WORDS[trial.state]
