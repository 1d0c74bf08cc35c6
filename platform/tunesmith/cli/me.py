"""Commands of whoever asks: login, whoami, and token create, list, revoke; they talk to a platform."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_fields, print_json, print_table
from tunesmith.client.automl import access_token
from tunesmith.client.discovery import platform_url
from tunesmith.domain import Token, utcnow
from tunesmith.schemas.identity import TokenInfo

Purpose = Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="What it may be used for: read, run, write, admin or model:ID:run. Once per scope; unset: for everything "
        "that its user may do.",
        show_default=False,
    ),
]
Days = Annotated[int, typer.Option("--days", min=0, help="How long it lasts; 0: until it is revoked.")]
KEEP = "it is shown this once: keep it where nobody else reads it"


def login(
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Who signs in; asked for if unset.", show_default=False)
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin instead of asking for it.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Get a token for a day, and print how to use it: eval "$(tunesmith login)"."""
    if user is None:
        user = str(typer.prompt("User", err=True))
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = str(typer.prompt("Password", hide_input=True, err=True))
    token = access_token(user, password, url or platform_url())
    if as_json:
        print_json(token)
        return
    typer.echo(f"export TUNESMITH_API_KEY={shlex.quote(token['access_token'])}")
    hint(f"until {token.get('expires_at')}; `eval` this line, or paste it, and nothing else is kept")


def whoami(url: Url = None, as_json: Json = False) -> None:
    """Show who the platform says that you are, and what you may do."""
    with connect(url) as client:
        me = client.me()
    if as_json:
        print_json(me)
        return
    print_fields(
        {
            "name": me.name,
            "kind": me.kind,
            "workspace": me.workspace,
            "role": me.role or "none",
            "may": ", ".join(me.scopes),
            "workspaces": ", ".join(f"{name} ({role})" for name, role in me.workspaces.items()),
            **({"only": str(dict(me.attributes))} if me.attributes else {}),
        }
    )


def create_token(name: Purpose, scope: Scopes = None, days: Days = 90, url: Url = None, as_json: Json = False) -> None:
    """Make a token for yourself, and print it."""
    with connect(url) as client:
        made = client.tokens.create(name, scope, days or None)
    if as_json:
        print_json(made)
        return
    typer.echo(made.access_token)
    hint(KEEP)


def list_tokens(url: Url = None, as_json: Json = False) -> None:
    """List your tokens, newest first, with how they begin; those that ended are there for a month."""
    with connect(url) as client:
        found = client.tokens.list()
    if as_json:
        print_json(found)
    else:
        print_tokens(found, "no tokens")


def revoke_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, or how it begins.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Take one of your tokens back; the platform refuses it within 5 seconds."""
    with connect(url) as client:
        client.tokens.revoke(token)
    if as_json:
        print_json({"token": token, "revoked": True})
    else:
        hint(f"{token} is revoked")


def print_tokens(found: Iterable[Token | TokenInfo], empty: str) -> None:
    """A table of tokens."""
    columns = ("id", "begins with", "for", "may", "state", "made", "expires", "last used")
    print_table(columns, map(_row, found), empty)


TOKEN_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("create", create_token),
    ("list", list_tokens),
    ("revoke", revoke_token),
)


def _row(token: Token | TokenInfo) -> tuple[object, ...]:
    over = token.expires_at is not None and token.expires_at <= utcnow()
    state = "revoked" if token.revoked_at else "expired" if over else "accepted"
    may = "everything" if token.scopes is None else ", ".join(token.scopes)
    return token.id, token.prefix, token.name, may, state, token.created_at, token.expires_at, token.last_used_at
