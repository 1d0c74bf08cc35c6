"""Users and their tokens on the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hashes import quick_hashes  # noqa: F401
from typer.testing import CliRunner, Result

from tunesmith.cli.app import app
from tunesmith.services import identity, tokens
from tunesmith.store import Store, open_store

PASSWORD, OTHER = "correct horse battery", "staple, correct horse"
pytestmark = pytest.mark.usefixtures("quick_hashes")


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("TUNESMITH_", "RAY_ADDRESS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The database that the commands use."""
    url = request.getfixturevalue(f"{request.param}_url")
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", url)
    store = open_store(url)
    yield store
    store.close()


def run(*words: str, password: str | None = None) -> Result:
    options = () if password is None else ("--password-stdin",)
    return CliRunner().invoke(app, ["user", *words, *options], input=None if password is None else f"{password}\n")


def document(*words: str, password: str | None = None) -> Any:
    result = run(*words, "--json", password=password)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


def test_the_first_user_can_come_before_the_first_start(tmp_path: Path) -> None:
    added = run("add", "ada", password=PASSWORD)
    assert (added.exit_code, added.stdout) == (0, "ada was added\n")
    store = open_store(f"sqlite:///{tmp_path}/data/tunesmith.db")
    assert identity.authenticate(store, "ada", PASSWORD)
    store.close()


def test_users_come_and_go_and_come_back(database: Store) -> None:
    assert "no users" in run("list").stderr
    ada = document("add", "ada@example.com", password=PASSWORD)
    assert (ada["name"], ada["disabled"]) == ("ada@example.com", False)
    assert document("add", "ben", password=PASSWORD)["id"] != ada["id"]
    removed = document("remove", "ben")
    assert removed["disabled"]
    assert document("list") == [ada, removed]
    table = run("list").stdout
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["ada@example.com", "user", "main:editor"],
        ["ben", "user", "main:editor"],
    ]
    assert "password" not in str(document("list"))
    assert not document("add", "ben", password=OTHER)["disabled"]
    assert identity.authenticate(database, "ben", OTHER)


def test_a_program_is_given_tokens(database: Store) -> None:
    robot = document("add", "robot", "--service", "--role", "runner")
    assert (robot["kind"], robot["name"]) == ("service", "robot")
    made = document("token", "robot", "nightly", "--scope", "read", "--scope", "model:linear_reg:run", "--days", "0")
    assert made["token"]["expires_at"] is None
    with database.read() as tx:
        holder = tx.token_holder(tokens.hashed(made["access_token"]))
    assert holder is not None
    assert (holder[0].name, holder[1].scopes) == ("robot", ("read", "model:linear_reg:run"))
    assert tokens.SHAPE.fullmatch(run("token", "robot", "nightly").stdout.strip())
    document("add", "ada", password=PASSWORD)
    assert "is a person" in error(run("token", "ada", "nightly"), 5)
    assert "no scope" in error(run("token", "robot", "nightly", "--scope", "all"), 2)


def test_groups_and_workspaces_are_made_and_granted(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", sqlite_url)

    def told(*words: str) -> Any:
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    document("add", "ada", "--role", "viewer", password=PASSWORD)
    document("add", "ben", password=PASSWORD)
    told("group", "add", "analysts")
    assert told("group", "join", "analysts", "ben", "ada")["members"] == ["ada", "ben"]
    assert told("group", "leave", "analysts", "ben")["members"] == ["ada"]
    told("workspace", "add", "lab")
    told("workspace", "grant", "lab", "group:analysts", "editor")
    told("workspace", "grant", "lab", "user:ben", "admin")
    told("workspace", "revoke", "lab", "user:ben")
    assert told("workspace", "grants", "lab") == [{"workspace": "lab", "subject": "group:analysts", "role": "editor"}]
    assert told("workspace", "model", "lab", "linear_reg", "user:ada")["subjects"] == ["user:ada"]
    assert told("workspace", "quota", "lab", "--trials", "1000")["quotas"]["trials"] == 1000
    assert [each["name"] for each in told("workspace", "list")] == ["lab", "main"]
    told("group", "remove", "analysts")
    assert (told("group", "list"), told("workspace", "grants", "lab")) == ([], [])
    assert "nobody has a role" in CliRunner().invoke(app, ["workspace", "grants", "lab"]).stderr
    missing = CliRunner().invoke(app, ["workspace", "grant", "nowhere", "user:ada", "viewer"])
    assert "no workspace 'nowhere'" in error(missing, 4)


def test_another_password_ends_the_old_one(database: Store) -> None:
    document("add", "ada", password=PASSWORD)
    secret, token = identity.authenticate(database, "ada", PASSWORD)
    changed = run("password", "ada", password=OTHER)
    assert changed.stdout == "ada has another password, and no tokens any more\n"
    (listed,) = document("tokens", "ada")
    assert listed["id"] == token.id
    assert listed["revoked_at"] is not None
    assert identity.authenticate(database, "ada", OTHER)[0] != secret


def test_tokens_are_listed_without_themselves_and_taken_back(database: Store) -> None:
    document("add", "ada", password=PASSWORD)
    assert "ada has no tokens" in run("tokens", "ada").stderr
    made = [identity.authenticate(database, "ada", PASSWORD) for _ in range(3)]
    listed = run("tokens", "ada").stdout
    assert listed.count("accepted") == 3
    assert not [secret for secret, _ in made if secret in listed or secret in str(document("tokens", "ada"))]
    (revoked,) = document("revoke", "ada", made[0][0][: tokens.PREFIX])
    assert revoked["id"] == made[0][1].id
    assert run("revoke", "ada").stdout == "2 tokens of ada were revoked\n"
    assert run("tokens", "ada").stdout.count("revoked") == 3
    assert run("remove", "ada").stdout == "ada was removed, with 0 tokens\n"


@pytest.mark.parametrize(
    ("words", "password", "code", "said"),
    [
        (("add", "a b"), PASSWORD, 2, "cannot be a user's name"),
        (("add", "ben"), "short", 2, "8 to 1000 characters"),
        (("add", "ben"), "", 2, "8 to 1000 characters"),
        (("add", "ada"), PASSWORD, 5, "user password ada"),
        (("password", "ben"), PASSWORD, 4, "no user 'ben'"),
        (("remove", "ben"), None, 4, "no user 'ben'"),
        (("tokens", "ben"), None, 4, "no user 'ben'"),
        (("revoke", "ada", "ts_none"), None, 4, "ts_none"),
    ],
)
def test_what_cannot_be_done_says_why(
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    password: str | None,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", sqlite_url)
    assert run("add", "ada", password=OTHER).exit_code == 0
    message = error(run(*words, password=password), code)
    assert said in message
    assert not password or password not in message


def test_a_password_that_is_no_text_is_refused() -> None:
    result = CliRunner().invoke(
        app, ["user", "add", "ada", "--password-stdin"], input=b"\xff\xfe\xff\xfe\xff\xfe\xff\n"
    )
    assert "no UTF-8" in error(result, 2)


def test_on_a_terminal_it_asks_twice_and_shows_nothing(sqlite_url: str, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli", "user", "add", "ada"],
        env={**os.environ, "TUNESMITH_DATABASE_URL": sqlite_url},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen = b""
    for question in (b"Password: ", b"Repeat for confirmation: "):
        while not screen.endswith(question):
            screen += os.read(controller, 1000)
        os.write(controller, f"{PASSWORD}\n".encode())
    assert process.communicate(timeout=60)[0] == b"ada was added\n"
    assert PASSWORD.encode() not in screen + os.read(controller, 1000)
    assert process.returncode == 0
    os.close(controller)
    store = open_store(sqlite_url)
    assert identity.authenticate(store, "ada", PASSWORD)
    store.close()
