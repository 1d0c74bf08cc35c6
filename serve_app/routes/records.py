"""Records: whole trials in and out of an experiment, and the studies that some of them come from."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import Cursor, ExperimentId
from serve_app.strict import surface
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.records import (
    MAX_RECORDS,
    RecordAnswer,
    RecordPage,
    RecordsAnswer,
    RecordsRequest,
    StudyForm,
    StudyRequest,
)
from tunesmith.services import records as service
from tunesmith.store import Tx

router = surface("/api/v1", ["trials"])
RECORDS = "/experiments/{experiment_id}/records"


@router.get(
    RECORDS,
    summary="Read whole trials",
    response_model=RecordPage,
    response_description="A page, by number.",
    responses=refusals(404),
)
def list_records(
    here: Here,
    experiment_id: ExperimentId,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS, description="Records of a page, at most.")] = MAX_RECORDS,
) -> Response:
    """Trials with all that is known about them, as `POST` takes them; a page may be shorter than asked for."""
    with here.store.read() as tx:
        experiment = tx.experiment(experiment_id)
        page = tx.records(experiment, cursor, limit)
    found = tuple(RecordAnswer.of(trial, measured) for trial, measured in page.items)
    return answer(
        RecordPage.model_construct(records=found, study=StudyForm.of(experiment), next_cursor=page.next_cursor)
    )


@router.post(
    RECORDS,
    summary="Add whole trials",
    status_code=201,
    response_model=RecordsAnswer,
    response_description="Added.",
    responses=refusals(404, 409, 413),
)
def add_records(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    body: Annotated[RecordsRequest, FromJson()],
    key: Key = None,
) -> Response:
    """Add trials that were made elsewhere, all of them or none. Later searches learn from them."""

    def work(tx: Tx) -> Response:
        added = service.add(tx, experiment_id, body)
        return answer(RecordsAnswer(count=added.count, first_number=added.first_number, outside=added.outside), 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.post(
    "/studies",
    summary="Create a study",
    tags=["experiments"],
    status_code=201,
    response_model=ExperimentAnswer,
    response_description="Created.",
    responses=refusals(409, 413),
)
def create_study(here: Here, request: Request, body: Annotated[StudyRequest, FromJson()], key: Key = None) -> Response:
    """An experiment without a declared space, whose trials ask for their parameters while they run, as Optuna's do."""

    def work(tx: Tx) -> Response:
        return answer(ExperimentAnswer.of(service.new_study(tx, body.name, body.objectives)), 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))
