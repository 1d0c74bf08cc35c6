"""Reading answers: leniently, into the schemas' types; something else is not a platform's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tunesmith.client.connection import Connection
from tunesmith.schemas.jobs import JobAnswer

M = TypeVar("M", bound=BaseModel)
PAGE = 500
"""Rows that are asked for at once."""


def parsed(connection: Connection, kind: type[M], body: Any) -> M:
    """The body as a value; fields that the client does not know are ignored. Raises ConnectionFailed."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise connection.not_ours(f"{kind.__name__}.{where}: {first['msg']}") from error


def parsed_list(connection: Connection, kind: type[M], body: Any) -> list[M]:
    """The body as a list of values. Raises ConnectionFailed."""
    if not isinstance(body, list):
        raise connection.not_ours(f"{type(body).__name__} instead of an array")
    return [parsed(connection, kind, row) for row in body]


def parsed_job(connection: Connection, body: Any) -> JobAnswer:
    """A job, whether or not it is wrapped in `{"status": ..., "job": ...}`. Raises ConnectionFailed."""
    wrapped = isinstance(body, dict) and "job_id" not in body and "job" in body
    return parsed(connection, JobAnswer, body["job"] if wrapped else body)


def paged(
    connection: Connection, path: str, key: str, kind: type[M], limit: int | None = None, **params: Any
) -> Iterator[M]:
    """Every row of a paged list as a value, page after page, at most `limit` of them. Raises TunesmithError."""
    return (parsed(connection, kind, row) for row in paged_rows(connection, path, key, limit, **params))


def paged_rows(
    connection: Connection, path: str, key: str, limit: int | None = None, **params: Any
) -> Iterator[dict[str, Any]]:
    """Every row of a paged list as the server gave it; otherwise as `paged`."""
    cursor, left = None, limit
    while left is None or left > 0:
        page = connection.get(path, cursor=cursor, limit=PAGE if left is None else min(PAGE, left), **params)
        if not isinstance(page, dict) or not isinstance(page.get(key), list):
            raise connection.not_ours(f"no page of {key} at {path}")
        rows = page[key]
        yield from rows[:left]
        left = None if left is None else left - len(rows)
        cursor = page.get("next_cursor")
        if cursor is None:
            return
