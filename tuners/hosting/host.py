"""A child process that does one task after the other, for this process, and never outlives it.

A launcher starts it and ends it with all that it started (see tuners/tools/launcher.py), so that nothing is left when
this process is killed.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tuners.hosting import wire
from tuners.hosting.tasks import Task, TaskFailed
from tuners.tools.environment import inherited
from tuners.tools.process import TICK_S, Launcher, Stream
from tuners.tools.running import signal_name
from tunesmith.errors import TunesmithError

T = TypeVar("T")
Told = Callable[[int, "str | None"], None]
"""Takes how far a task is: percent, 0 to 100, and what it does, if it said so."""
Watch = Callable[[list[tuple[str, int, float]]], "str | None"]
"""Called a few times a second with new intermediate values (metric, step, value); a text from it ends the task."""

LOAD_S = 120.0
"""Seconds that a task has to get ready, for instance to import its plugin, before its own time begins to run."""
GRACE_S = 0.5
"""Seconds between TERM and KILL, for a task that is stopped."""
GIVE_UP_S = 3.0
"""Seconds that a task has to end by itself where it is asked to: a new child takes about as long to start."""
DEATH_S = 1.0
"""Seconds from the end of a child's connection until its death is known, at most."""
SEND_S = 30.0
"""Seconds that a child has to take a task."""
SAID = ("begin", "now", "progress", "report")
"""What a child's messages begin with as long as its task goes on."""
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tuners.hosting.child import main; main()"


class Stopped(Exception):
    """The task was ended, because the watcher said so; the argument is what it said."""


class TimedOut(Exception):
    """The task was ended, because its time was over; the text says which time."""


class HostDied(Exception):
    """The task's process ended before the task did; the text says how, for instance `exit code 3`."""

    def __init__(self, exit_code: int | None, how: str, part: str | None = None) -> None:
        """`exit_code`: its exit code, -N when signal N ended it, None when that is not known; `part`: see Voice.now."""
        super().__init__(how)
        self.exit_code, self.part = exit_code, part


class Host:
    """A child process. One task at a time; use it from one thread at a time."""

    def __init__(self, log: Stream) -> None:
        """Start it; what it prints before its first task goes to `log`. Raises OSError."""
        self._pid = os.getpid()
        self._busy = self._spent = False
        self._part: str | None = None
        self._reader = wire.Reader()
        self._launcher = Launcher()
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(SEND_S)
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        command = [sys.executable, "-X", "utf8", "-c", START, path]
        request = {"args": command, "cwd": os.getcwd(), "env": inherited(), "cleanup": [], "user": None}
        try:
            with theirs:
                self._launcher.start(request, [theirs.fileno(), log.fileno(), log.fileno()])
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._launcher.group is not None
        return self._launcher.group

    @property
    def usable(self) -> bool:
        """Whether it can be given a task: it is alive, this process's own, and the last task left nothing behind."""
        if self._busy or self._spent or self._pid != os.getpid():
            return False
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)  # it says nothing unasked: what can be read is its end
        return not poll.poll(0) and self._launcher.usable

    def call(
        self,
        task: Task[T],
        log: Stream,
        told: Told = lambda _percent, _message: None,
        watch: Watch = lambda _measured: None,
        limit_s: float | None = None,
        limit: str | None = None,
        grace_s: float = GRACE_S,
        gently: str | None = None,
    ) -> T:
        """Have a task done, and return what its `perform` returns; what it prints goes to `log`.

        `limit_s`: seconds that it may take, from when it says that it begins; `limit`: what people call that, for
        instance "5 s (trial_timeout_s)". `grace_s`: seconds between TERM and KILL when it has to be ended.
        `gently`: a text of `watch` with which the task may end by itself, so that the child serves the next one.

        Raises:
            TaskFailed: it raised; the traceback is in the log.
            TunesmithError: it raised that.
            Stopped: `watch` said so; the child and all that it started is ended, unless it went gently.
            TimedOut: its time was over; they are ended.
            HostDied: the child ended, or the task wanted it to (`sys.exit`).
        """
        self._busy, self._part, messages = True, None, self._messages()
        try:
            wire.send(self._ours, wire.pack(task), [log.fileno()])  # twice, as the child may not be able to unpack it
            answer = self._answer(messages, told, watch, Clock(limit_s, limit))
        except OSError as error:
            raise self._died(str(error)) from error
        except wire.Garbled as error:
            self.close()
            raise HostDied(None, f"{error}, and was ended", self._part) from error
        except (Stopped, TimedOut) as why:
            if not (isinstance(why, Stopped) and str(why) == gently and self._gave_up(messages)):
                self._end(grace_s)
            raise
        except BaseException:
            self.close()
            raise
        self._busy = False
        kind, value, reusable = answer
        self._spent = not reusable
        if kind == "done":
            return value  # type: ignore[no-any-return]
        if kind == "exited":
            raise HostDied(value, f"exit code {value}", self._part)
        raise value if isinstance(value, TunesmithError) else TaskFailed(value)

    def close(self) -> None:
        """End the child, with all that it started."""
        self._spent = True
        self._ours.close()
        self._launcher.close()

    def _answer(self, messages: Iterator[Any], told: Told, watch: Watch, clock: Clock) -> tuple[str, Any, bool]:
        for message in messages:
            if message is not None and message[0] == "begin":
                clock.begin(*message[1:])
                continue
            if message is not None and message[0] == "now":
                self._part = message[1]
                continue
            measured: list[tuple[str, int, float]] = []
            if message is not None and message[0] == "progress":
                told(*message[1:])
            elif message is not None and message[0] == "report":
                measured = message[1]
            elif message is not None:
                return message  # type: ignore[no-any-return]
            clock.check(self._part)
            if (reason := watch(measured)) is not None:
                raise Stopped(reason)
        raise self._died("it closed its connection")

    def _messages(self) -> Iterator[Any]:
        """What the child says, until it is gone; None when it said nothing for TICK_S. Raises Garbled, OSError."""
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        while True:
            if not poll.poll(round(TICK_S * 1000)):
                yield None
                continue
            data = self._ours.recv(wire.CHUNK)
            if not data:
                return
            self._reader.feed(data)
            yield from self._reader.values()

    def _gave_up(self, messages: Iterator[Any]) -> bool:
        """Ask the task to end at its next report; whether it ended soon enough."""
        end = time.monotonic() + GIVE_UP_S
        try:
            wire.send(self._ours, wire.STOP)
            for message in messages:
                if message is not None and message[0] not in SAID:
                    self._busy, self._spent = False, not message[2]
                    return True
                if time.monotonic() >= end:
                    return False
        except (OSError, wire.Garbled):
            pass
        return False

    def _end(self, grace_s: float) -> None:
        """Ask the child and all that it started to end, and kill what does not."""
        try:
            self._launcher.stop(grace_s)
        finally:
            self.close()

    def _died(self, otherwise: str) -> HostDied:
        """How it ended; `otherwise`: what it did, where it only closed its connection."""
        try:
            ended = self._launcher.ended(DEATH_S)
        except OSError:
            ended = None
        finally:
            self.close()
        if ended is None:
            return HostDied(None, f"{otherwise}, and was ended", self._part)
        code: int = ended["exit_code"]
        how = f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
        return HostDied(code, how, self._part)


class Clock:
    """When a task's time is over: it gets ready first, and then has the shorter of its limits."""

    def __init__(self, limit_s: float | None, limit: str | None) -> None:
        self._limit_s, self._limit = limit_s, limit or f"{limit_s} s"
        self._set(LOAD_S, f"{LOAD_S:g} s and not ready yet")

    def begin(self, own_s: float | None, own: str) -> None:
        """It is ready. `own_s`: the time that it allows itself."""
        if own_s is not None and (self._limit_s is None or own_s <= self._limit_s):
            self._set(own_s, f"{own_s:g} s ({own})")
        else:
            self._set(self._limit_s, self._limit)

    def check(self, part: str | None) -> None:
        """Raise TimedOut when the time is over; `part`: see Voice.now."""
        if time.monotonic() >= self._end:
            raise TimedOut(f"{f'{part}: ' if part else ''}still running after {self._text}; ended")

    def _set(self, seconds: float | None, text: str) -> None:
        self._text = text
        self._end = math.inf if seconds is None else time.monotonic() + seconds
