"""Below which path the surfaces lie, and what a request's path would be below the usual one."""

from __future__ import annotations

from fastapi import Request

PREFIX = "/api/v1"
"""Where they lie, unless an application was put together with another prefix."""


def canonical(request: Request) -> str:
    """The request's path, as if its application had no other prefix, and was mounted nowhere."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    prefix: str = request.app.state.prefix
    return PREFIX + path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
