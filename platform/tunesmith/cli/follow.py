"""Watching a job until it ends: a live bar on a terminal, a line now and then elsewhere, nothing with `--json`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tunesmith.cli import exits
from tunesmith.cli.output import hint, print_error, stderr, text
from tunesmith.client import Job
from tunesmith.errors import TunesmithError
from tunesmith.schemas.jobs import JobAnswer

LINE_EVERY_S = 10.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


def follow(job: Job, quiet: bool = False) -> JobAnswer:
    """Wait for the job's end. Ctrl-C ends the watching, not the job."""
    try:
        if quiet:
            return job.wait()
        with _bar() if stderr().is_terminal else _lines() as update:
            return job.wait(on_progress=update)
    except KeyboardInterrupt:
        hint(f"{job.id} goes on; `tunesmith watch {job.id}` comes back to it, `tunesmith cancel {job.id}` stops it")
        raise typer.Exit(exits.INTERRUPTED) from None


def end(answer: JobAnswer) -> None:
    """Say why a job did not finish, and end with the exit code for it."""
    if answer.job_status == "finished":
        return
    reason = (answer.job_exc_info or answer.message or "").strip()
    first = f": {reason.splitlines()[0]}" if reason else ""
    print_error(TunesmithError(f"{answer.job_id} {answer.job_status}{first}; `tunesmith job {answer.job_id}` shows it"))
    raise typer.Exit(exits.FAILED)


def standing(answer: JobAnswer) -> str:
    """How far the job is, in a line."""
    progress = answer.progress
    total = "" if progress.total is None else f"/{progress.total}"
    return f"{answer.job_status}, {progress.finished}{total} finished, {progress.failed} failed{best_so_far(answer)}"


def best_so_far(answer: JobAnswer) -> str:
    """The best so far, as the end of a line."""
    best = answer.progress.best
    return "" if best is None else f", best {text(best.outcome)} ({text(dict(best.params))})"


@contextmanager
def _bar() -> Iterator[Callable[[JobAnswer], None]]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr()) as bar:
        task = bar.add_task("waiting", total=None, note="")

        def update(answer: JobAnswer) -> None:
            progress = answer.progress
            note = escape(f"{progress.failed} failed{best_so_far(answer)}")
            bar.update(
                task, description=answer.job_status, total=progress.total, completed=progress.finished, note=note
            )

        yield update


@contextmanager
def _lines() -> Iterator[Callable[[JobAnswer], None]]:
    last = time.monotonic()

    def update(answer: JobAnswer) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            hint(f"{answer.job_id}: {standing(answer)}")

    yield update
