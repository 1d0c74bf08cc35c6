"""The store: an engine, its transactions, and the queries of every resource under one roof."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from tunesmith.errors import DatabaseUnavailable
from tunesmith.store import engine as engines
from tunesmith.store import migrate
from tunesmith.store.experiments import ExperimentQueries
from tunesmith.store.idempotency import IdempotencyQueries
from tunesmith.store.leases import LeaseQueries
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.workspaces import WorkspaceQueries


class Tx(WorkspaceQueries, ExperimentQueries, LeaseQueries, RecordingQueries, IdempotencyQueries):
    """One transaction and every query in it. Any method may raise DatabaseUnavailable."""


class Store:
    """A database that transactions are opened on; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._turn = threading.Lock()

    @property
    def embedded(self) -> bool:
        """Whether it is SQLite: one machine, one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that may write. Raises DatabaseUnavailable."""
        with self._its_turn(), engines.transaction(self.engine, writes=True) as connection:
            yield Tx(connection)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads, and never waits for a writer. Raises DatabaseUnavailable."""
        with engines.transaction(self.engine, writes=False) as connection:
            yield Tx(connection)

    @contextmanager
    def _its_turn(self) -> Iterator[None]:
        """SQLite lets writers sleep and try again, which starves some; those of one process rather queue here."""
        if not self.embedded:
            yield
        elif self._turn.acquire(timeout=engines.BUSY_TIMEOUT_S):
            try:
                yield
            finally:
                self._turn.release()
        else:
            raise DatabaseUnavailable(f"{DatabaseUnavailable.__doc__} (other writers take too long)")

    def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        engines.ping(self.engine)

    def upgrade(self) -> None:
        """Bring the tables to the newest version. Raises DatabaseUnavailable."""
        migrate.upgrade(self.engine)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(url: str, pool_size: int = 5) -> Store:
    """A store on `sqlite:///path`, `sqlite://` (in memory) or `postgresql+psycopg://...`; `pool_size` for PostgreSQL.

    Raises:
        InvalidSettings: the URL is none, or names another database.
        DatabaseUnavailable: the directory of the SQLite file cannot be made.
    """
    return Store(engines.open_engine(url, pool_size))
