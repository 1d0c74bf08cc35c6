"""Datasets of a session: listed, read as JSON and by the table, derived, uploaded, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.dataset_uploads import UPLOADS, Arrival, check_extension, check_form, check_kind
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import DatasetKey, SessionId
from serve_app.streams import streamed
from serve_app.strict import WORKERS, surface
from serve_app.uploads import receive_document, receive_form, room
from tunesmith.domain import Dataset
from tunesmith.errors import BadRequest
from tunesmith.schemas.datasets import DeriveRequest, EtlAnswer, KeyList
from tunesmith.schemas.sessions import ParameterList
from tunesmith.services import datasets as service
from tunesmith.store import Tx

router = surface("/api/v1/sessions/{session_id}", ["datasets"], refuses=(404,))
Form = Literal["json", "arrow", "parquet"]
MEDIA_TYPES: dict[str, Form] = {
    "application/json": "json",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "(binary)"}
DATASET_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
FORM_SCHEMA = {
    "type": "object",
    "properties": {
        "dataset_name": {"type": "string", "minLength": 1, "maxLength": 200},
        "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
    },
    "required": ["dataset_name", "files"],
}
FORM_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": FORM_SCHEMA}},
    }
}
Overwrite = Annotated[bool, Query(description="Let it replace the dataset of its name, if there is one.")]


@router.get("/data", summary="List datasets", response_model=KeyList)
def list_datasets(here: Here, session_id: SessionId) -> Response:
    """The names of the session's datasets."""
    with here.store.read() as tx:
        return answer(_keys(tx, tx.session(session_id).id))


@router.get(
    "/data/{key}",
    summary="Read a dataset",
    response_class=Response,
    response_description="The dataset; a table of it as an Arrow stream or a Parquet file.",
    responses={
        200: {
            "content": {"application/json": {"schema": {"type": "object"}}}
            | {name: BINARY for name, form in MEDIA_TYPES.items() if form != "json"}
        }
    },
)
def get_dataset(
    here: Here,
    request: Request,
    session_id: SessionId,
    key: DatasetKey,
    form: Annotated[
        Form | None, Query(alias="format", description="Without it: what `Accept` asks for, else JSON.")
    ] = None,
    table: Annotated[
        str | None, Query(max_length=200, description="Of `arrow` and `parquet`: the table; without it the only one.")
    ] = None,
) -> Response:
    """The whole dataset as JSON, as it came; or one table of it in a columnar form, which is faster to read."""
    chosen = form or _accepted(request.headers.get("accept", ""))
    if table is not None and chosen == "json":
        raise BadRequest("table: JSON holds all tables; add format=parquet or format=arrow for a single one")
    with here.store.read() as tx:
        dataset = tx.dataset(tx.session(session_id).id, key)
    media_type = next(name for name, known in MEDIA_TYPES.items() if known == chosen)
    return streamed(_chunks(here, dataset, chosen, table), media_type)


@router.delete(
    "/data/{key}",
    summary="Delete a dataset",
    status_code=204,
    response_class=Response,
    responses=refusals(409),
)
def delete_dataset(here: Here, session_id: SessionId, key: DatasetKey) -> Response:
    """409 while a scenario, or an optimization that has not ended, uses it."""
    with here.store.write() as tx:
        service.delete(tx, tx.session(session_id), key)
    return Response(status_code=204)


@router.get("/data/{key}/parameters", summary="Describe a dataset's own knobs", response_model=ParameterList)
def list_dataset_parameters(here: Here, session_id: SessionId, key: DatasetKey) -> Response:
    """A descriptor of each; a scenario sets them as its `data_params`."""
    with here.store.read() as tx:
        tx.dataset(tx.session(session_id).id, key)
    knobs = here.registry.data_source.parameters()
    return answer(ParameterList(name=key, parameters=tuple(kind.descriptor(name) for name, kind in knobs.items())))


@router.post(
    "/data/{key}/derive",
    summary="Derive a dataset",
    status_code=201,
    response_model=KeyList,
    response_description="Made.",
    responses=refusals(409, 413, 422),
)
def derive_dataset(
    here: Here,
    request: Request,
    session_id: SessionId,
    key: DatasetKey,
    body: Annotated[DeriveRequest, FromJson()],
    once_key: Key = None,
) -> Response:
    """Another dataset with the same tables, of the type `derived`."""

    def work(tx: Tx) -> Response:
        session = tx.session(session_id)
        service.derive(tx, session, key, body.new_key)
        here.added(tx, session, body.new_key)
        return answer(_keys(tx, session.id), 201)

    once = Once.of(request, once_key, body)
    with here.store.write() as tx:
        response = perform(tx, once, lambda: work(tx))
    here.wake()
    return response


@router.post(
    "/data/from-json",
    summary="Upload a dataset",
    status_code=201,
    response_model=KeyList,
    response_description="Stored.",
    responses=refusals(409, 413, 422),
    openapi_extra=DATASET_BODY,
)
async def upload_dataset(
    here: Here, request: Request, session_id: SessionId, overwrite: Overwrite = False, key: Key = None
) -> Response:
    """A dataset as JSON, as reading one gives it; its name is `metadata.name`."""
    check_kind(request.headers.get("content-type", ""))
    await _check_session(here, session_id)
    with room(here.settings.data_dir) as folder:
        document = folder / "dataset.json"
        once = _once(request, key, await receive_document(request, document))
        return await _worked_on(Arrival(here, session_id, overwrite, once).document, document)


@router.post(
    "/etl",
    summary="Make a dataset of files",
    response_model=EtlAnswer,
    response_description="What was found in the files; `success` says whether they were stored.",
    responses=refusals(409, 413, 422),
    openapi_extra=FORM_BODY,
)
async def run_etl(
    here: Here, request: Request, session_id: SessionId, overwrite: Overwrite = False, key: Key = None
) -> Response:
    """Files (csv, json, xlsx, parquet) that are read, cleaned and checked, and become the tables of a dataset.

    A file's name without its extension is its table's. A message of the severity `critical` stores nothing.
    """
    await _check_session(here, session_id)
    with room(here.settings.data_dir) as folder:
        sent = await receive_form(request, folder, check_extension)
        once = _once(request, key, sent.digest)
        return await _worked_on(Arrival(here, session_id, overwrite, once).form, *check_form(sent))


async def _check_session(here: Context, session_id: str) -> None:
    """Raise SessionNotFound before a byte of an upload is read."""

    def check() -> None:
        with here.store.read() as tx:
            tx.session(session_id)

    await asyncio.get_running_loop().run_in_executor(WORKERS, check)


async def _worked_on(work: Callable[..., Response], *args: Any) -> Response:
    return await asyncio.get_running_loop().run_in_executor(UPLOADS, work, *args)


def _once(request: Request, key: str | None, digest: str) -> Once | None:
    return None if key is None else Once(f"{request.method} {request.url.path}", key, digest)


def _keys(tx: Tx, session_id: str) -> KeyList:
    return KeyList(keys=tuple(dataset.key for dataset in tx.datasets(session_id)))


def _accepted(header: str) -> Form:
    """The first of ours that an `Accept` header names; JSON, where it names none."""
    named = (part.partition(";")[0].strip().lower() for part in header.split(","))
    found: list[Form] = [MEDIA_TYPES[name] for name in named if name in MEDIA_TYPES]
    return found[0] if found else "json"


def _chunks(here: Context, dataset: Dataset, form: Form, table: str | None) -> Iterator[bytes]:
    from tunesmith.data import arrow_stream, json_chunks, parquet  # pandas, which other operations do not need

    if form == "json":
        return json_chunks(here.storage, dataset)
    return (arrow_stream if form == "arrow" else parquet)(here.storage, dataset, table)
