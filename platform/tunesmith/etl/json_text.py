"""JSON values read one after another from a file of any size: those of an array, or of lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.etl.messages import Unreadable

CHUNK = 1 << 20
LARGEST_VALUE = 32 << 20
"""Characters that one value may take: it is held in memory."""
SPACE = re.compile(r"[ \t\r\n]*")


class JsonText:
    """A position in the text of a file, of which only a part is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open(encoding="utf-8-sig")
        self._decode = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0
        self._line = 1
        self._column = 1
        self._ended = False

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def peek(self) -> str:
        """The next character that is no space, without taking it; empty at the end."""
        while True:
            self._at = SPACE.match(self._held, self._at).end()  # type: ignore[union-attr]  # it matches anywhere
            if self._at < len(self._held) or not self._fill():
                return self._held[self._at : self._at + 1]

    def take(self) -> str:
        """The next character that is no space; empty at the end."""
        found = self.peek()
        self._at += len(found)
        return found

    def value(self) -> Any:
        """The next value. Raises Unreadable: it is no JSON, or too large."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except json.JSONDecodeError as error:
                if self._may_go_on(error) and self._fill():
                    continue
                raise self.wrong(error.msg, error.pos) from error
            except RecursionError as error:
                raise self.wrong("values are nested too deeply", self._at) from error
            except ValueError as error:  # an integer of thousands of digits
                raise self.wrong(str(error).partition(";")[0], self._at) from error
            if end == len(self._held) and not isinstance(value, dict | list | str) and self._fill():
                continue  # a number may go on
            self._at = end
            return value

    def values(self, array: bool) -> Iterator[Any]:
        """Every value of the array whose bracket was taken, or of what follows. Raises Unreadable."""
        first = True
        while (following := self.peek()) != ("]" if array else ""):
            if not following:
                raise self.wrong("the file ends within the array; was it cut off?")
            if array and not first and self.take() != ",":
                raise self.wrong("Expecting ',' or ']'", self._at - 1)
            first = False
            yield self.value()
        if array:
            self.take()

    def wrong(self, message: str, at: int | None = None) -> Unreadable:
        """An error that says where."""
        at = self._at if at is None else at
        line = self._line + self._held.count("\n", 0, at)
        start = self._held.rfind("\n", 0, at)
        column = at - start if start >= 0 else self._column + at
        return Unreadable(f"the file is no JSON from line {line}, column {column} on: {message}")

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the text may only end too early."""
        if len(self._held) - self._at > LARGEST_VALUE:
            raise self.wrong(
                f"this value is longer than {LARGEST_VALUE:,} characters; send an array of records or lines"
            )
        return error.pos > len(self._held) - 16 or error.msg.startswith(("Unterminated string", "Invalid \\"))

    def _fill(self) -> bool:
        if self._ended:
            return False
        chunk = self._stream.read(max(CHUNK, len(self._held) - self._at))
        if not chunk:
            self._ended = True
            return False
        passed = self._held[: self._at]
        self._line += passed.count("\n")
        self._column = len(passed) - passed.rfind("\n") if "\n" in passed else self._column + len(passed)
        self._held, self._at = self._held[self._at :] + chunk, 0
        return True
