"""What came of a training job: its executions, and their logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import PlainTextResponse

from serve_app import events, training_logs
from serve_app.answers import answer
from serve_app.context import Context, Here
from serve_app.following import Followed
from serve_app.routes.parameters import MAX_INTEGER, Cursor, Limit, TrainingId
from serve_app.strict import surface
from tunesmith.schemas.training_answers import ExecutionAnswer, ExecutionPage

router = surface("/jobs/{job_id}", ["training jobs"], refuses=(404,))
PAGE = 50
MAX_NUMBER = 2**31 - 1
Number = Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="The `number` of one execution.")]


@router.get(
    "/executions", summary="List executions", response_model=ExecutionPage, response_description="Newest first."
)
def list_executions(
    here: Here, job_id: TrainingId, number: Number = None, cursor: Cursor = None, limit: Limit = PAGE
) -> Response:
    """Every attempt of every execution: an execution is a firing of the job, and each retry is another attempt of it.

    A scheduled search has an entry for each of its trials.
    """
    with here.store.read() as tx:
        training = tx.training(job_id)
        page = tx.executions(training, number, cursor, limit or PAGE)
    found = tuple(ExecutionAnswer.of(training, trial) for trial, _job in page.items)
    return answer(ExecutionPage.model_construct(executions=found, next_cursor=page.next_cursor))


@router.get("/logs", summary="Read or follow a training job's logs", response_class=PlainTextResponse)
def stream_training_logs(
    here: Here,
    job_id: TrainingId,
    execution: Number = None,
    trial: Annotated[
        int | None, Query(ge=0, le=MAX_INTEGER, description="The `trial` of one attempt, instead of an execution.")
    ] = None,
    follow: Annotated[bool, Query(description="Go on until the execution has ended, through its retries.")] = False,
) -> Response:
    """Output of the newest attempt; with `execution`, of all its attempts, each after a header line.

    `follow` writes header lines too, and waits for a job that has not fired yet.
    """
    stream = _log(here, job_id, execution, trial, follow)
    return PlainTextResponse("") if stream is None else Followed(stream, 200, events.HEADERS, "text/plain")


def _log(
    here: Context, job_id: str, execution: int | None, trial: int | None, follow: bool
) -> AsyncIterator[bytes] | None:
    with here.store.read() as tx:
        training = tx.training(job_id)
        attempt = None if trial is None else tx.trial(training.experiment_id, trial)
        job = None if execution is None else training_logs.execution(tx, training, execution)
        newest = training_logs.newest(tx, training)
    if attempt is not None:
        return training_logs.attempt_log(here, attempt, follow)
    if job is not None:
        return training_logs.execution_log(here, job, follow)
    if follow:
        return training_logs.newest_log(here, training)
    return None if newest is None else training_logs.attempt_log(here, newest[0], follow)
