"""The command `audit`: who did what, when, from where, and what came of it."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from tunesmith.cli.options import Json, Limit, Url, connect
from tunesmith.cli.output import print_json, print_table
from tunesmith.schemas.audit import AuditAnswer

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


def audit(
    principal: Annotated[
        str | None, typer.Option("--principal", metavar="NAME", help="By whom: a user's name, api-key or anonymous.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="OPERATION", help='Which operation, for instance "POST /jobs".')
    ] = None,
    since: Annotated[datetime | None, typer.Option("--from", formats=FORMATS, help="Not before this moment.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=FORMATS, help="Before this moment.")] = None,
    limit: Limit = 50,
    export: Annotated[
        bool, typer.Option("--export", help="Print all of it as JSON lines, oldest first, for a file or another log.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the audit log, newest first: of your workspace, or as admin of `main` of the whole platform."""
    with connect(url) as client:
        if export:
            for line in client.audit.export(principal, action, since, until):
                sys.stdout.write(f"{line}\n")
            return
        found = list(client.audit.list(principal, action, since, until, limit))
    if as_json:
        print_json(found)
        return
    columns = ("at", "who", "action", "status", "target", "from", "details")
    print_table(columns, map(_row, found), empty="no records")


def _row(one: AuditAnswer) -> tuple[object, ...]:
    details = ", ".join(f"{name}: {value}" for name, value in one.details.items())
    return one.at, one.principal, one.action, one.status, one.target, one.address, details
