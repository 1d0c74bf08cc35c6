"""The static key: with `TUNESMITH_API_KEY` set, every request but the probes must carry it."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.answers import refusal
from tunesmith.errors import Unauthenticated

OPEN = frozenset({"/health", "/ready"})
"""Paths that a probe may see without the key."""


class StaticKey:
    """Refuses requests without the key, before anything else looks at them."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN or self._knows(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        error = Unauthenticated("Send the platform's key: `Authorization: Bearer <key>` or `X-API-Key: <key>`.")
        await refusal(error, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self.key)
