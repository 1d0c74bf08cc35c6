"""Who asks: the holder of the platform's key (`TUNESMITH_API_KEY`), a user with a token, or nobody in particular.

Where no key is set, in mode `dev`, programs of this machine need none. A page that a developer's browser happens to
show is no program of this machine, though it can reach loopback: so without a key, requests from another origin or
under another host name (DNS rebinding) are refused.
"""

from __future__ import annotations

import hmac
from functools import partial
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.access import OPEN
from serve_app.answers import refusal
from serve_app.identities import Identities
from serve_app.limiting import Rates
from serve_app.proxies import address
from serve_app.signing_in.cookies import Cookies
from serve_app.signing_in.pages import to_login
from tunesmith.domain import Principal
from tunesmith.domain.identity import NOBODY
from tunesmith.errors import (
    Forbidden,
    TooManyRequests,
    TunesmithError,
    Unauthenticated,
    Unavailable,
    WorkspaceNotFound,
)

STRICT = "/v1/"
"""Below it, a token that is none is refused also where none is needed."""
WORKSPACE = "x-workspace"
"""The header that names the workspace of a request; without it, it is the user's own."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MISSING = "Send a token of POST /v1/auth/token, or the platform's key, as `Authorization: Bearer` or `X-API-Key`."
UNKNOWN = "The token or key is unknown, expired or revoked; POST /v1/auth/token gives a new token."


def principal(request: Request) -> Principal:
    """Who asks, and what that one may do in the workspace that the request is about."""
    found: Principal = request.state.principal
    return found


def who(request: Request) -> str:
    """The name of who asks: a user's, `api-key` for whoever holds the platform's key, or `anonymous`."""
    return principal(request).name


class Authentication:
    """Finds out who asks, and in which workspace, before anything else looks at a request.

    It refuses nobody in particular where somebody must ask; what each may do is checked before each route.
    """

    def __init__(
        self,
        app: ASGIApp,
        identities: Identities,
        key: str | None,
        required: bool,
        public_url: str | None = None,
        rates: Rates | None = None,
    ) -> None:
        """`key`: the platform's, if it has one; `required`: whether somebody must ask; `public_url`: for browsers.

        `rates`: how often an address may be refused.
        """
        self.app, self.identities, self.required = app, identities, required
        self.cookies, self.rates = Cookies(public_url), rates
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403 to what another site's page sent, or 404 for a foreign workspace."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            found = await self._found(scope)
        except (Unauthenticated, Forbidden, WorkspaceNotFound, Unavailable) as error:
            page = to_login(scope) if isinstance(error, Unauthenticated) else None
            await (page or refusal(self._counted(scope, error)))(scope, receive, send)
            return
        stands = partial(self._stands, dict(scope), found)
        scope["state"] = {**scope.get("state", {}), "principal": found, "stands": stands}  # not what a server may share
        await self.app(scope, receive, send)

    def _counted(self, scope: Scope, error: TunesmithError) -> TunesmithError:
        """The error, or 429 where the address was refused too often."""
        try:
            if self.rates is not None and isinstance(error, Unauthenticated):
                self.rates.count(scope, f"refused {address(scope)}")
        except TooManyRequests as too_many:
            return too_many
        return error

    async def _stands(self, scope: Scope, found: Principal) -> bool:
        """Whether who asked would still be let in, as the same one; while the database is away, they are."""
        try:
            return await self._found(scope) == found
        except Unavailable:
            return True
        except (Unauthenticated, Forbidden, WorkspaceNotFound):
            return False

    async def _found(self, scope: Scope) -> Principal:
        path, headers = scope["path"].removeprefix(scope.get("root_path", "")), Headers(scope=scope)
        if path in OPEN:
            return NOBODY
        given, workspace = _credential(headers), headers.get(WORKSPACE)
        found = await self._holder(given, workspace) if given else await self._session(scope, headers, workspace)
        if found is not None:
            return found
        if self.required or (given and path.startswith(STRICT)):
            raise Unauthenticated(UNKNOWN if given else MISSING)
        return await self.identities.operator("anonymous", workspace)

    async def _holder(self, given: str, workspace: str | None) -> Principal | None:
        if self.key is not None and hmac.compare_digest(given.encode(), self.key):
            return await self.identities.operator("key", workspace)
        found = await self.identities.holder(given, workspace)
        return None if found is None or found.via == "cookie" else found  # what a browser holds is for browsers

    async def _session(self, scope: Scope, headers: Headers, workspace: str | None) -> Principal | None:
        secret = self.cookies.session(headers)
        found = await self.identities.holder(secret, workspace) if secret else None
        if secret is None or found is None or found.via != "cookie":
            return None
        self.cookies.check(scope["method"], headers, secret)
        return found


def _credential(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


class OpenToAll:
    """Lets everybody do everything, without asking who that is."""

    def __init__(self, app: ASGIApp, identities: Identities) -> None:
        self.app, self.identities = app, identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503, or 404 for a workspace that is not there."""
        if scope["type"] == "http":
            try:
                found = await self.identities.operator("anonymous", Headers(scope=scope).get(WORKSPACE))
            except (WorkspaceNotFound, Unavailable) as error:
                await refusal(error)(scope, receive, send)
                return
            scope["state"] = {**scope.get("state", {}), "principal": found}
        await self.app(scope, receive, send)


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
