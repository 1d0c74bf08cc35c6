"""Commands on users and their tokens; they work on the database of the settings, whether the platform runs or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.me import KEEP, Days, Purpose, Scopes, print_tokens
from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import console, hint, print_json, print_table
from tunesmith.domain import Role
from tunesmith.domain.identity import MAIN
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


RoleOption = Annotated[Role, typer.Option("--role", help="What may be done in the workspace.")]
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", metavar="NAME", help="The workspace that the user works in by default.")
]


def add(
    name: Name,
    role: RoleOption = "editor",
    workspace: WorkspaceOption = MAIN,
    service: Annotated[
        bool, typer.Option("--service", help="A program: it has no password, and gets tokens (user token).")
    ] = False,
    password_stdin: FromStdin = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Add a user, or bring a removed one back.

    It asks for the password, of 8 characters at least. The user gets a token with it (tunesmith login), which is
    accepted wherever the platform's key is. An admin of the workspace `main` administrates the platform.
    """
    from tunesmith.services import identity

    password = None if service else _read_password(password_stdin)
    with database(data_dir) as store:
        user = identity.add_user(store, name, password, workspace, role)
    tell(user, as_json, f"{user.name} was added")


def list_users(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List all users, removed ones too, with their own roles."""
    with database(data_dir) as store, store.read() as tx:
        found, grants = tx.users(), tx.grants()
    if as_json:
        print_json(found)
        return
    roles: dict[str, list[str]] = {}
    for grant in grants:
        roles.setdefault(grant.subject, []).append(f"{grant.workspace}:{grant.role}")
    rows = (
        (user.name, user.kind, ", ".join(roles.get(f"user:{user.name}", ())), user.disabled, user.created_at)
        for user in found
    )
    print_table(("name", "kind", "roles", "removed", "added"), rows, empty="no users")


def make_token(
    name: Name, purpose: Purpose, scope: Scopes = None, days: Days = 90, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Make a token for a program, and print it."""
    from tunesmith.services import identity, tokens

    with database(data_dir) as store, store.write() as tx:
        lifetime = timedelta(days=days) if days else None
        secret, token = tokens.issue(tx, identity.program(tx, name), purpose, lifetime, scope)
    if as_json:
        print_json({"access_token": secret, "token": token})
        return
    typer.echo(secret)
    hint(KEEP)


def change_password(
    name: Name, password_stdin: FromStdin = False, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Give a user another password, and revoke all tokens: whoever knew the old password may have got some."""
    from tunesmith.services import identity

    given = _read_password(password_stdin)
    with database(data_dir) as store:
        user = identity.set_password(store, name, given)
    tell(user, as_json, f"{user.name} has another password, and no tokens any more")


def remove(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let a user in no more, and revoke all tokens; a running platform knows it within 5 seconds.

    What the user submitted stays, and so does the name: `tunesmith user add` brings it back.
    """
    from tunesmith.services import identity

    with database(data_dir) as store, store.write() as tx:
        user, revoked = identity.remove_user(tx, name)
    tell(user, as_json, f"{user.name} was removed, with {len(revoked)} tokens")


def list_tokens(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List a user's tokens, newest first, with how they begin; those that ended are there for a month."""
    with database(data_dir) as store, store.read() as tx:
        found = tx.tokens(tx.user(name).id)
    if as_json:
        print_json(found)
        return
    print_tokens(found, f"{name} has no tokens")


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

    with database(data_dir) as store, store.write() as tx:
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
    ("token", make_token),
    ("tokens", list_tokens),
    ("revoke", revoke),
)


@contextmanager
def database(data_dir: Path | None) -> Iterator[Store]:
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


def tell(value: Any, as_json: bool, sentence: str) -> None:
    """What was changed, as JSON or in a sentence."""
    if as_json:
        print_json(value)
    else:
        console().print(sentence, markup=False)
