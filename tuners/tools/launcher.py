"""Starts commands for a trial worker; run as a script, with nothing but the standard library.

Why a process of its own: it is small, so that a command's peak memory is the command's (a child starts with the peak of
the process that forked it, some 240 MB for a Ray worker); and it outlives the worker just long enough to kill the command's
process group, however the worker died, because its socket then closes.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any


def main() -> None:
    """Serve one command after the other until the worker is gone."""
    if os.fork():
        os._exit(0)  # no child of the worker: Ray kills a worker's children before they can clean up
    worker = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(worker, 16, 3)
        if not message:
            return
        request_fd, stdout, stderr = descriptors
        with os.fdopen(request_fd, "rb") as stream:
            request = json.loads(stream.read())
        run(worker, request, stdout, stderr)


def run(worker: socket.socket, request: dict[str, Any], stdout: int, stderr: int) -> None:
    """Start the command, tell its process id, wait for it or for the worker's death, tell how it ended."""
    started = time.monotonic()
    try:
        pid = spawn(request, stdout, stderr)
    except OSError as error:
        worker.send(json.dumps({"errno": error.errno, "file": str(error.filename)}).encode())
        return
    finally:
        os.close(stdout)
        os.close(stderr)
    tell(worker, {"pid": pid})
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(worker, select.POLLHUP)
    ready = [descriptor for descriptor, _event in poll.poll()]
    if pidfd in ready:
        ended_at = time.monotonic()
    else:
        kill(pid)
        ended_at = time.monotonic()
    _pid, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    kill(pid)  # also after a normal end: what it left in the background goes with it
    tell(
        worker,
        {
            "exit_code": os.waitstatus_to_exitcode(status),
            "wall_time_s": ended_at - started,
            "cpu_time_s": usage.ru_utime + usage.ru_stime,
            "max_rss_bytes": usage.ru_maxrss * 1024,
        },
    )


def spawn(request: dict[str, Any], stdout: int, stderr: int) -> int:
    """Fork and execute, in a session and process group of its own; raises OSError when that fails."""
    null = os.open(os.devnull, os.O_RDONLY)
    failed, failure = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for target, source in enumerate((null, stdout, stderr)):
                os.dup2(source, target)
            os.chdir(request["cwd"])
            for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(request["args"][0], request["args"], request["env"])
        except OSError as error:
            os.write(failure, json.dumps([error.errno, str(error.filename or request["args"][0])]).encode())
        finally:
            os._exit(127)
    os.close(null)
    os.close(failure)
    with os.fdopen(failed, "rb") as stream:
        message = stream.read()
    if message:
        os.waitpid(pid, 0)
        number, name = json.loads(message)
        raise OSError(number, os.strerror(number), name)
    return pid


def kill(pid: int) -> None:
    """Kill a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def tell(worker: socket.socket, answer: dict[str, Any]) -> None:
    """Send an answer; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        worker.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
