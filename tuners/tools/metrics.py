"""Reading metrics: JSON lines that a command appends to a file, and numbers that it prints."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tunesmith.domain import finite

MAX_METRICS = 1000
"""Different metrics of one trial, at most; the others are dropped."""


class MetricsFile:
    """A file of JSON lines, read while it grows: `{"loss": 0.3, "step": 7}`; with a `step` the values are intermediate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.final: dict[str, float] = {}
        self.problems: list[str] = []
        self._offset = 0
        self._partial = b""

    def read(self, ended: bool = False) -> list[tuple[str, int, float]]:
        """The intermediate values (metric, step, value) that are new since the last call; `ended`: no more will come."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        lines = (self._partial + data).split(b"\n")
        self._partial = b"" if ended else lines.pop()
        return [measured for line in lines if line.strip() for measured in self._parse(line)]

    def _parse(self, line: bytes) -> list[tuple[str, int, float]]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            self.problems.append(f"no JSON object: {line[:100].decode(errors='replace')!r}")
            return []
        step = record.pop("step", None)
        numbers = self._numbers(record)
        if step is None:
            self.final |= numbers
            return []
        if isinstance(step, bool) or finite(step) is None or abs(step) >= 2**62:
            self.problems.append(f"step {step!r} is no number")
            return []
        # The last intermediate value is the final one, unless a line without a step says otherwise.
        self.final |= numbers
        return [(name, int(step), value) for name, value in numbers.items()]

    def _numbers(self, record: Mapping[str, Any]) -> dict[str, float]:
        numbers = {}
        for name, value in record.items():
            number = None if isinstance(value, str) else finite(value)
            if number is None:
                self.problems.append(f"{name}: {value!r} is no finite number")
            elif len(name) <= 200 and len(self.final) < MAX_METRICS:
                numbers[name] = number
        return numbers


class Patterns:
    """Regular expressions over the lines of a stream; the last match of each counts."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.found: dict[str, float] = {}
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}

    def copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Copy a stream to its end, looking at every line on the way."""
        for line in source:
            target.write(line)
            target.flush()
            text = line.decode(errors="replace")
            for name, pattern in self._patterns.items():
                for match in pattern.finditer(text):
                    value = finite(match.group(1))
                    if value is not None:
                        self.found[name] = value
