"""Commands on users and their tokens; they work on the database of the settings, whether the platform runs or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import console, print_json, print_table
from tunesmith.domain import Token, utcnow
from tunesmith.errors import BadRequest
from tunesmith.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, for instance an e-mail address.")]
FromStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from stdin, one line, instead of asking for it."),
]


def add(name: Name, password_stdin: FromStdin = False, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Add a user, or bring a removed one back.

    It asks for the password, of 8 characters at least. The user gets a token with it (POST /v1/auth/token), which is
    accepted wherever the platform's key is.
    """
    from tunesmith.services import identity

    password = _read_password(password_stdin)
    with _database(data_dir) as store:
        user = identity.add_user(store, name, password)
    _tell(user, as_json, f"{user.name} was added")


def list_users(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List all users, removed ones too."""
    with _database(data_dir) as store, store.write() as tx:
        found = tx.users(tx.default_workspace())
    if as_json:
        print_json(found)
        return
    columns = ("name", "role", "removed", "added")
    print_table(columns, ((user.name, user.role, user.disabled, user.created_at) for user in found), empty="no users")


def change_password(
    name: Name, password_stdin: FromStdin = False, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Give a user another password, and revoke all tokens: whoever knew the old password may have got some."""
    from tunesmith.services import identity

    given = _read_password(password_stdin)
    with _database(data_dir) as store:
        user = identity.set_password(store, name, given)
    _tell(user, as_json, f"{user.name} has another password, and no tokens any more")


def remove(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let a user in no more, and revoke all tokens; a running platform knows it within 5 seconds.

    What the user submitted stays, and so does the name: `tunesmith user add` brings it back.
    """
    from tunesmith.services import identity

    with _database(data_dir) as store, store.write() as tx:
        user, revoked = identity.remove_user(tx, name)
    _tell(user, as_json, f"{user.name} was removed, with {len(revoked)} tokens")


def list_tokens(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List a user's tokens, newest first, with how they begin; those that ended are there for a month."""
    with _database(data_dir) as store, store.read() as tx:
        found = tx.tokens(tx.user(name).id)
    if as_json:
        print_json(found)
        return
    columns = ("id", "begins with", "for", "state", "made", "expires", "last used")
    print_table(columns, map(_row, found), empty=f"{name} has no tokens")


def revoke(
    name: Name,
    token: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOKEN]...", help="Ids of tokens, or how they begin; without any: all of the user's."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take tokens back; a running platform refuses them within 5 seconds."""
    from tunesmith.services import tokens

    with _database(data_dir) as store, store.write() as tx:
        revoked = tokens.revoke(tx, tx.user(name), token or None)
    if as_json:
        print_json(revoked)
    else:
        console().print(f"{len(revoked)} tokens of {name} were revoked", markup=False)


COMMANDS = (
    ("add", add),
    ("list", list_users),
    ("password", change_password),
    ("remove", remove),
    ("tokens", list_tokens),
    ("revoke", revoke),
)


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Store]:
    """The database of the settings, brought to the newest version: the first user may come before the first start."""
    from tunesmith.store import open_store

    store = open_store(load_settings(data_dir=data_dir).database)
    try:
        store.upgrade()
        yield store
    finally:
        store.close()


def _read_password(from_stdin: bool) -> str:
    if not from_stdin:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadRequest("The password on stdin is no UTF-8 text") from None


def _tell(user: Any, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(user)
    else:
        console().print(sentence, markup=False)


def _row(token: Token) -> tuple[object, ...]:
    over = token.expires_at is not None and token.expires_at <= utcnow()
    state = "revoked" if token.revoked_at else "expired" if over else "accepted"
    made = (token.created_at, token.expires_at, token.last_used_at)
    return token.id, token.prefix, token.name, state, *made
