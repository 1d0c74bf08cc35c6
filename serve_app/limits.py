"""The limit on request bodies: refused by their Content-Length, or, when chunked, as soon as they grow too large."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.answers import refusal
from tunesmith.errors import PayloadTooLarge

UPLOADS = re.compile(r"/sessions/[^/]+/(?:etl|data/from-json)$")
"""Paths whose bodies are streamed to files, and may be as large as uploads."""


@dataclass(frozen=True)
class Limit:
    """How large a body may be, and the setting that says so."""

    max_bytes: int
    setting: str

    def error(self) -> PayloadTooLarge:
        """The refusal of a larger one."""
        return PayloadTooLarge(
            f"The request body is larger than {self.max_bytes:,} bytes; send less, or raise {self.setting}",
            max_bytes=self.max_bytes,
        )


class BodyLimit:
    """ASGI middleware that answers 413 to bodies above `max_bytes`, and to uploads above `max_upload_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_upload_bytes: int) -> None:
        self.app = app
        self.body = Limit(max_bytes, "TUNESMITH_MAX_BODY_BYTES")
        self.upload = Limit(max_upload_bytes, "TUNESMITH_MAX_UPLOAD_BYTES")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload if UPLOADS.search(scope["path"]) else self.body
        if _announced(scope) > limit.max_bytes:
            await refusal(limit.error())(scope, receive, send)
        else:
            await self.app(scope, _counted(receive, limit), send)


def _counted(receive: Receive, limit: Limit) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit.max_bytes:
            raise limit.error()
        return message

    return counted


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
