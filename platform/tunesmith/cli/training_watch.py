"""Watching training jobs: all of them as a live table, or one with its log and where it stands."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tunesmith.cli import exits
from tunesmith.cli.output import console, hint, print_error, print_json_line, stderr, text
from tunesmith.client import Client, TrainingHandle
from tunesmith.client.retry import Patience
from tunesmith.client.training_job import failure
from tunesmith.errors import ConnectionFailed, TunesmithError, Unavailable
from tunesmith.schemas.training_answers import StatsAnswer, TrainingAnswer

LOOK_EVERY_S = 2.0
"""Seconds between two looks at the platform."""
ROWS = 200
"""Jobs of the table, at most: those that changed last."""
PATIENCE_S = 60.0
"""Seconds that a platform which does not answer is waited for."""
COLORS = {"running": "cyan", "completed": "green", "failed": "red", "retrying": "yellow", "cancelled": "dim"}
Show = Callable[[Sequence[TrainingAnswer], StatsAnswer], None]


def watch_all(client: Client, as_json: bool) -> None:
    """Show all training jobs until Ctrl-C: a table on a terminal, elsewhere a line for every change of a status."""
    patience = Patience(PATIENCE_S)
    with _table() if console().is_terminal and not as_json else _changes(as_json) as show:
        while True:
            try:
                jobs = client.training_jobs.list(sort="-updated_at", limit=ROWS)
                show([job.info for job in jobs], client.training_jobs.stats())
                patience.restored()
            except (ConnectionFailed, Unavailable) as error:
                patience.bear(error)
                continue
            time.sleep(LOOK_EVERY_S)


def follow_training(job: TrainingHandle, as_json: bool) -> TrainingAnswer:
    """Print the log of its latest execution as it is written, and where it stands; Ctrl-C ends the watching only."""
    with _interruptible(job), _screen(job, as_json) as show:
        try:
            for line in job.logs(follow=True):
                show(line)
        except (ConnectionFailed, Unavailable) as error:
            hint(f"{error.message}; waiting for its end, without the rest of the log")
        return job.wait()


def wait(job: TrainingHandle, quiet: bool) -> TrainingAnswer:
    """Wait for the end of its latest execution, telling each change of its status; Ctrl-C ends the waiting only."""
    with _interruptible(job):
        return job.wait(on_progress=None if quiet else _teller())


def end(info: TrainingAnswer) -> None:
    """Say why it did not complete, and end with the exit code for it."""
    reason = failure(info)
    if reason is not None:
        print_error(TunesmithError(f"{reason}; `tunesmith jobs executions {info.job_id}` shows its attempts"))
        raise typer.Exit(exits.FAILED)


def standing(info: TrainingAnswer) -> str:
    """Where it stands, in a line."""
    parts = [f"{info.name} {info.status}"]
    if info.retry_count and info.status != "retrying":
        parts.append(f"retry {info.retry_count} of {info.max_retries}")
    if info.status == "running" and info.started_at:
        parts.append(f"since {text(info.started_at)}")
    if info.status == "pending" and info.next_run_at:
        parts.append(f"fires {text(info.next_run_at)}")
    return ", ".join([*parts, *filter(None, [info.message])])


@contextmanager
def _interruptible(job: TrainingHandle) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        hint(f"{job.name} goes on; `tunesmith watch {job.id}` comes back to it, `tunesmith cancel {job.id}` stops it")
        raise typer.Exit(exits.INTERRUPTED) from None


@contextmanager
def _screen(job: TrainingHandle, as_json: bool) -> Iterator[Callable[[str], None]]:
    """Where lines of the log go; meanwhile its standing is shown below them, or told as it changes."""
    screen = console()
    if as_json:
        yield lambda line: print_json_line({"line": line})
    elif screen.is_terminal and stderr().is_terminal:
        live = Live(console=screen)
        with live, _looking(job, lambda info: live.update(_status_line(info))):
            yield lambda line: screen.print(Text.from_ansi(line), soft_wrap=True)
    else:
        with _looking(job, _teller()):
            yield _echo


def _echo(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def _teller() -> Callable[[TrainingAnswer], None]:
    """Tells a standing where it is another one than before."""
    last = ""

    def tell(info: TrainingAnswer) -> None:
        nonlocal last
        now = standing(info)
        if now != last:
            last = now
            hint(now)

    return tell


@contextmanager
def _looking(job: TrainingHandle, show: Callable[[TrainingAnswer], None]) -> Iterator[None]:
    """Look at the job in a thread of its own, as the log keeps this one waiting."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            try:
                show(job.refresh())
            except TunesmithError:
                continue  # the log's own thread says what is wrong

    show(job.info)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1.0)  # it may wait for an answer
    show(job.info)


@contextmanager
def _table() -> Iterator[Show]:
    screen = console()
    with Live(console=screen, screen=False, auto_refresh=False) as live:

        def show(infos: Sequence[TrainingAnswer], stats: StatsAnswer) -> None:
            live.update(_drawn(infos, stats, screen), refresh=True)

        yield show


@contextmanager
def _changes(as_json: bool) -> Iterator[Show]:
    last: dict[str, str] = {}

    def show(infos: Sequence[TrainingAnswer], _stats: StatsAnswer) -> None:
        for info in reversed(infos):
            if last.get(info.job_id) != info.status:
                last[info.job_id] = info.status
                print_json_line(info) if as_json else _echo(standing(info))

    yield show


def _drawn(infos: Sequence[TrainingAnswer], stats: StatsAnswer, screen: Console) -> Table:
    counts = stats.model_dump(exclude={"total_jobs"})
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    table = Table(
        box=None, header_style="bold", pad_edge=False, caption_justify="left",
        caption=f"{stats.total_jobs} training jobs{': ' if told else ''}{told}; Ctrl-C ends the watching",
    )  # fmt: skip
    for column in ("name", "status", "schedule", "next run", "retries", "started", "ended", "message"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for info in infos[: max(1, screen.height - 4)]:
        cells = (
            info.schedule, info.next_run_at, f"{info.retry_count}/{info.max_retries}", info.started_at,
            info.completed_at, info.error_message or info.message,
        )  # fmt: skip
        first = (text(cell).splitlines()[:1] or [""] for cell in cells)
        table.add_row(escape(info.name), _colored(info.status), *(escape(line[0]) for line in first))
    return table


def _status_line(info: TrainingAnswer) -> Text:
    return Text(standing(info), style=COLORS.get(info.status, ""))


def _colored(status: str) -> Text:
    return Text(status, style=COLORS.get(status, ""))
