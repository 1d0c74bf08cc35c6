"""Starting the server in the background, and stopping it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from tunesmith.cli.output import stderr
from tunesmith.client import Client, RunFile, read_run_file
from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings

COMMAND = (sys.executable, "-m", "serve_app.up")
START_S = 180.0
"""Seconds that a start may take."""
STOP_S = 45.0
"""Seconds that a stop may take before everything is killed; the server itself gives its head 40."""
TAIL_LINES = 30


def environment(settings: Settings) -> dict[str, str]:
    """The server's environment: this process's, and the settings in force."""
    return {**os.environ, **settings.environment()}


def start(settings: Settings, quiet: bool = False) -> RunFile:
    """Start the server in a session of its own and wait until it is ready.

    Raises:
        TunesmithError: it ended, or is not ready after START_S; the message quotes its log.
    """
    log = settings.data_dir.absolute() / "logs" / "platform.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        settings.run_file.unlink(missing_ok=True)
        with log.open("ab") as stream:
            begin = stream.tell()
            process = subprocess.Popen(
                COMMAND, env=environment(settings), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise TunesmithError(f"The platform cannot be started in {settings.data_dir}: {error}") from error
    try:
        with _spinner(quiet):
            return _await_ready(process, settings)
    except BaseException as error:
        stop(process.pid, lambda: process.poll() is not None)
        if isinstance(error, TunesmithError):
            stderr().print(_tail(log, begin), style="dim", markup=False)
            raise TunesmithError(f"{error.message}; its log is {log}") from error
        raise


def stop(pid: int, is_over: Callable[[], bool]) -> bool:
    """End a process: TERM, and after STOP_S KILL for it and all that it started. Whether TERM was enough."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        if is_over():
            return True
        time.sleep(0.1)
    # Not its process group: the head has a session of its own, and the group may be a script's that started us.
    for member in [pid, *_descendants(pid)]:
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    return False


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    family = children.get(pid, [])
    for member in family:
        family.extend(children.get(member, []))
    return family


def _await_ready(process: subprocess.Popen[bytes], settings: Settings) -> RunFile:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TunesmithError(f"The platform ended with exit code {process.returncode} before it was ready")
        found = read_run_file(settings.run_file)
        if found is not None and _ready(found):
            return found
        time.sleep(0.1)
    raise TunesmithError(f"The platform is not ready after {START_S:g} s")


def _ready(found: RunFile) -> bool:
    try:
        with Client(found.url, timeout=5, retries=0, certificate=found.tls_cert) as client:
            client.ready()
    except TunesmithError:
        return False
    return True


def _spinner(quiet: bool) -> AbstractContextManager[Any]:
    screen = stderr()
    return screen.status("starting the platform ...") if screen.is_terminal and not quiet else nullcontext()


def _tail(log: Path, begin: int) -> str:
    with log.open("rb") as stream:
        stream.seek(begin)
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
