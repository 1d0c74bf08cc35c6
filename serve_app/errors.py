"""The one error handler: whatever goes wrong, the answer is the one error body, and never a traceback."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.answers import refusal
from serve_app.fields import field_errors, headline
from serve_app.prefixes import canonical
from tunesmith.domain import TRAINING_WORDS, JobState
from tunesmith.errors import (
    BadRequest,
    Internal,
    InvalidBody,
    JobActive,
    MethodNotAllowed,
    NotFound,
    StateForbids,
    TunesmithError,
    from_body,
)
from tunesmith.schemas.words import EXPERIMENT_WORDS, RUN_WORDS, SCENARIO_WORDS, in_words

log = logging.getLogger("tunesmith.api")
SESSIONS = "/api/v1/sessions"
"""The surface that answers 422 to a malformed body, where all others answer 400."""
TRAININGS = "/jobs"
WORDS: Mapping[str, Mapping[JobState, str]] = {
    "/api/v1/experiments": EXPERIMENT_WORDS,
    "/api/v1/jobs": EXPERIMENT_WORDS,
    TRAININGS: TRAINING_WORDS,
    SESSIONS: SCENARIO_WORDS,
    "/api/runs": RUN_WORDS,
}
"""How the surfaces call states."""


def install(app: FastAPI) -> None:
    """Route every error through this module."""
    app.add_exception_handler(TunesmithError, _tunesmith)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


class Guard:
    """The outermost ASGI middleware: an unexpected error is logged under a request id, which the 500 answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http":
                raise
            request_id = secrets.token_hex(8)
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            if not started:
                answer = refusal(Internal(request_id=request_id), headers={"X-Request-Id": request_id})
                await answer(scope, receive, send)


async def _tunesmith(request: Request, error: Exception) -> Response:
    assert isinstance(error, TunesmithError)
    path = canonical(request)
    error = _in_words(error, path)
    if error.status >= 500:
        log.warning("%s %s: %s", request.method, request.url.path, error.message)
    unprocessable = isinstance(error, InvalidBody) and path.startswith(SESSIONS)
    return refusal(error, 422 if unprocessable else None)


def _in_words(error: TunesmithError, path: str) -> TunesmithError:
    """A refusal of a state change in the words of the surface."""
    if isinstance(error, StateForbids):
        words = next((words for surface, words in WORDS.items() if path.startswith(surface)), None)
        return error if words is None else in_words(error, words)
    if isinstance(error, JobActive) and path.startswith(TRAININGS):
        return JobActive("An execution of the job has not ended; wait for it, or cancel it first", **error.details)
    return error


async def _validation(request: Request, error: Exception) -> Response:
    """A path, query or header parameter is wrong, or a body that must be there is not."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["loc"] == ("body",):
        return await _tunesmith(request, InvalidBody("the request needs a JSON body, and has none"))
    sent = {finding["loc"][-1]: finding.get("input") for finding in found}
    fields = field_errors([{**finding, "loc": finding["loc"][1:]} for finding in found], sent)
    return await _tunesmith(request, BadRequest(headline(fields), fields=fields))


async def _http(request: Request, error: Exception) -> Response:
    """Starlette's and FastAPI's own refusals; one of ours that they wrapped comes out again."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, TunesmithError):
        return await _tunesmith(request, error.__cause__)
    if error.status_code == 404:
        return refusal(NotFound(f"There is nothing at {request.url.path}; /docs lists what there is"))
    if error.status_code == 405:
        return _not_allowed(request)
    body: dict[str, Any] = {"error": str(error.detail)}
    return refusal(from_body(error.status_code, body), error.status_code, error.headers)


def _not_allowed(request: Request) -> Response:
    allowed: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex.match(request.url.path):
            allowed |= route.methods or set()
    text = ", ".join(sorted(allowed))
    error = MethodNotAllowed(f"{request.url.path} takes {text}, not {request.method}", allowed=sorted(allowed))
    return refusal(error, headers={"Allow": text})
