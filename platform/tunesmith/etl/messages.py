"""What an ETL run has to say: messages, and the collector that keeps a flood of them short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from tunesmith.domain.session import TableInfo
from tunesmith.domain.value import Value

Severity = Literal["info", "warning", "error", "critical"]
SHOWN = 20
"""Messages of one sort that are given for a column; the rest are counted."""
LARGEST = 1000
"""Messages that are given in all."""
HOPELESS = 10_000
"""Critical findings in one table after which the rest of it is not looked at."""


KEPT = "kept as texts"
"""The sort of finding that a column's values became texts."""


class Message(Value):
    """One finding of an ETL run."""

    severity: Severity
    """`critical`: nothing was stored; `error`: stored although the data break a rule; `warning`, `info`: to know."""
    table: str | None = None
    """The table; a file's name where no table is known."""
    column: str | None = None
    """The column."""
    row: int | None = None
    """The data row, from 1: the header and blank rows are not counted."""
    message: str
    """What was found, and what to do about it."""


class EtlOutcome(Value):
    """What came of an ETL run."""

    success: bool
    """Whether the tables were stored: there was no critical message."""
    tables: tuple[TableInfo, ...] = ()
    """The tables that were stored, in order."""
    bytes: int = 0
    """What they take in the storage."""
    messages: tuple[Message, ...] = ()
    """Every finding, a flood of equal ones shortened."""


class Unreadable(Exception):
    """A file, or a part of it, is not what it claims to be: a critical message."""

    def __init__(self, message: str, table: str | None = None, column: str | None = None, row: int | None = None):
        super().__init__(message)
        self.message, self.table, self.column, self.row = message, table, column, row


class Hopeless(Exception):
    """A table has so many critical findings that looking further is of no use."""


def shown(value: Any) -> str:
    """A value as messages show it."""
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


Sort = tuple[Severity, str | None, str | None, str]


class Messages:
    """Collects findings; of each sort (severity, table, column, kind) the first 20 are kept and the rest counted."""

    def __init__(self) -> None:
        self._found: dict[Sort, list[Message]] = {}
        self._counts: Counter[Sort] = Counter()
        self._critical: Counter[str | None] = Counter()

    def add(
        self,
        severity: Severity,
        message: str,
        table: str | None = None,
        column: str | None = None,
        row: int | None = None,
        kind: str | None = None,
    ) -> None:
        """Note one finding; `kind` tells what counts as equal (default: the message's text)."""
        self._note(Message(severity=severity, table=table, column=column, row=row, message=message), kind or message)

    def add_rows(
        self,
        severity: Severity,
        found: Iterable[tuple[int | None, str]],
        total: int,
        kind: str,
        table: str,
        column: str | None,
    ) -> None:
        """Note `total` findings of one kind, of which `found` (row, text) are the first. Raises Hopeless."""
        given = [Message(severity=severity, table=table, column=column, row=row, message=text) for row, text in found]
        for message in given:
            self._note(message, kind)
        if given:
            self._counts[severity, table, column, kind] += total - len(given)
        if severity == "critical":
            self._critical[table] += total
            if self._critical[table] > HOPELESS:
                raise Hopeless

    def unreadable(self, error: Unreadable, table: str) -> None:
        """Note why a file could not be read."""
        self.add("critical", error.message, error.table or table, error.column, error.row)

    def told(self, severity: Severity, table: str, column: str, kind: str) -> bool:
        """Whether a finding of this sort was noted."""
        return (severity, table, column, kind) in self._found

    @property
    def critical(self) -> bool:
        """Whether anything was found because of which nothing may be stored."""
        return any(sort[0] == "critical" for sort in self._found)

    def broken(self, table: str) -> bool:
        """Whether something critical was found in a table."""
        return any(sort[:2] == ("critical", table) for sort in self._found)

    def all(self) -> tuple[Message, ...]:
        """Every message in the order found, each sort followed by the count of those not given."""
        given: list[Message] = []
        for sort, found in self._found.items():
            given += found
            if rest := self._counts[sort] - len(found):
                severity, table, column, _ = sort
                text = f"and {rest:,} more like the {len(found)} before: {found[-1].message}"
                given.append(Message(severity=severity, table=table, column=column, message=text))
        if len(given) <= LARGEST:
            return tuple(given)
        first = sorted(given, key=lambda message: message.severity != "critical")[:LARGEST]
        text = f"and {len(given) - LARGEST:,} more messages, of this and other tables and columns"
        return (*first, Message(severity=first[-1].severity, message=text))

    def _note(self, message: Message, kind: str) -> None:
        sort = (message.severity, message.table, message.column, kind)
        self._counts[sort] += 1
        found = self._found.setdefault(sort, [])
        if len(found) < SHOWN:
            found.append(message)
