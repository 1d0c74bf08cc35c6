"""Commands on sessions: sessions list, create, copy, change, delete, algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_fields, print_json, print_table
from tunesmith.client.sessions import SessionHandle

Name = Annotated[str, typer.Argument(metavar="SESSION", help="The session's name or id.")]
SessionOption = Annotated[
    str | None,
    typer.Option("-s", "--session", metavar="SESSION", help="The session's name or id; unset: the default one."),
]
Parallel = Annotated[
    int | None, typer.Option("--max-parallel", min=1, help="Scenarios that run at once.", show_default=False)
]


def list_sessions(url: Url = None, as_json: Json = False) -> None:
    """List sessions."""
    with connect(url) as client:
        found = client.sessions.list()
        rows = [(one.name, len(one.data.keys()), len(one.scenarios.list()), one.info.max_parallel) for one in found]
    if as_json:
        print_json([one.info for one in found])
        return
    print_table(("session", "datasets", "scenarios", "at once"), rows, empty="no sessions")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, which no other session has.")],
    max_parallel: Parallel = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a session."""
    with connect(url) as client:
        _print(client.sessions.create(name, max_parallel or 1), as_json)


def copy(
    session: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The copy's name.")],
    scenarios: Annotated[bool, typer.Option("--scenarios", help="Copy its scenarios too, as not yet run.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make another session with the same datasets."""
    with connect(url) as client:
        _print(client.sessions(session).copy(new_name, scenarios), as_json)


def change(
    session: Name,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A new name; the id stays.", show_default=False)
    ] = None,
    max_parallel: Parallel = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Rename a session, or let more of its scenarios run at once."""
    with connect(url) as client:
        _print(client.sessions(session).change(name, max_parallel), as_json)


def delete(session: Name, url: Url = None, as_json: Json = False) -> None:
    """Delete a session with its datasets and scenarios; not while something of it runs."""
    with connect(url) as client:
        found = client.sessions(session)
        found.delete()
    if as_json:
        print_json({"id": found.id, "deleted": True})
    else:
        hint(f"{found.name} is deleted")


def algorithms(session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """List the algorithms that scenarios can run, with their parameters."""
    with connect(url) as client:
        found = client.sessions(session)
        described = {name: found.parameters(name) for name in found.algorithms()}
        kpis = found.kpis()
    if as_json:
        print_json({"algorithms": described, "kpis": kpis})
        return
    rows = [
        (name, one["name"], one["type"], _range(one), _default(one)) for name in described for one in described[name]
    ]
    rows += [(name, "", "", "", "") for name, parameters in described.items() if not parameters]
    columns = ("algorithm", "parameter", "type", "values", "default")
    print_table(columns, rows, empty="no algorithms; `tunesmith up --plugin module:object` brings some")
    if kpis:
        hint(f"KPIs: {', '.join(kpis)}")


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("list", list_sessions),
    ("create", create),
    ("copy", copy),
    ("change", change),
    ("delete", delete),
    ("algorithms", algorithms),
)


def _range(descriptor: Mapping[str, Any]) -> str:
    if "choices" in descriptor:
        return ", ".join(map(str, descriptor["choices"]))
    low, high = descriptor.get("min"), descriptor.get("max")
    return "" if low is None and high is None else f"{'' if low is None else low}..{'' if high is None else high}"


def _default(descriptor: Mapping[str, Any]) -> Any:
    return "required" if descriptor["required"] else descriptor["default"]


def _print(session: SessionHandle, as_json: bool) -> None:
    if as_json:
        print_json(session.info)
        return
    print_fields(
        {
            "session": session.name,
            "id": session.id,
            "at once": session.info.max_parallel,
            "made": session.info.created_at,
        }
    )
