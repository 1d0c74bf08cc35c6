"""An application of sessions on its own: what `ApiLauncher` makes of a configuration, for any ASGI server."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from serve_app import errors
from serve_app.answers import answer
from serve_app.assembling import assemble
from serve_app.auth import OpenToAll
from serve_app.autocreate import Autocreate
from serve_app.context import Context, Here
from serve_app.counting import RequestCounts
from serve_app.embedded import Embedded
from serve_app.housekeeper import Housekeeper
from serve_app.identities import Identities
from serve_app.locking import take_lock
from serve_app.routes import analysis, datasets, experiments, jobs, samplers, scenarios, sessions, trials
from serve_app.seeding import seed
from serve_app.shipping import shipped
from serve_app.strict import surface
from tuners.hosting.pool import close_idle
from tunesmith.errors import InvalidSettings
from tunesmith.plugins import Registry
from tunesmith.scenarios import ApiConfiguration
from tunesmith.schemas.health import SessionsHealth
from tunesmith.schemas.sessions import SessionEntry
from tunesmith.services import sessions as session_service
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import open_store

WHOLE = (sessions, datasets, scenarios, jobs, samplers)
READ = (experiments, trials, analysis)
"""Surfaces that only show something here: who may ask for scenarios may not make experiments of shell commands."""
DESCRIPTION = "Sessions: datasets, and scenarios of algorithms over them. `GET /sessions` says where to begin."
GRACE_S = 3
"""Seconds that open connections, event streams among them, get when the server stops."""

meta = surface(tags=["health"])


@meta.get("/health", summary="Check the service's health", response_model=SessionsHealth)
def get_health(here: Here, request: Request) -> Response:
    """200 when the application and its database answer."""
    with here.store.write() as tx:
        found, _ = session_service.listing(tx)
    entries = tuple(SessionEntry.of(session) for session in found)
    return answer(SessionsHealth(status="ok", title=request.app.title, sessions=entries))


def build(configuration: ApiConfiguration) -> FastAPI:
    """A FastAPI application that serves sessions, and runs their scenarios itself while it is up.

    Raises:
        InvalidSettings: it is no configuration, or what it holds cannot be handed to another process.
        DatabaseUnavailable, StorageUnavailable: what is kept cannot be opened.
    """
    if not isinstance(configuration, ApiConfiguration):
        raise InvalidSettings(f"{type(configuration).__name__} is no ApiConfiguration; make one of its arguments")
    here = _surroundings(configuration)
    app = assemble(
        here,
        _routes(),
        _lifespan(here),
        title=configuration.title,
        description=DESCRIPTION,
        prefix=configuration.prefix,
        secured=False,
    )
    app.state.configuration = configuration
    app.add_middleware(OpenToAll, identities=here.identities)
    app.add_middleware(errors.Guard)
    if configuration.cors_origins:
        origins = list(configuration.cors_origins)
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    weakref.finalize(app, _close, here, configuration.has_persistent_state)
    return app


def run(app: FastAPI) -> None:
    """Serve an application that `build` made, until TERM or INT. Raises InvalidSettings when it is another one."""
    configuration = getattr(app.state, "configuration", None)
    if not isinstance(configuration, ApiConfiguration):
        raise InvalidSettings("this application was not made by ApiLauncher.build; serve it with uvicorn.run(app)")
    uvicorn.run(
        app, host=configuration.host, port=configuration.port, timeout_graceful_shutdown=GRACE_S, access_log=False
    )


def _surroundings(configuration: ApiConfiguration) -> Context:
    """Everything opened and filled: only the engine is missing, which runs while the application is up."""
    settings = _settings(configuration)
    storage = Storage(settings.artifacts)
    storage.check()
    reference = shipped(configuration.plugin, storage)
    settings = settings.model_copy(update={"plugins": (reference,)})
    store = open_store(settings.database)
    store.upgrade()
    here = Context(
        settings,
        store,
        storage,
        Embedded(store, settings),
        RequestCounts(store),
        Registry.of(configuration.plugin, reference),
        Identities(store),
        autocreate=_autocreate(configuration),
        max_parallel=configuration.max_parallel,
    )
    seed(here, configuration.datasets)
    return here


def _settings(configuration: ApiConfiguration) -> Settings:
    kept = configuration.has_persistent_state
    directory = Path(configuration.data_path) if kept else Path(tempfile.mkdtemp(prefix="tunesmith-"))
    return Settings(
        data_dir=directory.absolute(),
        database_url=None if kept else "sqlite://",
        host=configuration.host,
        port=configuration.port,
        max_upload_bytes=configuration.max_upload_bytes,
    )


def _autocreate(configuration: ApiConfiguration) -> Autocreate | None:
    if not configuration.autocreate:
        return None
    return Autocreate(configuration.default_algo, configuration.default_algo_params_values or {}, configuration.autorun)


def _routes() -> Iterator[BaseRoute]:
    for whole in WHOLE:
        yield from whole.router.routes
    for shown in READ:
        yield from (route for route in shown.router.routes if getattr(route, "methods", None) == {"GET"})
    yield from meta.routes


def _lifespan(here: Context) -> Any:
    engine = here.platform
    assert isinstance(engine, Embedded)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        housekeeper = Housekeeper(here.store, here.settings)
        lock = take_lock(here.settings.data_dir)
        await anyio.to_thread.run_sync(engine.start, lock is not None)
        housekeeper.start()
        try:
            yield
        finally:
            housekeeper.stop()
            await anyio.to_thread.run_sync(engine.stop)
            close_idle()
            if lock is not None:
                lock.close()

    return lifespan


def _close(here: Context, kept: bool) -> None:
    here.store.close()
    if not kept:
        shutil.rmtree(here.settings.data_dir, ignore_errors=True)
