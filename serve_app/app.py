"""The FastAPI application, made by a plain function: it runs under Ray Serve, uvicorn, or in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

import anyio.to_thread
from fastapi import FastAPI

from serve_app import errors
from serve_app.assembling import assemble
from serve_app.auth import Authentication
from serve_app.context import Context
from serve_app.counting import CountRequests, RequestCounts
from serve_app.identities import Identities
from serve_app.platform import Alone, Platform
from serve_app.prefixes import PREFIX
from serve_app.routes import (
    analysis,
    asking,
    automl,
    datasets,
    executions,
    experiments,
    functions,
    health,
    identity,
    jobs,
    metrics,
    model_runs,
    notifications,
    records,
    samplers,
    scenarios,
    sessions,
    training_jobs,
    trials,
)
from tunesmith.errors import DatabaseUnavailable
from tunesmith.plugins import Registry
from tunesmith.services import sessions as sessions_service
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
    model_runs,
    sessions,
    datasets,
    scenarios,
    automl,
    notifications,
    functions,
    samplers,
    identity,
    health,
    metrics,
)


def build(
    settings: Settings,
    platform: Platform | None = None,
    store: Store | None = None,
    registry: Registry | None = None,
    prefix: str = PREFIX,
) -> FastAPI:
    """The application on a migrated database; a store that is handed in stays open when the application stops.

    `registry`: what plugins bring, instead of what those of the settings do; `prefix`: where the surfaces lie that are
    below PREFIX otherwise.

    Raises:
        InvalidSettings: the database URL is none, or a plugin cannot be loaded.
    """
    plugins = registry or _registry(settings.plugins)
    opened = store or open_store(settings.database)
    requests, storage = RequestCounts(opened), Storage(settings.artifacts)
    identities = Identities(opened)
    here = Context(settings, opened, storage, platform or Alone(opened, settings), requests, plugins, identities)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(_begin, opened)
        yield
        here.requests.close()
        identities.close()
        if store is None:
            here.store.close()

    routes = [route for surface in SURFACES for route in surface.router.routes]
    app = assemble(here, routes, lifespan, prefix=prefix)
    required = settings.api_key is not None or settings.mode == "prod"
    app.add_middleware(Authentication, identities=identities, key=settings.api_key, required=required)
    app.add_middleware(errors.Guard)
    app.add_middleware(CountRequests, counts=here.requests)
    return app


def _begin(store: Store) -> None:
    """Make the first session, which people may name before they list any."""
    with suppress(DatabaseUnavailable), store.write() as tx:
        sessions_service.ensure(tx)


@lru_cache(maxsize=8)
def _registry(references: tuple[str, ...]) -> Registry:
    """What these plugins bring, loaded once per process."""
    return Registry.load(references)
