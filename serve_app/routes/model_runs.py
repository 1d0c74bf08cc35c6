"""Runs of models: submitted, listed, followed, cancelled; and their results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.auth import principal
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.rates import count
from serve_app.routes.parameters import Cursor, Limit, RunId
from serve_app.run_results import Results
from serve_app.streams import streamed
from serve_app.strict import surface
from tunesmith.domain import JobState
from tunesmith.domain.page import MAX_LIMIT
from tunesmith.domain.session import ModelRun
from tunesmith.errors import NoResults, StateForbids
from tunesmith.schemas.model_runs import (
    ModelAnswer,
    ModelsAnswer,
    RunAnswer,
    RunPage,
    RunRequest,
    RunResults,
    RunStatusAnswer,
    RunSubmitted,
    RunWord,
    states_of,
)
from tunesmith.schemas.words import RUN_WORDS
from tunesmith.services import model_runs as service
from tunesmith.store import Tx

router = surface("/api", ["model runs"])
PAGE = 50
MAX_AGE_S = 60
"""Seconds that a list of models may be shown again without asking: it changes only when the platform starts anew."""
KEPT = {"Cache-Control": f"private, max-age={MAX_AGE_S}", "Vary": "Authorization, X-API-Key, Cookie, X-Workspace"}
FRESH = {"Cache-Control": "no-store"}
Format = Literal["json", "csv", "parquet"]
MEDIA_TYPES: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
}

TABLES: dict[str, Any] = {
    "text/csv": {"schema": {"type": "string"}, "example": "region,year,kpi,value\nNA,2024,revenue,4567.89\n"},
    "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}, "example": "PAR1..."},
}


@router.get(
    "/models",
    summary="List models",
    response_model=ModelsAnswer,
    responses={304: {"description": "It is as the `ETag` of `If-None-Match` says."}},
)
def list_models(here: Here, request: Request) -> Response:
    """The models that one may run, with their own parameters; the answer may be cached."""
    asker = principal(request)
    with here.store.read() as tx:
        ids = service.shown(asker, here.registry.models, service.seen_by(tx, asker))
    known = (here.registry.models[name].item for name in ids)
    models = tuple(ModelAnswer(id=model.id, name=model.name, params=_choices(model.params)) for model in known)
    response = answer(ModelsAnswer(models=models), headers=KEPT)
    tag = response.headers["ETag"] = f'"{hashlib.sha256(bytes(response.body)).hexdigest()[:32]}"'
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers={name: response.headers[name] for name in ("ETag", *KEPT)})
    return response


@router.post(
    "/runs",
    summary="Run a model",
    status_code=201,
    response_model=RunSubmitted,
    response_description="Queued.",
    responses=refusals(404, 409, 413, 429),
)
def submit_run(here: Here, request: Request, body: Annotated[RunRequest, FromJson()], key: Key = None) -> Response:
    """It runs in the background: `GET /api/runs/{run_id}/status` says how far it is."""
    once, asker = Once.of(request, key, body), principal(request)

    def work() -> Response:
        seen = service.seen_by(tx, asker)
        service.check_model(asker, body.model_id, seen)
        count(tx, here.settings.runs_rate, "runs", asker.name)
        run = service.submit(tx, here.registry, body.model_id, body.inputs, asker.name, seen)
        return answer(RunSubmitted(run_id=run.id, status="queued"), 201)

    with here.store.write() as tx:
        response = perform(tx, once, work)
    here.wake()
    return response


@router.get("/runs", summary="List runs", response_model=RunPage, response_description="Newest first.")
def list_runs(
    here: Here,
    request: Request,
    model_id: Annotated[str | None, Query(max_length=200, description="Only runs of this model.")] = None,
    status: Annotated[RunWord | None, Query(description="Only runs of this `status`.")] = None,
    mine: Annotated[bool, Query(description="Only those that the caller submitted.")] = False,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Response:
    """A page of runs."""
    asker = principal(request)
    with here.store.read() as tx:
        seen = service.seen_by(tx, asker)
        page = tx.runs(model_id, states_of(status), asker.name if mine else None, cursor, limit or PAGE, seen)
    runs = tuple(RunAnswer.of(run) for run in page.items)
    return answer(RunPage.model_construct(runs=runs, next_cursor=page.next_cursor))


@router.get("/runs/{run_id}", summary="Read a run", response_model=RunAnswer, responses=refusals(404))
def get_run(here: Here, request: Request, run_id: RunId) -> Response:
    """A run: what was asked for, and where it stands."""
    with here.store.read() as tx:
        return answer(RunAnswer.of(_read(tx, request, run_id)), headers=FRESH)


@router.get(
    "/runs/{run_id}/status", summary="Read a run's status", response_model=RunStatusAnswer, responses=refusals(404)
)
def get_run_status(here: Here, request: Request, run_id: RunId) -> Response:
    """Where a run stands."""
    with here.store.read() as tx:
        return answer(RunStatusAnswer.of(_read(tx, request, run_id)), headers=FRESH)


@router.get(
    "/runs/{run_id}/results",
    summary="Read a run's results",
    response_model=RunResults,
    response_description="A page of rows, or the whole table as CSV or Parquet.",
    responses={200: {"content": TABLES}, **refusals(404, 409)},
)
def get_run_results(
    here: Here,
    request: Request,
    run_id: RunId,
    format: Annotated[  # noqa: A002  (the parameter's name)
        Format | None, Query(description="Without it: what `Accept` asks for; `text/csv` gives CSV.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = MAX_LIMIT,
) -> Response:
    """The rows that a run gave, and a summary of all of them. 409 until it has succeeded."""
    with here.store.read() as tx:
        run = _read(tx, request, run_id)
    _check_succeeded(run)
    results = Results(here.storage, run)
    chosen = format or _accepted(request.headers.get("accept", ""))
    if chosen == "json":
        rows, following = results.page(cursor, limit or MAX_LIMIT)
        return answer(
            RunResults.model_construct(
                run_id=run.id, summary=results.summary(), rows=tuple(rows), next_cursor=following
            )
        )
    return _table(run, results, chosen)


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel a run",
    status_code=202,
    response_model=RunStatusAnswer,
    responses=refusals(404, 409),
)
def cancel_run(here: Here, request: Request, once: Bodiless, run_id: RunId) -> Response:
    """What computes it is stopped; its status becomes `failed`."""
    asker = principal(request)

    def cancel() -> Response:
        seen = service.seen_by(tx, asker)
        service.check_model(asker, service.read(tx, run_id, seen).model_id, seen)
        try:
            return answer(RunStatusAnswer.of(service.cancel(tx, run_id)), 202)
        except StateForbids:
            word = RUN_WORDS[tx.run(run_id).state]
            raise StateForbids(
                f"The run has {word} already; there is nothing to cancel", run_id=run_id, state=word
            ) from None

    with here.store.write() as tx:
        response = perform(tx, once, cancel)
    here.wake()
    return response


def _read(tx: Tx, request: Request, run_id: str) -> ModelRun:
    return service.read(tx, run_id, service.seen_by(tx, principal(request)))


def _choices(params: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    return {name: tuple(choices) for name, choices in params.items()}


def _matches(given: str, tag: str) -> bool:
    """Whether an `If-None-Match` header names the tag; a weak comparison, as the header's definition says."""
    return any(part.strip().removeprefix("W/") in (tag, "*") for part in given.split(","))


def _check_succeeded(run: ModelRun) -> None:
    if run.state is JobState.SUCCEEDED:
        return
    word = RUN_WORDS[run.state]
    why = f": {run.message}" if run.message else ""
    remedy = "it has no results" if run.state.ended else "wait until it has succeeded"
    raise NoResults(f"The run is {word}{why}; {remedy}", state=word, progress=run.progress)


def _accepted(header: str) -> Format:
    """The first of ours that an `Accept` header names; JSON, where it names none."""
    named = (part.partition(";")[0].strip().lower() for part in header.split(","))
    return MEDIA_TYPES[next((name for name in named if name in MEDIA_TYPES), "application/json")]


def _table(run: ModelRun, results: Results, chosen: Format) -> Response:
    chunks = results.csv() if chosen == "csv" else results.parquet()
    media_type = next(name for name, kind in MEDIA_TYPES.items() if kind == chosen)
    headers = {"Content-Disposition": f'attachment; filename="{run.id}.{chosen}"'}
    return streamed(chunks, media_type, headers)
