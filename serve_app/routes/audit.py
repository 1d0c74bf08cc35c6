"""The audit log: a page of it, and all of it as JSON lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from serve_app.answers import answer
from serve_app.auth import principal
from serve_app.context import Here
from serve_app.routes.parameters import Cursor, Limit
from serve_app.streams import streamed
from serve_app.strict import surface
from tunesmith.errors import BadRequest
from tunesmith.schemas.audit import AuditAnswer, AuditPage
from tunesmith.services.audit import json_lines, visible
from tunesmith.store.audit import AuditFilter

router = surface("/v1/audit", ["identity"])
PAGE = 100
LINES = "application/x-ndjson"


async def _which(
    request: Request,
    principal_name: Annotated[
        str | None, Query(alias="principal", max_length=100, description="By whom: a user's name, `api-key`, ...")
    ] = None,
    action: Annotated[
        str | None, Query(max_length=300, description="Which operation: its method and path.", examples=["POST /jobs"])
    ] = None,
    since: Annotated[datetime | None, Query(alias="from", description="Not before this moment.")] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Before this moment.")] = None,
) -> AuditFilter:
    asked = AuditFilter(principal=principal_name, action=action, since=_aware(since), until=_aware(until))
    return visible(principal(request), asked)


Which = Annotated[AuditFilter, Depends(_which)]


@router.get("", summary="List the audit log", response_model=AuditPage, response_description="Newest first.")
def list_audit(here: Here, which: Which, cursor: Cursor = None, limit: Limit = PAGE) -> Response:
    """Who did what, when, from where, and what came of it: of your workspace; as admin of `main`, of the platform.

    It has what changes something, sign-ins, and refusals; no bodies, and no secrets. A record is there within a second.
    """
    with here.store.read() as tx:
        page = tx.audit(which, cursor, limit or PAGE)
    records = tuple(map(AuditAnswer.of, page.items))
    return answer(AuditPage.model_construct(records=records, next_cursor=page.next_cursor))


@router.get(
    ".jsonl",
    summary="Export the audit log",
    response_class=Response,
    response_description="A record a line, oldest first.",
    responses={200: {"content": {LINES: {"schema": {"type": "string"}}}}},
)
def export_audit(here: Here, which: Which) -> Response:
    """The same as JSON lines, oldest first, from its beginning or `from` a moment."""
    return streamed(json_lines(here.store, which), LINES)


def _aware(moment: datetime | None) -> datetime | None:
    """The moment in UTC, which it is in where it names no zone. Raises BadRequest."""
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise BadRequest(f"{moment} is no moment of the years 1 to 9999") from error
