"""What browsers are shown on their way in: a redirect to `/login` instead of a refusal, and why it did not work."""

from __future__ import annotations

import html
from urllib.parse import quote, urlsplit

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from serve_app.answers import refusal
from tunesmith.errors import TunesmithError

LOGIN = "/login"
FIRST = "/docs"
"""What is shown to who wants to see nothing in particular."""
NO_STORE = {"Cache-Control": "no-store"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign-in</title></head>
<body><h1>You are not signed in</h1><p>{reason}</p><p><a href="/login">Try again</a></p></body></html>
"""


def to_login(scope: Scope) -> Response | None:
    """The way to sign in, for a browser that asks for a page; None for whatever asks for anything else."""
    if scope["app"].state.context.settings.oidc_issuer is None or not wants_page(scope):
        return None
    path = scope["path"]
    if any(
        isinstance(route.original_route, APIRoute) and route.include_in_schema and route.path_regex.match(path)
        for route in iter_route_contexts(scope["app"].routes)
    ):
        return None  # an operation, whoever asks
    query = scope["query_string"].decode("latin-1")
    wanted = quote(own_path(f"{quote(path)}?{query}" if query else quote(path)), safe="/")
    return RedirectResponse(f"{LOGIN}?next={wanted}", 303, NO_STORE)


def refused(scope: Scope, error: TunesmithError) -> Response:
    """A refusal on the way in, as a page for a browser."""
    if not wants_page(scope):
        return refusal(error, headers=NO_STORE)
    return HTMLResponse(PAGE.format(reason=html.escape(error.message)), error.status, NO_STORE)


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for something to show."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in Headers(scope=scope).get("accept", "")


def own_path(wanted: str) -> str:
    """A path of this platform, which a browser takes for nothing else; `FIRST` instead of any other text."""
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    if not plain or not wanted.startswith("/") or wanted.startswith("//"):
        return FIRST
    parts = urlsplit(wanted)
    return FIRST if parts.scheme or parts.netloc or parts.path == LOGIN else wanted
