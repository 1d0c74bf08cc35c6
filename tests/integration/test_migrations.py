"""Migrations: from nothing to the tables of the code, at once by several processes, and where they cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from tunesmith.domain import Grant, utcnow
from tunesmith.errors import DatabaseUnavailable
from tunesmith.store import Store, migrate, open_store
from tunesmith.store.tables import audit
from tunesmith.testing import new_experiment
from tunesmith.testing.postgres import PostgresServer

UPGRADE = """
import sys
from tunesmith.store import migrate, open_store
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
store.upgrade()
print(*migrate.current(store.engine))
"""
NOBODY = 65534


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/100% new/directory/tunesmith.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        with server.database(migrated=False) as url:
            yield url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Store]:
    store = open_store(empty_url)
    yield store
    store.close()


def test_an_upgrade_makes_the_tables_of_the_code(empty: Store) -> None:
    assert migrate.current(empty.engine)[0] is None
    empty.upgrade()
    present, newest = migrate.current(empty.engine)
    assert present == newest
    assert migrate.drift(empty.engine) == []
    new_experiment(empty)


def test_ids_are_never_used_again_on_sqlite(sqlite_store: Store) -> None:
    query = text("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
    with sqlite_store.read() as tx:
        assert {"experiments", "trials"} <= set(tx.connection.scalars(query))


def test_a_second_upgrade_changes_nothing(empty: Store) -> None:
    empty.upgrade()
    made = new_experiment(empty)
    empty.upgrade()
    with empty.read() as tx:
        assert tx.experiment(made.id) == made


def test_the_way_down_leaves_nothing_and_the_way_up_is_open_again(empty: Store) -> None:
    empty.upgrade()
    with empty.write() as tx:
        command.downgrade(migrate.configuration(tx.connection), "base")
    assert migrate.current(empty.engine)[0] is None
    empty.upgrade()
    assert migrate.drift(empty.engine) == []


def test_whoever_could_do_everything_before_roles_still_can(empty: Store) -> None:
    migrate.upgrade(empty.engine, "0007")
    with empty.write() as tx:
        tx.connection.execute(text("INSERT INTO workspaces (id, name, created_at) VALUES ('w', 'main', '2026-01-01')"))
        tx.connection.execute(
            text(
                "INSERT INTO users (id, workspace_id, name, password_hash, role, disabled, created_at) "
                "VALUES ('u', 'w', 'ada', 'a hash', 'admin', false, '2026-01-01')"
            )
        )
        tx.connection.execute(
            text(
                "INSERT INTO tokens (id, user_id, name, prefix, token_hash, created_at) "
                "VALUES ('t', 'u', 'old', 'ts_', 'of a token', '2026-01-01')"
            )
        )
    empty.upgrade()
    with empty.write() as tx:
        found, password = tx.credentials("ada") or (None, None)
        assert password == "a hash"
        assert (tx.token_holder("of a token") or (None,))[0] == found
        assert tx.grants() == [Grant(workspace="main", subject="user:ada", role="admin")]
        command.downgrade(migrate.configuration(tx.connection), "0007")
        assert tx.connection.scalar(text("SELECT password_hash || role FROM users")) == "a hashadmin"


def test_what_is_in_the_audit_log_stays_as_it_is(empty: Store) -> None:
    changes = ["UPDATE audit SET principal = 'nobody'", "DELETE FROM audit"]
    empty.upgrade()
    row = {"at": utcnow(), "principal": "ada", "kind": "user", "action": "GET /", "status": 403, "details": {}}
    with empty.write() as tx:
        tx.connection.execute(audit.insert(), row)
    for change in [*changes, "REPLACE INTO audit SELECT * FROM audit" if empty.embedded else "TRUNCATE audit"]:
        with pytest.raises(DatabaseError, match="only ever added to"), empty.write() as tx:
            tx.connection.execute(text(change))
    with empty.read() as tx:
        assert tx.connection.scalar(select(audit.c.principal)) == "ada"


def test_processes_that_upgrade_at_once_all_succeed(empty_url: str) -> None:
    arguments, pipe = [sys.executable, "-c", UPGRADE, empty_url], subprocess.PIPE
    processes = [subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        present, newest = out.split()
        assert present == newest


def test_a_database_of_a_newer_version_is_left_alone(empty: Store) -> None:
    empty.upgrade()
    with empty.write() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseUnavailable, match=r"revision '9999'.*a newer one wrote it.*Upgrade tunesmith"
    ) as caught:
        empty.upgrade()
    assert caught.value.details == {"revision": "9999"}
    assert migrate.current(empty.engine)[0] == "9999"


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match=f"{tmp_path}/file"):
        open_store(f"sqlite:///{tmp_path}/file/data/tunesmith.db")


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    code = (
        "import sys\nfrom tunesmith.errors import DatabaseUnavailable\nfrom tunesmith.store import open_store\n"
        "import os\nos.setuid(int(sys.argv[2])) if os.geteuid() == 0 else None\n"
        "try:\n    open_store(sys.argv[1]).upgrade()\nexcept DatabaseUnavailable as error:\n    print(error)"
    )
    folder.chmod(0o555)
    command = [sys.executable, "-c", code, f"sqlite:///{folder}/tunesmith.db", str(NOBODY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "unable to open database file" in done.stdout or "Permission denied" in done.stdout
    assert list(folder.iterdir()) == []


def test_a_database_that_cannot_be_written_is_said(sqlite_url: str, sqlite_store: Store) -> None:
    with sqlite_store.engine.connect() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
    with pytest.raises(DatabaseUnavailable, match="readonly"), sqlite_store.write() as tx:
        tx.default_workspace()
