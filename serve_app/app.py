"""The FastAPI application, made by a plain function: it runs under Ray Serve, uvicorn, or in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

import anyio.to_thread
from fastapi import FastAPI

from serve_app.assembling import assemble
from serve_app.auth import Authentication
from serve_app.context import Context
from serve_app.counting import CountRequests, RequestCounts
from serve_app.identities import Identities
from serve_app.limiting import RateLimits, Rates
from serve_app.platform import Alone, Platform
from serve_app.prefixes import PREFIX
from serve_app.routes import (
    analysis,
    asking,
    audit,
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
    people,
    records,
    samplers,
    scenarios,
    secrets,
    sessions,
    sign_in,
    training_jobs,
    trials,
    workspaces,
)
from serve_app.shared_counters import SharedCounters
from serve_app.signing_in.jwts import Jwts
from serve_app.signing_in.oidc import OpenId
from serve_app.surrounding import surround
from tunesmith.errors import DatabaseUnavailable
from tunesmith.plugins import Registry
from tunesmith.services import sessions as sessions_service
from tunesmith.services.audit_log import AuditLog
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
    secrets,
    samplers,
    identity,
    people,
    workspaces,
    sign_in,
    audit,
    health,
    metrics,
)


def build(
    settings: Settings,
    platform: Platform | None = None,
    store: Store | None = None,
    registry: Registry | None = None,
    prefix: str = PREFIX,
    loopback_only: bool = False,
) -> FastAPI:
    """The application on a migrated database; a store that is handed in stays open when the application stops.

    `registry`: what plugins bring, instead of what those of the settings do; `prefix`: where the surfaces lie that are
    below PREFIX otherwise; `loopback_only`: what another site's page or host name asks for is refused.

    Raises:
        InvalidSettings: the database URL is none, or a plugin cannot be loaded.
    """
    plugins = registry or _registry(settings.plugins)
    opened = store or open_store(settings.database)
    requests, storage = RequestCounts(opened), Storage(settings.artifacts)
    log, counters = AuditLog(opened), SharedCounters(opened)
    identities = Identities(opened, jwts=Jwts(settings.jwt_issuers, opened))
    open_id = OpenId(settings) if settings.oidc_issuer else None
    here = Context(
        settings, opened, storage, platform or Alone(opened, settings), requests, plugins, identities, open_id
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(_begin, opened)
        yield
        here.requests.close()
        identities.close()
        counters.close()
        log.close()
        if store is None:
            here.store.close()

    routes = [route for surface in SURFACES for route in surface.router.routes] + sign_in.pages.routes
    app = assemble(here, routes, lifespan, prefix=prefix)
    required = settings.api_key is not None or settings.mode == "prod"
    rates = Rates(counters, settings)
    if required:
        app.add_middleware(RateLimits, rates=rates)
    app.add_middleware(
        Authentication,
        identities=identities,
        key=settings.api_key,
        required=required,
        public_url=settings.public_url,
        rates=rates,
    )
    surround(app, settings, log, loopback_only)
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
