"""What the command line prints: JSON or tables on stdout, errors and hints on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tunesmith.errors import TunesmithError

PIPE_WIDTH = 200
"""Columns where stdout is no terminal that could say how wide it is."""
_as_json: ContextVar[bool] = ContextVar("as_json", default=False)


def console() -> Console:
    """The console for results."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def stderr() -> Console:
    """The console for everything that is no result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def remember_json(asked: bool) -> bool:
    """The callback of `--json`: errors are JSON too, also those that are only seen when the command has ended."""
    _as_json.set(asked)
    return asked


def print_json(value: Any) -> None:
    """A document on stdout."""
    sys.stdout.write(json.dumps(_jsonable(value), indent=2, ensure_ascii=False) + "\n")


def print_json_line(value: Any) -> None:
    """One line of a stream of documents, at once."""
    sys.stdout.write(json.dumps(_jsonable(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table on stdout, or a sentence where there are no rows."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(text(cell)) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        hint(empty)


def print_fields(fields: dict[str, Any]) -> None:
    """Names and values, one below the other; fields that are None are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            table.add_row(escape(name), escape(text(value)))
    console().print(table)


@contextmanager
def progress_bar(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where somebody looks."""
    screen = stderr()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def hint(message: str) -> None:
    """A line for people, on stderr."""
    stderr().print(escape(message), style="dim")


def warn(message: str) -> None:
    """Something that may be wrong, on stderr."""
    stderr().print(f"[yellow]warning:[/] {escape(message)}")


def print_error(error: TunesmithError) -> None:
    """One red line on stderr, and below it what the details add: the fields that were refused.

    With `--json`, the error's body as a JSON document on stderr instead.
    """
    if _as_json.get():
        sys.stderr.write(json.dumps(_jsonable(error.body()), ensure_ascii=False) + "\n")
        return
    screen = stderr()
    screen.print(f"[red]error:[/] {escape(' '.join(error.message.split()))}")
    for line in _detail_lines(error):
        screen.print(f"  {escape(line)}")


def text(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict):
        return " ".join(f"{name}={text(item)}" for name, item in value.items())
    return str(value)


def _detail_lines(error: TunesmithError) -> Iterable[str]:
    for name, value in error.details.items():
        if isinstance(value, list):
            yield from (line for line in map(_item_line, value) if line not in error.message)
        elif isinstance(value, dict):
            yield from (f"{field}: {text(reason)}" for field, reason in value.items())
        elif value is not None and str(value) not in error.message:
            yield f"{name}: {text(value)}"


def _item_line(item: Any) -> str:
    if isinstance(item, dict) and "message" in item:
        where = item.get("field") or item.get("loc") or ""
        where = ".".join(map(str, where)) if isinstance(where, list | tuple) else str(where)
        value = item.get("value")
        given = f" (given: {json.dumps(value)[:200]})" if isinstance(value, str | int | float) else ""
        return f"{where}: {item['message']}{given}" if where else f"{item['message']}{given}"
    return text(item)


def _jsonable(value: Any) -> Any:
    return to_jsonable_python(value, inf_nan_mode="null")
