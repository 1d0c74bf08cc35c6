"""Jobs: read, listed, cancelled, paused, resumed, retried, and followed through events and logs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from fastapi import Header, Query, Response
from fastapi.responses import PlainTextResponse

from serve_app import events, logs
from serve_app.answers import answer, answers
from serve_app.context import Context, Here
from serve_app.following import Followed
from serve_app.idempotency import Bodiless, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import MAX_INTEGER, Cursor, JobId, Limit
from serve_app.strict import surface
from tunesmith.domain import Job, JobState
from tunesmith.domain.page import MAX_LIMIT
from tunesmith.schemas.jobs import JobAnswer, JobEnvelope, JobPage
from tunesmith.schemas.words import EXPERIMENT_WORDS
from tunesmith.services import jobs as service
from tunesmith.store import Tx

router = surface("/api/v1/jobs", ["jobs"])
PAGE = 100
MAX_EVENT = 2**31 - 1
NEXT_CURSOR = "X-Next-Cursor"
ARRAY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Newest first.",
        "headers": {
            NEXT_CURSOR: {"description": "`cursor` of the next page; absent at the end.", "schema": {"type": "string"}}
        },
    }
}
Status = Literal["created", "queued", "started", "paused", "finished", "failed", "stopped"]


@router.get("", summary="List jobs", response_model=JobPage, response_description="Newest first.")
def list_jobs(
    here: Here,
    status: Annotated[Status | None, Query(description="Only jobs of this `job_status`.")] = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Response:
    """A page of jobs."""
    found, next_cursor = _page(here, status, cursor, limit or PAGE)
    return answer(JobPage.model_construct(jobs=tuple(found), next_cursor=next_cursor))


@router.get("/running", summary="List running jobs", response_model=list[JobAnswer], responses=ARRAY)
def list_running_jobs(here: Here, cursor: Cursor = None, limit: Limit = MAX_LIMIT) -> Response:
    """Jobs that a runner holds, and those that wait for their next attempt."""
    return _array(here, "started", cursor, limit)


@router.get("/queued", summary="List queued jobs", response_model=list[JobAnswer], responses=ARRAY)
def list_queued_jobs(here: Here, cursor: Cursor = None, limit: Limit = MAX_LIMIT) -> Response:
    """Jobs that wait for a runner."""
    return _array(here, "queued", cursor, limit)


@router.get("/failed", summary="List failed jobs", response_model=list[JobAnswer], responses=ARRAY)
def list_failed_jobs(here: Here, cursor: Cursor = None, limit: Limit = MAX_LIMIT) -> Response:
    """Jobs that ended badly, with their stack traces in `job_exc_info`."""
    return _array(here, "failed", cursor, limit)


@router.get("/{job_id}", summary="Read a job", response_model=JobEnvelope, responses=refusals(404))
def get_job(here: Here, job_id: JobId) -> Response:
    """A job with its progress and best trial so far. Jobs are kept."""
    with here.store.read() as tx:
        return answer(_envelope(tx, tx.job(job_id)))


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    status_code=202,
    response_model=JobEnvelope,
    responses=refusals(404, 409),
)
def cancel_job(here: Here, once: Bodiless, job_id: JobId) -> Response:
    """Finished trials stay; running ones are killed with everything that they started."""
    return _steer(here, once, job_id, service.cancel)


@router.post(
    "/{job_id}/pause", summary="Pause a job", status_code=202, response_model=JobEnvelope, responses=refusals(404, 409)
)
def pause_job(here: Here, once: Bodiless, job_id: JobId) -> Response:
    """No new trials start; the running ones finish."""
    return _steer(here, once, job_id, service.pause)


@router.post(
    "/{job_id}/resume",
    summary="Resume a job",
    status_code=202,
    response_model=JobEnvelope,
    responses=refusals(404, 409),
)
def resume_job(here: Here, once: Bodiless, job_id: JobId) -> Response:
    """A paused job goes on."""
    return _steer(here, once, job_id, service.resume)


@router.post(
    "/{job_id}/retry", summary="Retry a job", status_code=202, response_model=JobEnvelope, responses=refusals(404, 409)
)
def retry_job(here: Here, once: Bodiless, job_id: JobId) -> Response:
    """An ended job is queued again: its failed trials run once more, and what was left goes on."""
    return _steer(here, once, job_id, service.retry)


@router.get(
    "/{job_id}/events",
    summary="Follow a job's events",
    response_class=Followed,
    responses={200: {"content": {"text/event-stream": {"schema": events.SCHEMA}}}, **refusals(404)},
)
def stream_events(
    here: Here,
    job_id: JobId,
    resume_after: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_EVENT, description="Go on after this event.")
    ] = None,
    last_event_id: Annotated[
        int | None, Query(ge=0, le=MAX_EVENT, description="The same, for those who cannot set a header.")
    ] = None,
) -> Response:
    """Server-sent events, every state change and finished trial in order, until the job has ended."""
    after = resume_after if resume_after is not None else last_event_id or 0
    with here.store.read() as tx:
        tx.job(job_id)
        events.check_resumable(tx, job_id, after)
    stream = events.stream(here.store, job_id, after)
    return Followed(stream, headers=events.HEADERS, media_type="text/event-stream")


@router.get(
    "/{job_id}/logs", summary="Read or follow a job's logs", response_class=PlainTextResponse, responses=refusals(404)
)
def stream_logs(
    here: Here,
    job_id: JobId,
    trial: Annotated[
        int | None, Query(ge=0, le=MAX_INTEGER, description="The number of one trial; all without it.")
    ] = None,
    follow: Annotated[bool, Query(description="Go on until the trial, or the job, has ended.")] = False,
) -> Response:
    """Output of one trial, or of all of the job's trials, each after a line `==> trial 7 (complete) <==`."""
    with here.store.read() as tx:
        job = tx.job(job_id)
        found = None if trial is None else service.trial_of(tx, job, trial)
    if found is None:
        stream = logs.job_log(here, job, follow)
    else:
        logs.check_readable(here.storage, found)
        stream = logs.trial_log(here, found, follow)
    return Followed(stream, headers=events.HEADERS, media_type="text/plain")


def _steer(here: Context, once: Once | None, job_id: str, act: Callable[[Tx, str], Job]) -> Response:
    with here.store.write() as tx:
        response = perform(tx, once, lambda: answer(_envelope(tx, act(tx, job_id)), 202))
    here.wake()
    return response


def _envelope(tx: Tx, job: Job) -> JobEnvelope:
    tool_name = tx.experiment(job.experiment_id).spec.tool_name
    return JobEnvelope(status="success", job=JobAnswer.of(job, tool_name))


def _array(here: Context, status: Status, cursor: str | None, limit: int | None) -> Response:
    found, next_cursor = _page(here, status, cursor, limit or MAX_LIMIT)
    return answers(found, {NEXT_CURSOR: next_cursor} if next_cursor else None)


def _page(here: Context, status: Status | None, cursor: str | None, limit: int) -> tuple[list[JobAnswer], str | None]:
    with here.store.read() as tx:
        page = tx.jobs(_states(status), cursor, limit)
        names = {job.experiment_id: "" for job in page.items}
        names = {experiment_id: tx.experiment(experiment_id).spec.tool_name for experiment_id in names}
    return [JobAnswer.of(job, names[job.experiment_id]) for job in page.items], page.next_cursor


def _states(status: Status | None) -> Collection[JobState] | None:
    return None if status is None else [state for state, word in EXPERIMENT_WORDS.items() if word == status]
