"""Reading metrics: JSON lines that a command appends to a file, and numbers that it prints."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuners.tools.environment import inherited
from tuners.tools.process import Stream
from tunesmith.domain import finite

MAX_METRICS = 1000
"""Different metrics of one trial, at most; the others are dropped."""
MAX_NAME = 200
"""Characters of a metric's name, at most."""
MAX_PROBLEMS = 20
"""Problems that are told, at most."""
MAX_LINE = 1 << 20
"""Bytes of a line, at most: a longer one is taken in pieces, so that memory stays bounded."""


def metric_of(name: str, value: Any) -> float | None:
    """The value as a metric's, or None for what is no finite number, or has a name that cannot be stored."""
    named = 0 < len(name) <= MAX_NAME and name.isprintable()  # no NUL, no lone surrogate
    return finite(value) if named and not isinstance(value, str | bool) else None


class MetricsFile:
    """A file of JSON lines, read while it grows; `{"loss": 0.3, "step": 7}`: with a step they are intermediate values.

    The last intermediate value of a metric is its final one, unless a line without a step gives it one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._last: dict[str, float] = {}
        self._stated: dict[str, float] = {}
        self._offset = 0
        self._partial = b""

    @property
    def final(self) -> dict[str, float]:
        """Metric -> final value, as far as it was read."""
        return self._last | self._stated

    def read(self, ended: bool = False) -> list[tuple[str, int, float]]:
        """The intermediate values (metric, step, value) since the last call; `ended`: no more will come."""
        lines = (line for line in self._lines(ended) if line.strip())
        return [measured for line in lines for measured in self._parse(line)]

    def _lines(self, ended: bool) -> Iterator[bytes]:
        try:
            with open(self.path, "rb", opener=_opened) as stream:
                if os.fstat(stream.fileno()).st_size < self._offset:  # written anew instead of appended to
                    self._offset, self._partial = 0, b""
                stream.seek(self._offset)
                while data := stream.read(MAX_LINE):
                    self._offset += len(data)
                    *lines, self._partial = (self._partial + data).split(b"\n")
                    yield from lines
                    if len(self._partial) > MAX_LINE:
                        yield self._partial
                        self._partial = b""
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._problem("it is a link; write a file")
            return
        if ended:
            last, self._partial = self._partial, b""
            yield last

    def _parse(self, line: bytes) -> list[tuple[str, int, float]]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self._problem(f"no JSON object: {line[:100].decode(errors='replace')!r}")
            return []
        step = record.pop("step", None)
        whole = isinstance(step, int | float) and not isinstance(step, bool) and step == finite(step) and step % 1 == 0
        if step is not None and (not whole or abs(step) >= 2**62):
            self._problem(f"step {step!r:.100} is no whole number")
            return []
        numbers = self._numbers(record, self._stated if step is None else self._last)
        return [] if step is None else [(name, int(step), value) for name, value in numbers.items()]

    def _numbers(self, record: Mapping[str, Any], known: dict[str, float]) -> dict[str, float]:
        numbers = {}
        for name, value in record.items():
            number = metric_of(name, value)
            if number is None:
                self._problem(f"{name[:MAX_NAME]}: {value!r:.100} is no finite number")
            elif name in known or len(known) < MAX_METRICS:
                numbers[name] = known[name] = number
            else:
                self._problem(f"{name}: there are {MAX_METRICS} metrics already")
        return numbers

    def _problem(self, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)


def _opened(path: str, flags: int) -> int:
    """No link, which may lead to what only the platform may read; and no waiting for who writes to a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


class Patterns:
    """Regular expressions over the lines of a command's output, in a process of their own (see matcher.py)."""

    def __init__(self, patterns: Mapping[str, str], log: Stream) -> None:
        """Start it; the output goes on to `log`. Raises OSError."""
        self._names = list(patterns)
        self._results = os.memfd_create("results")
        self._memory = struct.Struct(f"{1 + len(patterns)}d")
        os.pwrite(self._results, self._memory.pack(-1.0, *[math.nan] * len(patterns)), 0)
        request = os.memfd_create("patterns")
        read_end, self.stdout = os.pipe()
        try:
            os.pwrite(request, json.dumps(list(patterns.values())).encode(), 0)
            self._process = self._start(request, read_end, log)
        except BaseException:
            os.close(self.stdout)
            os.close(self._results)
            raise
        finally:
            os.close(request)
            os.close(read_end)
        self._open = True

    def _start(self, request: int, source: int, log: Stream) -> subprocess.Popen[bytes]:
        script = str(Path(__file__).with_name("matcher.py"))
        arguments = [str(request), str(self._results), str(os.getpid())]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", script, *arguments],
            stdin=source,
            stdout=log.fileno(),
            stderr=subprocess.DEVNULL,
            pass_fds=[request, self._results],
            start_new_session=True,
            env=inherited(),
        )

    @property
    def found(self) -> dict[str, float]:
        """Metric -> its last match so far."""
        values = self._read()[1:]
        return {name: value for name, value in zip(self._names, values, strict=True) if not math.isnan(value)}

    @property
    def trying(self) -> str | None:
        """The pattern that is being looked for just now."""
        number = int(self._read()[0])
        return None if number < 0 else self._names[number]

    def _read(self) -> tuple[float, ...]:
        return self._memory.unpack(os.pread(self._results, self._memory.size, 0))

    def ended(self, within_s: float) -> bool:
        """Whether the output was seen to its end, or is within so many seconds; nothing more may be written to it."""
        if self._open:
            self._open = False
            os.close(self.stdout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    @property
    def broken(self) -> bool:
        """Whether it ended before its time."""
        return bool(self._process.returncode)

    def close(self) -> None:
        """End it, whatever it is doing."""
        if not self.ended(0):
            self._process.kill()
            self._process.wait()
        os.close(self._results)
