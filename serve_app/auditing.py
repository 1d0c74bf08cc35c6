"""What goes into the audit log: everything that changes something, every sign-in, and every refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from pydantic import JsonValue
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.counting import GONE, METHODS, OTHER
from serve_app.proxies import address
from tunesmith.domain import utcnow
from tunesmith.domain.audit import DeedHere
from tunesmith.domain.identity import NOBODY, Principal
from tunesmith.services.audit_log import AuditLog
from tunesmith.services.refusals import Refusals

READS = frozenset({"GET", "HEAD", "OPTIONS"})
WORK = re.compile(r"/experiments/[^/]+/(?:ask|tell|trials/[^/]+/(?:tell|report|fail|heartbeat))$")
"""What workers of one's own send all the time. None of it is recorded, unless it is refused."""
TOLD = frozenset({"/login", "/callback", "/v1/audit", "/v1/audit.jsonl", "/api/v1/secrets"})
"""What is recorded though it only reads: signing in, the log itself, and which secrets there are."""
NO_REFUSALS = frozenset({405, 409, 416, 424})
"""Answers to what only reads that are no refusals: it is not there yet, or not in that way."""
IDS = ("id", "name", "job_id", "run_id", "experiment_id", "model_id", "key", "prefix")
"""Fields of an answer that say what was made."""
MAX_BODY, MAX_TEXT = 100_000, 500
"""Bytes of an answer that is looked at for them, and characters of what is kept, at most."""
TOKEN = re.compile(r"(ts_[\w-]{6})[\w-]{37,}", re.ASCII)
"""A whole token, which somebody put into a path instead of how it begins."""


def note(request: Request, **details: JsonValue) -> None:
    """Add to what the audit log says of this request; `user`: under which name somebody tried to sign in."""
    request.scope.setdefault("state", {}).setdefault("audit", {}).update(details)


class Audit:
    """The ASGI middleware that records, outside of everything that may refuse a request."""

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self.app, self.log, self.refusals = app, log, Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record what came of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reads = scope["method"] in READS
        recorded = scope["path"] in TOLD if reads else WORK.search(scope["path"]) is None
        status, body = GONE, b""

        async def watched(message: Message) -> None:
            nonlocal status, body, recorded
            if message["type"] == "http.response.start":
                status = message["status"]
                if 400 <= status < 500:
                    recorded = not reads or status not in NO_REFUSALS
            elif recorded and len(body) < MAX_BODY:
                body += message.get("body", b"")
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if recorded and (left_out := self._left_out(scope, status)) is not None:
                self.log.add(_deed(scope, status, body, left_out))

    def _left_out(self, scope: Scope, status: int) -> int | None:
        """How many refusals like this one were left out before it; None: this one is left out too."""
        return self.refusals.count(f"{address(scope)} {status}") if 400 <= status < GONE else 0


def _deed(scope: Scope, status: int, body: bytes, left_out: int) -> DeedHere:
    state: Mapping[str, Any] = scope.get("state") or {}
    who: Principal = state.get("principal", NOBODY)
    details: dict[str, JsonValue] = {**state.get("audit", {}), **_said(body, status)}
    if left_out:
        details["left_out"] = left_out
    name, kind = who.name, who.kind
    if kind == "anonymous" and status < 400 and "user" in details:
        name, kind = str(details["user"]), "user"  # who has just signed in
    return DeedHere(
        at=utcnow(),
        workspace_id=who.workspace_id,
        principal=name,
        kind=kind,
        action=_action(scope),
        target=TOKEN.sub(r"\1***", quote(scope["path"]))[:MAX_TEXT],
        address=address(scope),
        status=status,
        details=details,
    )


def _action(scope: Scope) -> str:
    """The method and path of the operation; one that was refused before its route was known is looked for."""
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = scope.get("route")
    app: FastAPI | None = scope.get("app")
    if route is None and app is not None:
        route = next((one for one in app.router.routes if one.matches(scope)[0] is Match.FULL), None)
    return f"{method} {getattr(route, 'path', OTHER)}"


def _said(body: bytes, status: int) -> dict[str, JsonValue]:
    """What an answer says of what was made, or why nothing was."""
    if not body.startswith(b"{") or len(body) > MAX_BODY:
        return {}
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    if status >= 400:
        return {"code": answer["code"]} if isinstance(answer.get("code"), str) else {}
    inner = answer.get("job")
    answer |= inner if isinstance(inner, dict) else {}
    found = {name: answer[name] for name in IDS if isinstance(answer.get(name), str | int)}
    return {name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in found.items()}
