"""The log of a program that may print without end: its beginning, a line that says what was left out, its newest part.

It grows to twice what is kept of it, then its newest half moves down to the front, in place: so it is bounded, nothing
is lost that was printed last, and it needs no name, which the program may have taken away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tuners.tools.masking import Masker

HEAD = 65_536
"""Bytes of the beginning that are kept besides, at most; no more than a tenth of the whole."""
CHUNK = 1 << 20
END_S = 10.0
"""Seconds that the last output has to come out of the pipe when a program and all that it started is dead."""


def notice(left_out: int) -> bytes:
    """The line in the place of so many bytes; it always has the same length."""
    return f"\n[tunesmith: {left_out:>15} bytes of output were left out here]\n".encode()


class RotatedLog:
    """A file that is written at its end only, and keeps its newest `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Make it, empty. Raises OSError."""
        self._file = path.open("w+b", buffering=0)
        self._keep, self._first = max_bytes, min(HEAD, max_bytes // 10)
        self._size = self._left_out = 0
        self._front = 0
        """Where the newest part begins: after the beginning and the line about what was left out."""

    def write(self, data: bytes) -> None:
        """Add to it. Raises OSError."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, self._size)
            self._size, view = self._size + written, view[written:]
        if self._front == 0 and self._size > self._first:
            self._front = self._first
        if self._size - self._front >= 2 * self._keep:
            self._shorten()

    def tail(self, count: int) -> bytes:
        """Its last bytes."""
        return os.pread(self._file.fileno(), count, max(self._front, self._size - count))

    def close(self) -> None:
        """Bring it to its final length."""
        try:
            if self._size - self._front > self._keep:
                self._shorten()
        finally:
            self._file.close()

    def _shorten(self) -> None:
        source = max(self._size - self._keep, self._first + len(notice(0)))
        self._left_out += source - self._front
        os.pwrite(self._file.fileno(), notice(self._left_out), self._first)
        target = self._front = self._first + len(notice(0))
        while chunk := os.pread(self._file.fileno(), CHUNK, source):  # downwards: none is overwritten before it is read
            os.pwrite(self._file.fileno(), chunk, target)
            source, target = source + len(chunk), target + len(chunk)
        os.ftruncate(self._file.fileno(), target)
        self._size = target

    def __enter__(self) -> RotatedLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Writable(Protocol):
    """A log: something that bytes are added to."""

    def write(self, data: bytes, /) -> Any:
        """Add to it. Raises OSError."""
        ...


class Pump:
    """A pipe into a log: what is written to its `fileno()` gets there until it is closed."""

    def __init__(self, log: Writable, secrets: Collection[str] = ()) -> None:
        """`secrets`: what is masked on the way."""
        self._log, self._masker = log, Masker(secrets)
        self._source, self._sink = os.pipe()
        with contextlib.suppress(OSError):  # beyond what this user may have
            fcntl.fcntl(self._sink, fcntl.F_SETPIPE_SZ, CHUNK)
        self.problem: OSError | None = None
        """Why the output could not be written, if so: it is read on nevertheless, as the program would block."""
        self._thread = threading.Thread(target=self._carry, name="log", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The end to write to."""
        return self._sink

    def close(self) -> None:
        """Wait for the last of it, not for what a process that cannot be killed may still print."""
        os.close(self._sink)
        self._thread.join(END_S)

    def _carry(self) -> None:
        with os.fdopen(self._source, "rb", buffering=0) as source:
            while data := source.read(CHUNK):
                self._add(self._masker.feed(data))
        self._add(self._masker.end())

    def _add(self, data: bytes) -> None:
        try:
            self._log.write(data)
        except OSError as error:
            self.problem = self.problem or error
