"""Whose turn it is to write to SQLite, among all processes of a machine: a queue instead of sleeping and retrying.

SQLite lets writers that meet sleep 1, 2, 5, ... 100 ms and try again, which starves some and makes all slow. Here they
take a lock on a file beside the database first, and the kernel wakes the next one.
"""

from __future__ import annotations

import fcntl
import os
import threading

from tunesmith.errors import DatabaseUnavailable


class Turn:
    """The right to write, one holder at a time on this machine; a process that dies gives it back."""

    def __init__(self, database: str | None, timeout_s: float) -> None:
        """`database`: its file; None or ":memory:" for one that is in this process alone.

        `timeout_s`: how long the threads of this process wait for one another.
        """
        self._path = None if database in (None, "", ":memory:") else f"{database}-turn"
        self._timeout_s = timeout_s
        self._here = threading.Lock()
        self._file: tuple[int, int] | None = None
        """The process that opened the file (a fork must not share its lock), and its descriptor."""

    def __enter__(self) -> None:
        """Take it. Raises DatabaseUnavailable when other threads of this process keep it for `timeout_s`."""
        if not self._here.acquire(timeout=self._timeout_s):
            raise DatabaseUnavailable(f"{DatabaseUnavailable.__doc__} (other writers take too long)")
        try:
            self._lock(fcntl.LOCK_EX)
        except BaseException:
            self._here.release()
            raise

    def __exit__(self, *_error: object) -> None:
        """Give it back."""
        try:
            self._lock(fcntl.LOCK_UN)
        finally:
            self._here.release()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._file[0] == os.getpid():
            os.close(self._file[1])
        self._file = None

    def _lock(self, how: int) -> None:
        descriptor = self._descriptor()
        if descriptor is not None:
            fcntl.flock(descriptor, how)

    def _descriptor(self) -> int | None:
        if self._path is None:
            return None
        if self._file is None or self._file[0] != os.getpid():
            try:
                self._file = os.getpid(), os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError:  # a directory that cannot be written: SQLite itself says what is wrong
                return None
        return self._file[1]
