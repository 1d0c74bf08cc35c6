"""Migrations: Alembic, with its scripts beside this file and no ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from tunesmith.errors import DatabaseUnavailable
from tunesmith.store import engine as engines
from tunesmith.store.tables import metadata

ADVISORY_LOCK = 7_286_110_412
"""PostgreSQL: one migration at a time, whoever starts first."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision; safe when several processes do it at once.

    Raises:
        DatabaseUnavailable: it cannot be reached or written, or a newer tunesmith made it.
    """
    with engines.transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        config = configuration(connection)
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, revision)


def current(engine: Engine) -> tuple[str | None, str]:
    """(revision of the database, newest revision)."""
    with engines.transaction(engine, writes=False) as connection:
        newest = ScriptDirectory.from_config(configuration(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision(), str(newest)


def drift(engine: Engine) -> list[object]:
    """The differences between the migrated database and `tables.py`; empty when there are none."""
    with engines.transaction(engine, writes=False) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def _refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseUnavailable(
            f"The database is at revision {present!r}, which this tunesmith does not know (its newest is "
            f"{scripts.get_current_head()!r}): a newer one wrote it. Upgrade tunesmith, or use another database.",
            revision=present,
        )


def configuration(connection: Connection) -> Config:
    """Alembic's configuration, for its commands on a connection."""
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))  # ConfigParser's own escape
    config.attributes["connection"] = connection
    return config
