"""Fixtures for all tests: a store on SQLite, on PostgreSQL and in memory, each fresh and migrated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.testing
from hypothesis import settings
from typer.main import get_command

pytest.register_assert_rewrite("tunesmith.testing")

from tunesmith.store import Store, open_store  # noqa: E402
from tunesmith.testing import memory_store  # noqa: E402
from tunesmith.testing.postgres import PostgresServer, postgres_server  # noqa: E402

settings.register_profile("tunesmith", deadline=None)  # the machine may be busy with other things
settings.load_profile("tunesmith")


@pytest.fixture(scope="session", autouse=True)
def _command_line() -> Iterator[None]:
    """Builds the tree of commands once, which takes longer than most calls of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(get_command))
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    store = open_store(f"sqlite:///{path}")
    store.upgrade()
    store.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh, migrated SQLite file."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'tunesmith.db')}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session; `postgres.database()` makes a fresh database."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, migrated PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """A store on a fresh SQLite file."""
    yield from _opened(open_store(sqlite_url))


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[Store]:
    """A store on a fresh PostgreSQL database."""
    yield from _opened(open_store(postgres_url))


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.slow), "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A fresh store on every kind of database in turn."""
    if request.param == "memory":
        yield from _opened(memory_store())
    else:
        yield request.getfixturevalue(f"{request.param}_store")


def _opened(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()
