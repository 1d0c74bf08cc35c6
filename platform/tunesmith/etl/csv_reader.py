"""CSV files: fast through Arrow, and where a row does not fit, row by row with Python's reader, which can say why."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from tunesmith.csv_separators import LARGEST_CELL
from tunesmith.etl.csv_text import Layout, as_utf8, layout_of, lines_of
from tunesmith.etl.messages import Messages, Unreadable
from tunesmith.etl.sheets import CELLS, ROWS, Sheet, blanks_dropped, column_names, without_blank_rows
from tunesmith.etl.staging import empty_block

BLOCK = 4 << 20
MARK = "\x00end\x00"
"""No file that is read has it: NUL bytes are refused."""


def read_csv(path: Path, table: str, directory: Path, messages: Messages) -> Iterator[Sheet]:
    """The one table of a CSV file. Raises Unreadable."""
    text = as_utf8(path, directory / "text", table, messages)
    layout = layout_of(text)
    names = column_names(layout.header, table, messages)
    yield Sheet(table, _Rows(text, layout, names, table, messages).blocks(), True, layout.separator == ";")


class _Rows:
    def __init__(self, path: Path, layout: Layout, names: list[str], table: str, messages: Messages) -> None:
        self.path, self.layout, self.names, self.table, self.messages = path, layout, names, table, messages
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.kept = self.blank = 0

    def blocks(self) -> Iterator[pa.RecordBatch]:
        read = 0
        try:
            for block in self._fast():
                read += block.num_rows
                kept = without_blank_rows(block)
                self.kept += kept.num_rows
                self.blank += block.num_rows - kept.num_rows
                yield kept
        except pa.ArrowInvalid:  # a row of another width, a quote left open, a cell longer than a block
            yield from self._patiently(read)
        blanks_dropped(self.blank, self.table, self.messages)
        if not self.kept:
            self.messages.add("warning", "the file holds the columns' names, and no rows", self.table)
            yield empty_block(self.schema)

    def _fast(self) -> Iterator[pa.RecordBatch]:
        """Raises ArrowInvalid where something is odd."""
        if "\n" in "".join(self.layout.header):
            raise pa.ArrowInvalid("Arrow skips lines, not rows")
        try:
            reader = arrow_csv.open_csv(
                str(self.path),
                read_options=arrow_csv.ReadOptions(
                    block_size=BLOCK, column_names=self.names, skip_rows=self.layout.lines_before
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.layout.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=self.schema, null_values=[""], strings_can_be_null=True
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise
        block = None
        with reader:
            for block in reader:
                yield block
        if block is not None and self._ends_open(block.column(block.num_columns - 1)):
            raise pa.ArrowInvalid("a quote left open near the end, which Arrow takes as it is")

    def _ends_open(self, cells: pa.Array) -> bool:
        last = cells[-1].as_py() if len(cells) else None
        if last is None or "\n" not in last:
            return False
        with self.path.open("rb") as stream:
            stream.seek(max(0, self.path.stat().st_size - 4096))
            return not stream.read().rstrip().endswith(b'"')

    def _patiently(self, skipped: int) -> Iterator[pa.RecordBatch]:
        """The rows after the first `skipped`, which may include blank ones."""
        size = max(1, min(ROWS, CELLS // len(self.names)))
        rows: list[list[str | None]] = []
        for row in islice(self._parsed(), skipped, None):
            if not any(row):
                self.blank += 1
                continue
            self.kept += 1
            rows.append(self._fitted(row))
            if len(rows) >= size:
                yield self._block(rows)
                rows = []
        if rows:
            yield self._block(rows)

    def _parsed(self) -> Iterator[list[str]]:
        csv.field_size_limit(LARGEST_CELL)
        lines = lines_of(self.path, self.layout.lines_before, MARK)
        reader = csv.reader(lines, delimiter=self.layout.separator)
        line = read = 0
        try:
            for row in reader:
                if row == [MARK]:
                    return
                if row and MARK in row[-1]:
                    raise self._open_quote(line, read, "the file ends in it")
                line = reader.line_num
                if row:
                    read += 1
                    yield row
        except csv.Error as error:
            raise self._open_quote(line, read, str(error)) from error

    def _open_quote(self, line: int, read: int, reason: str) -> Unreadable:
        at = self.layout.lines_before + line + 1
        text = f'a quote (") in the row that begins in line {at} of the file is never closed ({reason})'
        return Unreadable(text, self.table, row=read - self.blank + 1)

    def _fitted(self, row: list[str]) -> list[str | None]:
        """The row with as many cells as the header; tells where cells had to be added or do not fit."""
        cells = [cell or None for cell in row]
        width = len(self.names)
        if len(cells) < width:
            text = f"the row has {len(cells)} cells, the header {width}; the cells that lack are left empty"
            self.messages.add_rows("warning", [(self.kept, text)], 1, "short row", self.table, None)
            return cells + [None] * (width - len(cells))
        if any(cells[width:]):
            text = (
                f"the row has {len(cells)} cells, the header {width}; "
                f"a cell that holds {self.layout.separator!r} must stand in quotes"
            )
            self.messages.add_rows("critical", [(self.kept, text)], 1, "long row", self.table, None)
        return cells[:width]

    def _block(self, rows: list[list[str | None]]) -> pa.RecordBatch:
        columns = zip(*rows, strict=True)
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=self.schema)
