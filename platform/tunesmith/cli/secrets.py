"""Commands on the secrets of a workspace: secret set, secret list, secret remove."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_json, print_table
from tunesmith.errors import BadRequest

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name: letters, digits and _.-")]


def set_secret(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Give a secret its value, in the place of the one before.

    It asks for the value, or reads it from stdin as it is: `tunesmith secret set wandb < token`. A line's end at the
    very end is no part of it.
    """
    value = _read()
    with connect(url) as client:
        found = client.secrets.set(name, value)
    if as_json:
        print_json(found)
    else:
        hint(f"{found.name} is set")


def list_secrets(url: Url = None, as_json: Json = False) -> None:
    """List the secrets, without their values."""
    with connect(url) as client:
        found = client.secrets.list()
    if as_json:
        print_json(found)
        return
    rows = ((one.name, one.created_by, one.updated_at) for one in found)
    print_table(("name", "set by", "set"), rows, empty="no secrets")


def remove_secret(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Forget a secret; jobs whose tool names it fail before their next trial."""
    with connect(url) as client:
        client.secrets.remove(name)
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        hint(f"{name} is removed")


def _read() -> str:
    """The value: of the terminal, where one is there, without showing it. Raises BadRequest when it is empty."""
    if sys.stdin.isatty():
        value = str(typer.prompt("Value", hide_input=True, err=True))
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise BadRequest("the value is empty; pipe it in, or type it")
    return value


COMMANDS: tuple[tuple[str, Any], ...] = (("set", set_secret), ("list", list_secrets), ("remove", remove_secret))
