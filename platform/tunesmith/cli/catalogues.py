"""Commands on what there is to search with: samplers, pruners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_json, print_table
from tunesmith.errors import NotFound
from tunesmith.schemas.samplers import PrunerAnswer, SamplerAnswer

Name = Annotated[str | None, typer.Argument(help="Show the options of this one.")]


def list_samplers(name: Name = None, url: Url = None, as_json: Json = False) -> None:
    """List the samplers, or the options of one."""
    with connect(url) as client:
        found = client.samplers()
    _show("sampler", found, name, as_json)


def list_pruners(name: Name = None, url: Url = None, as_json: Json = False) -> None:
    """List the pruners, or the options of one."""
    with connect(url) as client:
        found = client.pruners()
    _show("pruner", found, name, as_json)


def _show(kind: str, found: Sequence[SamplerAnswer | PrunerAnswer], name: str | None, as_json: bool) -> None:
    chosen = [one for one in found if name in (None, one.name)]
    if not chosen:
        raise NotFound(f"no {kind} is called {name!r}; there are {', '.join(one.name for one in found)}")
    if as_json:
        print_json(chosen if name is None else chosen[0])
    elif name is None:
        print_table((kind, "what it does", "options"), [_row(one) for one in chosen], empty=f"no {kind}s")
    else:
        hint(chosen[0].description)
        options = [_option(option, schema) for option, schema in chosen[0].options.items()]
        print_table(("option", "default", "what it does"), options, empty="no options")


def _row(one: SamplerAnswer | PrunerAnswer) -> tuple[str, str, str]:
    remedy = one.remedy if isinstance(one, SamplerAnswer) else None
    what = one.description if remedy is None else f"{one.description} Not installed: {remedy}"
    return one.name, what, ", ".join(one.options)


def _option(option: str, schema: dict[str, Any]) -> tuple[str, Any, str]:
    return option, schema.get("default", "required" if "default" not in schema else ""), schema.get("description", "")
