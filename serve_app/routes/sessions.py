"""Sessions: made, copied, renamed, listed, deleted; and which algorithms and KPIs there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import AlgorithmName, SessionId
from serve_app.strict import surface
from tunesmith.schemas.sessions import (
    AlgorithmList,
    KpiList,
    ParameterList,
    SessionAnswer,
    SessionCopyRequest,
    SessionEntry,
    SessionList,
    SessionPatch,
    SessionRequest,
)
from tunesmith.services import sessions as service
from tunesmith.store import Tx

router = surface("/api/v1/sessions", ["sessions"])


@router.get("/", include_in_schema=False)
@router.get("", summary="List sessions", response_model=SessionList)
def list_sessions(here: Here) -> Response:
    """All sessions, and the one to begin with. There is always one, `main` at first."""
    with here.store.write() as tx:
        return _listed(tx)


@router.post("/", include_in_schema=False)
@router.post(
    "",
    summary="Make a session",
    status_code=201,
    response_model=SessionList,
    response_description="Made.",
    responses=refusals(409, 413, 422),
)
def create_session(
    here: Here, request: Request, body: Annotated[SessionRequest, FromJson()], key: Key = None
) -> Response:
    """A workspace without data. 409 when its name is blank, or another one has it."""

    def work(tx: Tx) -> Response:
        service.create(tx, body.display_name, body.max_parallel or here.max_parallel)
        return _listed(tx, 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.get("/{session_id}", summary="Read a session", response_model=SessionAnswer, responses=refusals(404))
def get_session(here: Here, session_id: SessionId) -> Response:
    """A session, and how many of its scenarios run at once."""
    with here.store.read() as tx:
        return answer(SessionAnswer.of(tx.session(session_id)))


@router.post(
    "/{session_id}/copy",
    summary="Copy a session",
    status_code=201,
    response_model=SessionList,
    response_description="Copied.",
    responses=refusals(404, 409, 413, 422),
)
def copy_session(
    here: Here,
    request: Request,
    session_id: SessionId,
    body: Annotated[SessionCopyRequest, FromJson()],
    scenarios: Annotated[bool, Query(description="Whether its scenarios are copied too, as not yet run.")] = False,
    key: Key = None,
) -> Response:
    """Another session with the same datasets; what either does with its own changes nothing in the other."""

    def work(tx: Tx) -> Response:
        service.copy(tx, tx.session(session_id), body.new_display_name, scenarios)
        return _listed(tx, 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.patch(
    "/{session_id}", summary="Change a session", response_model=SessionEntry, responses=refusals(404, 409, 413, 422)
)
def change_session(here: Here, session_id: SessionId, body: Annotated[SessionPatch, FromJson()]) -> Response:
    """Rename it, or let more of its scenarios run at once. The id stays; fields that are left out do too."""
    with here.store.write() as tx:
        changed = service.change(tx, tx.session(session_id), body.display_name, body.max_parallel)
        response = answer(SessionEntry.of(changed))
    here.wake()
    return response


@router.delete("/{session_id}", summary="Delete a session", response_model=SessionList, responses=refusals(404, 409))
def delete_session(here: Here, session_id: SessionId) -> Response:
    """With its datasets and scenarios. 409 while something of it runs; after the last one there is a fresh `main`."""
    with here.store.write() as tx:
        service.delete(tx, tx.session(session_id))
        return _listed(tx)


@router.get(
    "/{session_id}/algorithms", summary="List algorithms", response_model=AlgorithmList, responses=refusals(404)
)
def list_algorithms(here: Here, session_id: SessionId) -> Response:
    """What scenarios can compute."""
    _check(here, session_id)
    return answer(AlgorithmList(algorithms=tuple(here.registry.algorithms)))


@router.get(
    "/{session_id}/algorithms/{name}/parameters",
    summary="Describe an algorithm's parameters",
    response_model=ParameterList,
    responses=refusals(404),
)
def list_algorithm_parameters(here: Here, session_id: SessionId, name: AlgorithmName) -> Response:
    """A descriptor of each: enough to show a form for them."""
    _check(here, session_id)
    algorithm = here.registry.algorithm(name)
    found = tuple(kind.descriptor(parameter) for parameter, kind in algorithm.item.parameters().items())
    return answer(ParameterList(name=name, parameters=found))


@router.get("/{session_id}/kpis", summary="List KPIs", response_model=KpiList, responses=refusals(404))
def list_kpis(here: Here, session_id: SessionId) -> Response:
    """What results are measured by."""
    _check(here, session_id)
    return answer(KpiList(kpis=tuple(here.registry.kpis)))


def _check(here: Context, session_id: str) -> None:
    with here.store.read() as tx:
        tx.session(session_id)


def _listed(tx: Tx, status: int = 200) -> Response:
    return answer(SessionList.of(*service.listing(tx)), status)
