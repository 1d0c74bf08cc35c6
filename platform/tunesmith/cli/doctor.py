"""The command `doctor`: every check of this machine and its settings, and what to do where one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import typer
from rich.markup import escape

from tunesmith.cli import checks, exits, safety
from tunesmith.cli.checks import Check
from tunesmith.cli.options import DataDir, Json, Url
from tunesmith.cli.output import console, print_json
from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings, load_settings

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
CHECKS: tuple[tuple[str, Callable[[Settings], Check]], ...] = (
    ("python", checks.python),
    ("ray", checks.ray),
    ("haproxy", checks.haproxy),
    ("database", checks.database),
    ("storage", checks.storage),
    ("port", checks.port),
    ("disk", checks.disk),
    ("shared memory", checks.shared_memory),
    ("containers", checks.containers),
    ("dashboard", safety.dashboard),
    ("ray token", safety.ray_token),
    ("transport", safety.transport),
    ("isolation", safety.isolation),
)


def doctor(data_dir: DataDir = None, url: Url = None, as_json: Json = False) -> None:
    """Check Python, Ray, HAProxy, database, storage, ports, disk, containers, safety and the running platform."""
    settings = load_settings(data_dir=data_dir)
    found = list(_examine(settings, url))
    if as_json:
        print_json([{"check": name, **check.as_dict()} for name, check in found])
    else:
        for name, check in found:
            colour = COLOURS[check.level]
            console().print(f"[{colour}]{check.level:<4}[/] {name:<14} {escape(check.message)}")
            if check.remedy:
                console().print(f"{'':<19} -> {escape(check.remedy)}")
    if any(check.level == "fail" for _, check in found):
        raise typer.Exit(exits.FAILED)


def _examine(settings: Settings, url: str | None) -> Iterator[tuple[str, Check]]:
    for name, check in CHECKS:
        try:
            yield name, check(settings)
        except TunesmithError as error:
            yield name, checks.fail(error.message)
    yield "platform", checks.running_platform(settings, url)
