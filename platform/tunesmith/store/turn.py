"""Whose turn it is to write to SQLite, among all processes of a machine: a queue instead of sleeping and retrying.

SQLite lets writers that meet sleep 1, 2, 5, ... 100 ms and try again, which starves some and makes all slow. Here they
take a lock on a file beside the database first, and look again every fraction of a millisecond.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time

from tunesmith.errors import DatabaseUnavailable

LOOK_S = (0.0001, 0.0005)
"""Seconds between two looks at first, and at most."""


class Turn:
    """The right to write, one holder at a time on this machine; a process that dies gives it back."""

    def __init__(self, database: str | None, timeout_s: float) -> None:
        """`database`: its file; None or ":memory:" for one that is in this process alone."""
        self._path = None if database in (None, "", ":memory:") else f"{database}-turn"
        self._timeout_s = timeout_s
        self._here = threading.Lock()
        self._file: tuple[int, int] | None = None
        """The process that opened the file (a fork must not share its lock), and its descriptor."""

    def __enter__(self) -> None:
        """Take it. Raises DatabaseUnavailable after `timeout_s`."""
        end = time.monotonic() + self._timeout_s
        if not self._here.acquire(timeout=self._timeout_s):
            raise _too_long()
        try:
            self._lock(end)
        except BaseException:
            self._here.release()
            raise

    def __exit__(self, *_error: object) -> None:
        """Give it back."""
        descriptor = self._descriptor()
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._here.release()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._file[0] == os.getpid():
            os.close(self._file[1])
        self._file = None

    def _descriptor(self) -> int | None:
        if self._path is None:
            return None
        if self._file is None or self._file[0] != os.getpid():
            try:
                self._file = os.getpid(), os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError:  # a directory that cannot be written: SQLite itself says what is wrong
                return None
        return self._file[1]

    def _lock(self, end: float) -> None:
        descriptor, pause_s = self._descriptor(), LOOK_S[0]
        while descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise _too_long() from None
                time.sleep(pause_s)
                pause_s = min(1.2 * pause_s, LOOK_S[1])
            else:
                return


def _too_long() -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{DatabaseUnavailable.__doc__} (other writers take too long)")
