"""Answers that go on for as long as there is something to follow, and whoever asked may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

LOOK_S = 1.0
"""Seconds between two looks at whether who asked may still follow; most of them are answered from memory."""


class Followed(StreamingResponse):
    """A stream that ends when the token of who asked was revoked or expired, or the role taken away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        self._stands: Callable[[], Awaitable[bool]] | None = scope.get("state", {}).get("stands")
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send it until it ends, or has to."""
        if self._stands is None:
            await super().stream_response(send)
            return
        with anyio.CancelScope() as following:
            watching = asyncio.create_task(_watch(self._stands, following))
            try:
                await super().stream_response(send)
            finally:
                watching.cancel()
        if following.cancelled_caught:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(stands: Callable[[], Awaitable[bool]], following: anyio.CancelScope) -> None:
    try:
        await anyio.sleep(LOOK_S)
        while await stands():
            await anyio.sleep(LOOK_S)
    finally:  # also when it cannot be found out
        following.cancel()
