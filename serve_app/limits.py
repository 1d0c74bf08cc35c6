"""The limits on request bodies: refused by their Content-Length, as soon as they grow too large, or come too slowly."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.answers import refusal
from tunesmith.errors import PayloadTooLarge, RequestTimeout

UPLOADS = re.compile(r"/sessions/[^/]+/(?:etl|data/from-json)$")
"""Paths whose bodies are streamed to files, and may be as large as uploads."""
PATIENCE_S, BYTES_PER_S = 20.0, 1000
"""A body has so many seconds, and one more for each so many bytes of it that have arrived."""
BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


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
    """ASGI middleware that answers 413 to bodies above `max_bytes`, and to uploads above `max_upload_bytes`.

    And 408 to those that come slower than BYTES_PER_S after `patience_s`: what the service itself takes does not count.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_upload_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self.app, self.patience_s = app, patience_s
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
            bodiless = scope["method"] in BODILESS
            await self.app(scope, receive if bodiless else _counted(receive, limit, self.patience_s), send)


def _counted(receive: Receive, limit: Limit, patience_s: float) -> Receive:
    received, left_s, whole = 0, patience_s, False

    async def counted() -> Message:
        nonlocal received, left_s, whole
        if whole:
            return await receive()  # for as long as it takes: the client may go away
        begun = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive in time ({received:,} bytes did); send it again") from None
        more = len(message.get("body", b""))
        received += more
        left_s += more / BYTES_PER_S - (time.monotonic() - begun)
        whole = not message.get("more_body")
        if received > limit.max_bytes:
            raise limit.error()
        return message

    return counted


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
