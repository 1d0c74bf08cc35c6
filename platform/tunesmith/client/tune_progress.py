"""How a search goes, shown while it runs: a bar in a terminal, or in a notebook one that needs no widgets."""

from __future__ import annotations

import html
import importlib
import sys
import time
from typing import Any, Protocol, Self

from tunesmith.domain import Progress

REDRAW_S = 0.1
"""Seconds between two changes of what is shown."""


class Display(Protocol):
    """Somewhere to show how a search goes."""

    def show(self, progress: Progress, best: str) -> None:
        """Show how far it is."""
        ...

    def close(self) -> None:
        """Leave what is shown, and show no more."""
        ...


class ProgressBar:
    """Shows the progress of a run, or nothing at all: `with ProgressBar(...) as bar: bar.update(progress)`."""

    def __init__(self, name: str, metric: str, wanted: bool | None, before: int = 0) -> None:
        """`wanted`: whether to show it, None: where somebody looks; `before`: trials that earlier jobs made."""
        self.metric, self.before = metric, before
        self._display = _display(name, wanted)
        self._shown_at = 0.0
        self._last: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._display is not None:
            if self._last is not None:
                self._show(self._last)
            self._display.close()
            self._display = None

    def update(self, progress: Progress) -> None:
        """Take note of how far it is, and show it a few times a second."""
        if self._display is None:
            return
        self._last = progress
        if time.monotonic() - self._shown_at >= REDRAW_S:
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        if self._display is not None:
            self._shown_at = time.monotonic()
            total = None if progress.total is None else progress.total + self.before
            whole = progress.evolve(finished=progress.finished + self.before, total=total)
            self._display.show(whole, self._best(progress))

    def _best(self, progress: Progress) -> str:
        failed = f", {progress.failed} failed" if progress.failed else ""
        if progress.best is None:
            return failed.removeprefix(", ")
        return f"best {self.metric} {progress.best['outcome']:.6g}{failed}"


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _display(name: str, wanted: bool | None) -> Display | None:
    if wanted is False:
        return None
    if in_notebook():
        return NotebookBar(name)
    return TerminalBar(name) if wanted or sys.stderr.isatty() else None


class TerminalBar:
    """A bar of `rich` on stderr; where that is no terminal, only its last line."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._begun, self._first = time.monotonic(), -1
        self._task = self._bar.add_task(name, total=None, best="", rate="")
        self._bar.start()

    def show(self, progress: Progress, best: str) -> None:
        """Show how far it is."""
        if self._first < 0:  # what was there before says nothing about how fast it goes now
            self._first = progress.finished
        rate = rate_of(progress.finished - self._first, time.monotonic() - self._begun)
        self._bar.update(self._task, completed=progress.finished, total=progress.total, best=best, rate=rate)

    def close(self) -> None:
        """Leave what is shown."""
        self._bar.stop()


class NotebookBar:
    """An HTML element that is drawn anew, by IPython alone."""

    def __init__(self, name: str) -> None:
        shown: Any = importlib.import_module("IPython.display")
        self._html = shown.HTML
        self._name, self._begun, self._first = name, time.monotonic(), -1
        self._handle = shown.display(shown.HTML(html.escape(name)), display_id=True)

    def show(self, progress: Progress, best: str) -> None:
        """Show how far it is."""
        if self._first < 0:
            self._first = progress.finished
        passed, done = time.monotonic() - self._begun, progress.finished - self._first
        parts = [f"{progress.finished}/{progress.total or '?'}", best, rate_of(done, passed)]
        if progress.total and done:
            parts.append(f"{passed / done * max(0, progress.total - progress.finished):.0f} s left")
        text = html.escape("  ".join(part for part in parts if part))
        value = f' value="{progress.finished}" max="{progress.total}"' if progress.total else ""
        self._handle.update(self._html(f"{html.escape(self._name)} <progress{value}></progress> {text}"))

    def close(self) -> None:
        """Leave what is shown."""


def rate_of(done: int, seconds: float) -> str:
    """Trials a second, or seconds a trial where that reads better."""
    if not done or seconds <= 0:
        return ""
    return f"{done / seconds:.1f}/s" if done >= seconds else f"{seconds / done:.1f} s each"
