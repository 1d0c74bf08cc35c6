"""The child's side of a host: does what it is handed, one task after the other, until nobody is there any more."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, TextIO

from tuners.hosting import wire
from tuners.hosting.speaking import ChildVoice
from tuners.hosting.tasks import GivenUp, Task, TaskFailed, said
from tunesmith.errors import TunesmithError

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FIRST = 64
"""The platform's own descriptors begin here, out of the way of those that programs reckon with."""
LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
LIBC = ctypes.CDLL(None)


def main() -> None:
    """Do tasks until the other side is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # so that what a task leaves behind is seen below
    connection = _connection()
    faulthandler.enable(2)
    own, home, nothing = os.getpid(), os.getcwd(), _out_of_the_way(os.open(os.devnull, os.O_WRONLY))
    sys.argv = ["tunesmith"]
    while (received := wire.receive(connection)) is not None:
        if received == (wire.STOP, []):
            continue  # the task that it was meant for was done already
        packed, (log,) = received
        _print_to(log)
        os.close(log)
        before = _marks()
        answer = _answer(packed, ChildVoice(connection))
        if os.getpid() != own:
            os._exit(0)  # a task forked, and this is the other one of the two
        _flush()
        _print_to(nothing)
        os.chdir(home)
        reusable = _marks() == before and not _left_behind()
        wire.send_packed(connection, _packed(*answer, reusable))


def _connection() -> socket.socket:
    """The platform's connection, which came as stdin; a task finds nothing there."""
    connection = socket.socket(fileno=_out_of_the_way(0))
    os.open(os.devnull, os.O_RDONLY)  # it becomes descriptor 0
    return connection


def _out_of_the_way(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST)
    os.close(descriptor)
    return moved


def _answer(packed: bytes, voice: ChildVoice) -> tuple[str, Any]:
    try:
        task: Task[Any] = pickle.loads(packed)  # nosec B301  # from its parent
        return "done", task.perform(voice)
    except TunesmithError as error:
        _print_traceback(error)
        return "failed", error
    except TaskFailed as error:
        if error.__cause__ is not None:
            _print_traceback(error.__cause__)
        return "failed", str(error)
    except GivenUp:
        return "given up", None
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        return "exited", code
    except BaseException as error:
        _print_traceback(error)
        return "failed", said(error)
    finally:
        voice.close()


def _packed(kind: str, value: Any, reusable: bool) -> bytes:
    try:
        return wire.pack((kind, value, reusable))
    except Exception as error:  # what a task returned, or the details of an error
        return wire.pack(("failed", said(error), reusable))


def _print_traceback(error: BaseException) -> None:
    """Into the log; a task may have done anything to `sys.stderr`."""
    text = "".join(traceback.format_exception(error, limit=-50))
    os.write(2, text.encode(errors="backslashreplace"))


def _print_to(log: int) -> None:
    """Let everything that is printed go to a descriptor, whatever became of the streams before."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = _stream(1, 1)  # by the line: who follows the log sees it, and what is killed leaves it
    sys.stderr = _stream(2, 1)


def _stream(descriptor: int, buffering: int) -> TextIO:
    return open(  # it lasts until the next task
        descriptor, "w", buffering, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _flush() -> None:
    """What Python and C libraries have not written yet."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the task closed it, or put something of its own there
            stream.flush()
    LIBC.fflush(None)


def _marks() -> tuple[Any, ...]:
    """What a task must not change, for the next one to find a sound process."""
    alive = [thread.ident for thread in threading.enumerate() if not thread.daemon]
    return (tuple(resource.getrlimit(limit) for limit in LIMITS), alive)


def _left_behind() -> bool:
    """Whether processes of the task are still there."""
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as stream:
                if stream.read():
                    return True
        except FileNotFoundError:  # the thread ended, or a kernel without it
            continue
    return False
