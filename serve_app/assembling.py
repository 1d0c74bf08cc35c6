"""Putting an application together: its routes, its way with errors, and what every request passes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, compile_path

from serve_app import errors, openapi
from serve_app.context import Context
from serve_app.guarding import guarded
from serve_app.limits import BodyLimit
from serve_app.prefixes import PREFIX
from tunesmith import __version__

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def assemble(
    here: Context,
    routes: Iterable[BaseRoute],
    lifespan: Lifespan,
    title: str = "tunesmith",
    description: str = openapi.DESCRIPTION,
    prefix: str = PREFIX,
    secured: bool = True,
) -> FastAPI:
    """An application of these routes; those below PREFIX lie below `prefix` in it.

    Each refuses who may not use it, so `Authentication` has to stand before it; `secured`: its document says so.

    Raises:
        InvalidSettings: `access.ACCESS` does not say who may use a route.
    """
    app = FastAPI(
        title=title,
        version=__version__,
        description=description,
        openapi_tags=openapi.TAGS,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.context, app.state.prefix = here, prefix
    # Not `include_router`, whose matching in two passes takes a third of a request's time.
    behind = [guarded(route, here.identities) for route in (*app.router.routes, *routes)]
    app.router.routes[:] = behind if prefix == PREFIX else [_moved(route, prefix) for route in behind]
    errors.install(app)
    openapi.install(app, secured)
    limits = here.settings
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes, max_upload_bytes=limits.max_upload_bytes)
    return app


def _moved(route: BaseRoute, prefix: str) -> BaseRoute:
    """The same route below another prefix."""
    if not isinstance(route, APIRoute) or not route.path.startswith(f"{PREFIX}/"):
        return route
    moved = copy.copy(route)
    moved.path = prefix + route.path.removeprefix(PREFIX)
    moved.path_regex, moved.path_format, moved.param_convertors = compile_path(moved.path)
    return moved
