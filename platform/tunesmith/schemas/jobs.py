"""Answers about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.domain import (
    Job,
    Priority,
    Scalar,
    Search,
    Time,
)
from tunesmith.schemas.base import Answer
from tunesmith.schemas.words import EXPERIMENT_WORDS


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
    cost: float | None = None
    """What its trials cost so far, where the prices of their nodes are known."""


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
    note: str | None = None
    """What is to be known about it for good: why `auto` chose its sampler, or that it runs elsewhere than asked."""
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
        return cls.model_construct(
            job_id=job.id,
            job_status=EXPERIMENT_WORDS[job.state],
            job_result=job.progress.model_dump(mode="json") if job.state.ended else None,
            job_meta=JobMeta(
                experiment_id=str(job.experiment_id),
                run_number=job.run_number,
                tool_name=tool_name,
                optimizer=optimizer_shown(job.search),
                attempt=job.attempt,
            ),
            job_exc_info=job.error,
            message=job.message or job.note,
            note=job.note,
            progress=progress,
            priority=priority_word(job.priority),
            queued_at=job.queued_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            submitted_by=job.submitted_by,
        )


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


def optimizer_shown(search: Search) -> dict[str, Any]:
    """A search as it was asked for, with the seed that was drawn."""
    fields = search.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"space"})
    fields |= fields.pop("options", {})
    return {"type": search.type} | fields


def priority_word(rank: int) -> str:
    """A priority as people call it."""
    return max((p for p in Priority if p <= rank), default=Priority.LOW).name.lower()
