"""Running a command in a process group of its own: watched, timed, measured, and ended with all that it started.

The command is started by a launcher, a small process that lives as long as this worker (see launcher.py).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tuners.tools.environment import inherited

TICK_S = 0.25
"""Seconds between two looks at a running command."""
PRUNED_GRACE_S = 1.0
"""Seconds between TERM and KILL, at most, for a pruned command: with the beat and the look it is gone within 2 s."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    """Its exit code; -N when signal N ended it."""
    stopped: str | None
    """Why it was ended from outside ("timeout", or what the watcher said); None when it ended by itself."""
    wall_time_s: float
    """Seconds from start to end."""
    cpu_time_s: float
    """User and system seconds, of its children that it waited for too."""
    max_rss_bytes: int
    """Largest resident memory of any one of its processes, in bytes."""


class Stream(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


def run_group(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    log: Stream,
    stdout: int | None = None,
    timeout_s: float | None = None,
    watch: Callable[[], str | None] = lambda: None,
    grace_s: float = 5.0,
    stdin: Stream | None = None,
    cleanup: Sequence[str] = (),
    held: Stream | None = None,
    user: Mapping[str, Any] | None = None,
) -> Ended:
    """Run a command to its end, with its output in `log` (or its stdout in the file descriptor `stdout`).

    `watch` is called every TICK_S seconds; a text that it returns ends the command. `grace_s`: seconds between TERM and
    KILL, at most PRUNED_GRACE_S where the text is "pruned". `stdin`: what it reads, nothing unless given. `cleanup`: a
    command that takes away what is left of it, also when this process is dead; `held`: a descriptor that stays open
    until then. `user`: `uid`, `gid` and `groups` that it runs with; None: those of this process.

    Raises:
        OSError: it cannot be started, or its launcher died.
    """
    launcher = _idle_launcher()
    request = {"args": list(command), "cwd": str(cwd), "env": dict(env), "cleanup": list(cleanup), "user": user}
    out = log.fileno() if stdout is None else stdout
    try:
        with open(os.devnull, "rb") as nothing:
            streams = [(stdin or nothing).fileno(), out, log.fileno()]
            launcher.start(request, streams if held is None else [*streams, held.fileno()])
    except OSError:
        _launchers.append(launcher)  # it is not to blame, and if it died that is seen
        raise
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    stopped: str | None = None
    try:
        while (ended := launcher.ended(_left(deadline))) is None:
            stopped = "timeout" if deadline is not None and time.monotonic() >= deadline else watch()
            if stopped is None:
                continue
            if (ended := launcher.ended(0)) is not None:  # by itself, while the watcher was asked
                stopped = None
            else:
                ended = launcher.stop(min(grace_s, PRUNED_GRACE_S) if stopped == "pruned" else grace_s)
            break
    except BaseException:
        launcher.close()  # kills the group
        raise
    _launchers.append(launcher)
    return Ended(stopped=stopped, **ended)


def _left(deadline: float | None) -> float:
    return TICK_S if deadline is None else min(TICK_S, max(0.0, deadline - time.monotonic()))


class Launcher:
    """A launcher process of this worker, and the conversation with it: one command at a time."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.getpid()
        self.group: int | None = None
        script = str(Path(__file__).with_name("launcher.py"))
        with theirs:
            started = subprocess.run(  # it goes on in the background
                [sys.executable, "-I", "-S", "-X", "utf8", script, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=inherited(),  # it is the parent of all commands, and they could read it there
                check=False,
            )
        if started.returncode:
            self.close()
            raise OSError(f"the launcher process did not start (exit code {started.returncode})")

    def start(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Start a command with these descriptors (see launcher.py). Raises OSError when it cannot start."""
        # The request goes through a pipe, because a message of this socket has a size limit and an environment has not.
        read_end, write_end = os.pipe()
        with os.fdopen(write_end, "wb") as stream:
            try:
                socket.send_fds(self.ours, [b"start"], [read_end, *descriptors])
            finally:
                os.close(read_end)
            stream.write(json.dumps(request).encode())
        answer = self._receive(None)
        if answer is None or "errno" in answer:
            error = answer or {"errno": errno.EPIPE, "file": "the launcher"}
            raise OSError(error["errno"], os.strerror(error["errno"]), error["file"])
        self.group = answer["pid"]

    def ended(self, timeout_s: float | None) -> dict[str, Any] | None:
        """How the command ended, or None when it has not within `timeout_s` seconds."""
        return self._receive(timeout_s)

    def stop(self, grace_s: float) -> dict[str, Any]:
        """End the whole group: TERM, and KILL after the grace period."""
        self.ours.send(f"stop {grace_s:.3f}".encode())
        ended = self._receive(None)
        assert ended is not None
        return ended

    def close(self) -> None:
        """End the launcher; it takes its command with it."""
        self.ours.close()

    @property
    def usable(self) -> bool:
        """Whether it is alive and belongs to this process (not to one that this process was forked from)."""
        if self.pid != os.getpid() or self.ours.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self.ours, select.POLLIN)  # a hang-up is told in any case
        return not poll.poll(0)

    def _receive(self, timeout_s: float | None) -> dict[str, Any] | None:
        poll = select.poll()
        poll.register(self.ours, select.POLLIN)
        if not poll.poll(None if timeout_s is None else max(0, round(timeout_s * 1000))):
            return None
        data = self.ours.recv(65536)
        if not data:
            if self.group is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.group, signal.SIGKILL)
            self.close()
            raise OSError("the launcher process died")
        answer: dict[str, Any] = json.loads(data)
        if "exit_code" in answer:
            self.group = None
        return answer


_launchers: list[Launcher] = []
"""Those with nothing to do: one, unless commands were run from several threads at once."""


def _idle_launcher() -> Launcher:
    while True:
        try:
            launcher = _launchers.pop()
        except IndexError:  # asked first, it could be gone: another thread may be faster
            return Launcher()
        if launcher.usable:
            return launcher
        launcher.close()


@atexit.register
def _close_launchers() -> None:
    while _launchers:
        _launchers.pop().close()
