"""Migrations: Alembic, with its scripts beside this file and no ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from tunesmith.store import engine as engines
from tunesmith.store.tables import metadata

ADVISORY_LOCK = 7_286_110_412
"""PostgreSQL: one migration at a time, whoever starts first."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision; safe when several processes do it at once. Raises DatabaseUnavailable."""
    with engines.transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        command.upgrade(_config(connection), revision)


def current(engine: Engine) -> tuple[str | None, str]:
    """(revision of the database, newest revision)."""
    with engines.transaction(engine, writes=False) as connection:
        newest = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision(), str(newest)


def drift(engine: Engine) -> list[object]:
    """The differences between the migrated database and `tables.py`; empty when there are none."""
    with engines.transaction(engine, writes=False) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
