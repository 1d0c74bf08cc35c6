"""Where the rows of a table come from, as people are told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuners.automl.data.part import Part
from tuners.automl.data.problems import cell_at, invalid_cell
from tunesmith.automl.problems import invalid
from tunesmith.errors import InvalidData


@dataclass(frozen=True)
class Origin:
    """The files of a table. See tunesmith.automl.Origin."""

    name: str
    """What people call it: the path that they wrote, or the dataset and its table."""
    parts: Sequence[Part]
    """Its files, in order."""
    lengths: Mapping[Part, int]
    """How many rows each of them has; filled while they are read."""

    def where(self, row: int, column: str | None = None) -> str:
        """What people call a row (from 0), or a cell of it: file, line or row of the file, column."""
        part, row = self._place(row)
        return cell_at(part, part.locate(row), column)

    def invalid(self, problem: str, column: str | None = None, row: int | None = None) -> InvalidData:
        """An error about the table, a column, or a row (from 0)."""
        if row is None:
            return invalid(self.name, problem, column)
        part, row = self._place(row)
        return invalid_cell(part, row, problem, column)

    def _place(self, row: int) -> tuple[Part, int]:
        """The file that has a row, and which one it is there."""
        *before, last = self.parts
        for part in before:
            length = self.lengths.get(part, part.rows)
            if row < length:
                return part, row
            row -= length
        return last, row
