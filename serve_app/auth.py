"""Who may ask: the holder of the static key (`TUNESMITH_API_KEY`), or, without one, programs of this machine.

A page that a developer's browser happens to show is no program of this machine, though it can reach loopback: so
without a key, requests from another origin or under another host name (DNS rebinding) are refused.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.answers import refusal
from tunesmith.errors import Forbidden, Unauthenticated
from tunesmith.settings import Settings

OPEN = frozenset({"/health", "/ready"})
"""Paths that a probe may see without the key."""


def principal(settings: Settings) -> str:
    """Who asks: all that is known of whoever holds the static key, or asks a platform that has none."""
    return "anonymous" if settings.api_key is None else "api-key"


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


class LoopbackOnly:
    """Refuses what a web page from elsewhere sends to this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        problem = _foreign(Headers(scope=scope)) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
            return
        await refusal(Forbidden(problem))(scope, receive, send)


def _foreign(headers: Headers) -> str | None:
    host, origin = headers.get("host", ""), headers.get("origin")
    if not _is_loopback(f"//{host}"):
        return f"Host {host!r} is not this machine; without authentication, ask for localhost or 127.0.0.1."
    if origin is not None and not _is_loopback(origin):
        return f"Origin {origin!r} may not use a platform without authentication."
    return None


def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return False
    return name in ("localhost", "127.0.0.1", "::1")
