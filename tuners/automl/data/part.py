"""One file of a table, or what stands for one: its columns, and its rows in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa


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
