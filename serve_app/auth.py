"""Who asks: the holder of the platform's key (`TUNESMITH_API_KEY`), a user with a token, or nobody in particular.

Where no key is set, in mode `dev`, programs of this machine need none. A page that a developer's browser happens to
show is no program of this machine, though it can reach loopback: so without a key, requests from another origin or
under another host name (DNS rebinding) are refused.
"""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.answers import refusal
from serve_app.context import Here
from serve_app.identities import Identities
from tunesmith.domain.identity import ANONYMOUS, STATIC_KEY
from tunesmith.errors import DatabaseUnavailable, Forbidden, Unauthenticated

OPEN = frozenset({"/health", "/ready"})
"""Paths that a probe may see, whoever it is."""
SIGN_IN = "/v1/auth/token"
"""Where a token is got, so that none is needed."""
STRICT = "/v1/"
"""Below it, a token that is none is refused also where none is needed."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MISSING = "Send a token of POST /v1/auth/token, or the platform's key, as `Authorization: Bearer` or `X-API-Key`."
UNKNOWN = "The token or key is unknown, expired or revoked; POST /v1/auth/token gives a new token."


def principal(request: Request) -> str:
    """Who asks: a user's name, `api-key` for whoever holds the platform's key, or `anonymous`."""
    return str(getattr(request.state, "principal", ANONYMOUS))


async def signed_in(request: Request, here: Here) -> str:
    """Who asks, for what needs somebody as soon as there are users; before, `anonymous` may do it too.

    Raises:
        Unauthenticated: nobody is signed in.
    """
    who = principal(request)
    if who == ANONYMOUS and await here.identities.anybody():
        raise Unauthenticated(MISSING)
    return who


SignedIn = Annotated[str, Depends(signed_in)]
"""Annotate an endpoint's parameter with this to get who asks, and to refuse nobody in particular."""


class Authentication:
    """Finds out who asks before anything else looks at a request, and refuses who may not."""

    def __init__(self, app: ASGIApp, identities: Identities, key: str | None, required: bool) -> None:
        """`key`: the platform's, if it has one; `required`: whether somebody must ask."""
        self.app, self.identities, self.required = app, identities, required
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            who = await self._who(scope)
        except (Unauthenticated, DatabaseUnavailable) as error:
            await refusal(error)(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "principal": who}  # not into what a server may share
        await self.app(scope, receive, send)

    async def _who(self, scope: Scope) -> str:
        path, given = scope["path"].removeprefix(scope.get("root_path", "")), _credential(Headers(scope=scope))
        if given and self.key is not None and hmac.compare_digest(given.encode(), self.key):
            return STATIC_KEY
        if path in OPEN:
            return ANONYMOUS
        user = await self.identities.holder(given) if given else None
        if user is not None:
            return user.name
        if path != SIGN_IN and (self.required or (given and path.startswith(STRICT))):
            raise Unauthenticated(UNKNOWN if given else MISSING)
        return ANONYMOUS


def address(request: Request) -> str:
    """Where a request comes from: what the proxy on this machine says, or else who is connected."""
    peer = request.client.host if request.client else ""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded if forwarded and peer in LOOPBACK else peer


def _credential(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


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
    return name in LOOPBACK
