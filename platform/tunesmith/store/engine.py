"""Opening the database (SQLite in WAL mode, or PostgreSQL), transactions, and where its errors are translated."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from tunesmith.errors import DatabaseUnavailable, InvalidSettings

BUSY_TIMEOUT_S = 20
"""Seconds that a writer waits for another one on SQLite."""
IDLE_S = 1.0
"""Seconds after which a connection that is used again is asked first whether it is still there."""
CONNECT_TIMEOUT_S = 5
"""Seconds that a connection to PostgreSQL may take."""

DUMPS = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""JSON as it is stored; made once, because `json.dumps` makes an encoder for each of the four values of a trial."""


def open_engine(url: str, pool_size: int = 5) -> Engine:
    """An engine for `sqlite:///path`, `sqlite://` (in memory) or `postgresql+psycopg://...`.

    Raises:
        InvalidSettings: the URL is none, or names another database.
        DatabaseUnavailable: the directory of the SQLite file cannot be made.
    """
    try:
        parsed = make_url(url)
        return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed, pool_size)
    except (ArgumentError, ValueError, TypeError) as error:
        shown = re.sub(r"//[^@/]*@", "//***@", url)
        raise InvalidSettings(f"TUNESMITH_DATABASE_URL={shown!r} is no SQLAlchemy URL that can be used") from error
    except OSError as error:
        raise DatabaseUnavailable(f"The directory of the database cannot be made: {error}") from error


def _sqlite(url: URL) -> Engine:
    memory = url.database in (None, "", ":memory:")
    if not memory:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        json_serializer=DUMPS,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None},
        poolclass=QueuePool,
        # In memory the one connection is the database, so threads take turns; it must never be closed.
        **({"pool_size": 1, "max_overflow": 0} if memory else {"pool_size": 20, "max_overflow": 40}),
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        _write_ahead(connection)
        for pragma in (
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "cache_size=-32000",
            "mmap_size=268435456",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # The driver's own BEGIN is off: a writer takes the write lock at once instead of failing at its first write.
        immediate = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _write_ahead(connection: Any) -> None:
    """Switch to WAL, which a new file is not in yet; SQLite's timeout does not cover that, when two do it at once."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _postgres(url: URL, pool_size: int) -> Engine:
    if url.get_backend_name() != "postgresql":
        raise InvalidSettings(
            f"TUNESMITH_DATABASE_URL: {url.get_backend_name()} is not supported; use sqlite or postgresql"
        )
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        json_serializer=DUMPS,
        pool_size=pool_size,
        max_overflow=20,
        pool_recycle=1800,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "tunesmith"},
    )

    # Not SQLAlchemy's own look at every use (pool_pre_ping): that is a third of what a short transaction takes.
    @event.listens_for(engine, "checkin")
    def _put_down(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _look(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used", math.inf) > IDLE_S:
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:
                raise DisconnectionError from error  # another connection is opened

    return engine


@contextmanager
def transaction(engine: Engine, writes: bool, single: bool = False) -> Iterator[Connection]:
    """One transaction, committed at the end and rolled back on an error.

    `single`: on PostgreSQL it is one statement, so it needs one round trip, without those of BEGIN and COMMIT.

    Raises:
        DatabaseUnavailable: the database is out of reach, locked for too long, or its disk is full.
    """
    alone = {"isolation_level": "AUTOCOMMIT"} if single and engine.dialect.name == "postgresql" else {}
    try:
        with engine.connect().execution_options(writes=writes, **alone) as connection, connection.begin():
            yield connection
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"{DatabaseUnavailable.__doc__} ({_cause(error)})") from error
    except DatabaseError as error:
        if any(sign in str(error).lower() for sign in ("disk", "malformed", "not a database")):
            raise DatabaseUnavailable(f"{DatabaseUnavailable.__doc__} ({_cause(error)})") from error
        raise


def ping(engine: Engine) -> None:
    """Raise DatabaseUnavailable unless the database answers."""
    with transaction(engine, writes=False) as connection:
        connection.execute(text("SELECT 1"))


def _cause(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0][:200] if str(original).strip() else type(original).__name__
