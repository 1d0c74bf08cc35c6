"""One file of a table, or what stands for one: its columns, and its rows in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from tuners.automl.data.problems import invalid


class Part(ABC):
    """One file of a table. Opening and reading it raise InvalidData."""

    unit: Literal["line", "row"] = "row"
    """What its rows are counted in for people: lines of the file, or rows from 1."""
    text: bool = False
    """Its cells are all text, and may stand for numbers."""
    decimal_comma: bool = False
    """Numbers may be written 1,5."""
    name: str
    """What people know it as."""
    schema: Any
    """Its columns' names, in order, each another one, and their Arrow types."""
    rows: int
    """How many rows it has, about."""
    stored_bytes: int
    """What its contents take in memory as they are stored, about."""

    @property
    def columns(self) -> list[str]:
        """Its columns' names, in order."""
        names: list[str] = self.schema.names
        return names

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows, in order, in bounded memory."""

    def locate(self, row: int) -> int:
        """The number that people know a row (from 0) by; may read the file."""
        return row + 1


class TablePart(Part):
    """A table that is in memory."""

    def __init__(self, name: str, table: Any) -> None:
        self.name, self._table = name, table
        self.schema, self.rows, self.stored_bytes = table.schema, table.num_rows, table.nbytes

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows."""
        yield from self._table.select(list(columns)).to_batches()


def check_columns(name: str, columns: Sequence[str]) -> None:
    """Raise InvalidData unless each column has a name of its own."""
    if not columns:
        raise invalid(name, "it has no columns")
    for number, column in enumerate(columns, 1):
        if not column:
            remedy = "give it one, or write the file without it (pandas: to_csv(index=False))"
            raise invalid(name, f"column {number} has no name; {remedy}")
    column, count = Counter(columns).most_common(1)[0]
    if count > 1:
        raise invalid(name, f"{count} columns have this name; rename all but one", column)
