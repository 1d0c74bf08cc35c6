"""What stands around an application, outside of what finds out who asks: the audit log, and what browsers are told."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from serve_app import errors
from serve_app.auditing import Audit
from serve_app.auth import LoopbackOnly
from serve_app.headers import HeaderLimit, SecurityHeaders
from serve_app.proxies import FromProxies
from tunesmith.services.audit_log import AuditLog
from tunesmith.settings import Settings

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CREDENTIALS = ("Authorization", "X-API-Key")
SENT = (*CREDENTIALS, "X-Workspace", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID")
"""Headers that pages of other sites may send."""
SEEN = ("Retry-After", "X-Request-Id", "ETag", "Idempotency-Replayed", "X-Content-SHA256")
"""Headers that they may read."""


def surround(app: FastAPI, settings: Settings, log: AuditLog, loopback_only: bool) -> None:
    """Add it; each layer is outside of those before it. `loopback_only`: for this machine's own programs alone."""
    if loopback_only:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(HeaderLimit)
    app.add_middleware(errors.Guard)
    app.add_middleware(Audit, log=log)
    if settings.cors_origins:
        # No cookies: a page of another site has a token of its own.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=SEEN,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(FromProxies, trusted=settings.trusted_proxies)
