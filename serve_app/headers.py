"""What every answer tells browsers: not to guess, frame, leak or keep it; and the limit on a request's own headers."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.answers import refusal
from tunesmith.errors import HeadersTooLarge

MAX_HEADERS = 14_000
"""Bytes of a request's headers; Ray's replicas take 16 KiB with the request line."""
TOO_LARGE = b"x-header-bytes"
"""What the ingress sends instead of headers that are larger: how large they were."""
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
DOCS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    "font-src https://fonts.gstatic.com; img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    "worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The pages /docs and /redoc load their script and style from where FastAPI says."""
HSTS = (b"strict-transport-security", b"max-age=31536000")


def _lines(policy: str) -> tuple[tuple[bytes, bytes], ...]:
    said = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
    }
    return tuple((name.lower().encode(), value.encode()) for name, value in said.items())


USUAL = _lines(NOTHING)
PAGES = {path: _lines(DOCS) for path in ("/docs", "/redoc")}


class SecurityHeaders:
    """The ASGI middleware that adds them; a header that an answer has already stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        lines = PAGES.get(scope["path"], USUAL)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                headers += [line for line in lines if line[0] not in present]
                if scope["scheme"] == "https":
                    headers.append(HSTS)
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, watched)


class HeaderLimit:
    """The ASGI middleware that answers 431 to headers above MAX_HEADERS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (size := _size(scope)) > MAX_HEADERS:
            error = HeadersTooLarge(f"The headers have {size:,} bytes; at most {MAX_HEADERS:,} are taken", bytes=size)
            await refusal(error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _size(scope: Scope) -> int:
    size = 0
    for name, value in scope["headers"]:
        if name == TOO_LARGE and value.isdigit():
            size += int(value[:9])
        size += len(name) + len(value) + 4
    return size
