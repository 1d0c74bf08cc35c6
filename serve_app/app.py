"""The FastAPI application, made by a plain function: it runs under Ray Serve, uvicorn, or in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from serve_app import errors, openapi
from serve_app.auth import StaticKey
from serve_app.context import Context
from serve_app.counting import CountRequests, RequestCounts
from serve_app.limits import BodyLimit
from serve_app.platform import Alone, Platform
from serve_app.routes import (
    analysis,
    asking,
    executions,
    experiments,
    functions,
    health,
    jobs,
    metrics,
    notifications,
    records,
    samplers,
    training_jobs,
    trials,
)
from tunesmith import __version__
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store, open_store

SURFACES = (
    experiments,
    trials,
    records,
    analysis,
    asking,
    jobs,
    training_jobs,
    executions,
    notifications,
    functions,
    samplers,
    health,
    metrics,
)


def build(settings: Settings, platform: Platform | None = None, store: Store | None = None) -> FastAPI:
    """The application on a migrated database; a store that is handed in stays open when the application stops.

    Raises:
        InvalidSettings: the database URL is none.
    """
    opened = store or open_store(settings.database)
    here = Context(settings, opened, Storage(settings.artifacts), platform or Alone(opened), RequestCounts(opened))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        here.requests.close()
        if store is None:
            here.store.close()

    app = FastAPI(
        title="tunesmith",
        version=__version__,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.context = here
    for surface in SURFACES:
        # Not `include_router`, whose matching in two passes takes a third of a request's time.
        app.router.routes.extend(surface.router.routes)
    errors.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    if settings.api_key is not None:
        app.add_middleware(StaticKey, key=settings.api_key)
    app.add_middleware(errors.Guard)
    app.add_middleware(CountRequests, counts=here.requests)
    return app
