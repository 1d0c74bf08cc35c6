"""Answers: pydantic values straight to JSON bytes, and every refusal in the one error body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from tunesmith.errors import TunesmithError

RETRY_AFTER_S = 1
"""What a 503 tells the client to wait, in seconds; a 429 says it in its details."""


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON. It is ours, so it is not validated again on its way out."""
    return Response(body.model_dump_json(), status, headers, "application/json")


def answers(bodies: list[Any], headers: Mapping[str, str] | None = None) -> Response:
    """Values as a JSON array."""
    return Response(to_json(bodies, inf_nan_mode="null"), 200, headers, "application/json")


def refusal(
    error: TunesmithError,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """The one error body, with `Retry-After` where trying again helps; `extra` fields stand beside the error's."""
    status = status or error.status
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer", **(headers or {})}
    if status == 408:
        headers = {"Connection": "close", **(headers or {})}  # the rest of the body is not waited for
    if status in (429, 503):
        wait_s = error.details.get("retry_after_s", RETRY_AFTER_S)
        headers = {"Retry-After": str(wait_s), **(headers or {})}
    body = to_json({**error.body(), **(extra or {})}, inf_nan_mode="null", fallback=str)
    return Response(body, status, headers, "application/json")
