"""A bar for something that tells its own percentage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


@contextmanager
def percent_bar(quiet: bool = False) -> Iterator[Callable[[str, int, str | None], None]]:
    """A bar on stderr, where somebody looks; it is told the status, the percentage, and a note."""
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()),
        *(TextColumn("{task.fields[note]}"), TimeElapsedColumn()),
    )
    with Progress(*columns, console=screen, disable=quiet or not screen.is_terminal) as bar:
        task = bar.add_task("waiting", total=100, note="")

        def tell(status: str, percent: int, note: str | None) -> None:
            bar.update(task, description=status, completed=percent, note=escape(note or ""))

        yield tell
