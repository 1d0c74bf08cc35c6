"""Starts commands for a trial worker; run as a script, with nothing but the standard library.

Why a process of its own: it is small, so that a command's peak memory is the command's (a child starts with the peak of
the process that forked it, some 240 MB for a Ray worker); it outlives the worker just long enough to end the command,
however the worker died, because its socket then closes; and whatever a command leaves behind becomes its child, also
what left the command's process group, so that it can end that too.

Messages of the worker: `start` with descriptors (the request, stdin, stdout, stderr, and perhaps one that is held until
nothing of the command is left: a lock), `stop <grace seconds>`. A request may name a command that cleans up afterwards,
for what is no child of this process: containers.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

Streams = tuple[int, int, int]
"""Descriptors: stdin, stdout, stderr."""
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
POLL_S = 0.01
"""Seconds between two looks at a group that was asked to end."""
CLEAN_S = 5.0
"""Seconds that killed processes have to be gone; one that hangs in the kernel is left."""
CLEANUP_S = 60.0
"""Seconds that the command that cleans up may take."""


def main() -> None:
    """Serve one command after the other until the worker is gone."""
    if os.fork():
        os._exit(0)  # no child of the worker: Ray kills a worker's children before they can clean up
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    worker = socket.socket(fileno=int(sys.argv[1]))
    worker.set_inheritable(False)
    while True:
        try:
            message, descriptors, _flags, _address = socket.recv_fds(worker, 64, 5)
        except ConnectionResetError:  # it died with an answer of ours unread
            return
        if not message:
            return
        if not descriptors:
            continue  # `stop` for a command that had just ended
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        request_fd, stdin, stdout, stderr, *held = descriptors
        with os.fdopen(request_fd, "rb") as stream:
            data = stream.read()
        serve(worker, data, (stdin, stdout, stderr))
        for descriptor in held:
            os.close(descriptor)


def serve(worker: socket.socket, data: bytes, streams: Streams) -> None:
    """Start the command, tell its process id, wait for it, tell how it ended."""
    started = time.monotonic()
    try:
        request = json.loads(data)
        pid = spawn(request, streams)
    except (OSError, ValueError) as error:
        number, file = getattr(error, "errno", None) or 22, getattr(error, "filename", None) or str(error)
        tell(worker, {"errno": number, "file": file})
        return
    finally:
        for stream in streams:
            os.close(stream)
    tell(worker, {"pid": pid})
    command = Command(worker, pid, request)
    command.wait()
    assert command.status is not None
    tell(
        worker,
        {
            "exit_code": os.waitstatus_to_exitcode(command.status),
            "wall_time_s": command.ended_at - started,
            "cpu_time_s": command.cpu_time_s,
            "max_rss_bytes": command.max_rss_bytes,
        },
    )


class Command:
    """A running command, the leader of its process group."""

    def __init__(self, worker: socket.socket, pid: int, request: dict[str, Any]) -> None:
        self.worker, self.pid = worker, pid
        self.cleanup: list[str] = request["cleanup"]
        self.environment = request["env"]
        self.status: int | None = None
        self.gone: set[int] = set()
        self.cpu_time_s, self.max_rss_bytes = 0.0, 0
        self.ended_at = 0.0

    def wait(self) -> None:
        """Until it has ended, by itself or because the worker says so or is gone, and nothing of it is left."""
        leader = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(leader, select.POLLIN)
        poll.register(self.worker, select.POLLIN)
        if leader not in [descriptor for descriptor, _event in poll.poll()]:
            with contextlib.suppress(ConnectionResetError):  # the worker died with an answer of ours unread
                message = self.worker.recv(64)
                if message:
                    self.terminate(float(message.split()[1]))
        os.close(leader)
        self.signal(signal.SIGKILL)  # also after a normal end: what it left in the background goes with it
        self.reap(block=True)
        if self.cleanup:
            self.clean_up()
            self.settle()
        self.clean()
        if self.cleanup:  # what it was about to make when it was killed
            self.clean_up()

    def terminate(self, grace_s: float) -> None:
        """Ask the group to end, and wait for all of it, as the leader may be a shell that is gone at once."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and self.signal(0):
            self.reap(block=False)
            if select.select([self.worker], [], [], POLL_S)[0]:
                return  # the worker is gone

    def signal(self, number: int) -> bool:
        """Signal the group; whether there is one."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return number == 0
        return True

    def reap(self, block: bool) -> None:
        """Take note of the command's end; take away what else has ended."""
        while self.status is None or not block:
            try:
                pid, status, usage = os.wait4(-1, 0 if block else os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.gone.add(pid)
            if pid == self.pid:
                self.status, self.ended_at = status, time.monotonic()
            if pid == self.pid or self.cleanup:  # a container is no child of the command, but of this process
                self.cpu_time_s += usage.ru_utime + usage.ru_stime
                self.max_rss_bytes = max(self.max_rss_bytes, usage.ru_maxrss * 1024)

    def clean_up(self) -> None:
        """Run the command that cleans up, whatever comes of it."""
        null = os.open(os.devnull, os.O_RDWR)
        request = {"args": self.cleanup, "cwd": "/", "env": self.environment, "user": None}
        try:
            pid = spawn(request, (null, null, null))
        except OSError:
            return
        finally:
            os.close(null)
        deadline = time.monotonic() + CLEANUP_S
        while pid not in self.gone and time.monotonic() < deadline:
            self.reap(block=False)
            time.sleep(POLL_S)

    def settle(self) -> None:
        """Let what watched over the container end by itself, as it tidies up too."""
        deadline = time.monotonic() + CLEAN_S
        while children() and time.monotonic() < deadline:
            self.reap(block=False)
            time.sleep(POLL_S)

    def clean(self) -> None:
        """End what left the process group; each death may bring up further children."""
        deadline = time.monotonic() + CLEAN_S
        while (left := children()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.reap(block=False)
            time.sleep(0.001)


def children() -> list[int]:
    """This process's children, zombies included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            return [int(pid) for pid in stream.read().split()]
    except FileNotFoundError:  # a kernel without it: the process group is all that is ended then
        return []


def spawn(request: dict[str, Any], streams: Streams) -> int:
    """Fork and execute, in a session and process group of its own; raises OSError or ValueError when that fails."""
    failed, failure = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            execute(request, streams)
        except OSError as error:
            os.write(failure, json.dumps([error.errno, str(error.filename or request["args"][0])]).encode())
        except BaseException as error:
            os.write(failure, json.dumps([22, str(error)]).encode())
        finally:
            os._exit(127)
    os.close(failure)
    with os.fdopen(failed, "rb") as stream:
        message = stream.read()
    if message:
        os.waitpid(pid, 0)
        number, name = json.loads(message)
        raise OSError(number, os.strerror(number), name)
    return pid


def execute(request: dict[str, Any], streams: Streams) -> None:
    """Become the command."""
    os.setsid()
    for target, source in enumerate(streams):
        os.dup2(source, target)
    if request["user"] is not None:
        become(**request["user"])
    os.chdir(request["cwd"])
    for number in signal.valid_signals() - {
        signal.SIGKILL,
        signal.SIGSTOP,
    }:  # some are ignored: by Python, or inherited
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvpe(request["args"][0], request["args"], request["env"])


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Be another user from now on, and never more than that, whatever is executed."""
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    os.umask(0o022)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def tell(worker: socket.socket, answer: dict[str, Any]) -> None:
    """Send an answer; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        worker.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
