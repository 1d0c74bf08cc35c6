"""CSV files, read fast by Arrow; where that fails, Python's reader finds the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import csv as arrow_csv

from tuners.automl.data.part import Part
from tuners.automl.data.problems import reading
from tunesmith.automl.csv_layout import MISSING, layout_of, not_utf8
from tunesmith.automl.problems import invalid, invalid_line, invalid_width
from tunesmith.csv_separators import LARGEST_CELL
from tunesmith.errors import InvalidData

BLOCK = 4 << 20
"""Bytes that are parsed at once; no row may be longer."""


class CsvPart(Part):
    """A CSV file with a header, in UTF-8."""

    unit = "line"
    text = True

    def __init__(self, name: str, open_file: Callable[[], Any], size: int, head: bytes) -> None:
        """`head`: its first bytes. Raises InvalidData."""
        self.name, self._open, self.stored_bytes = name, open_file, size
        self._layout = layout_of(name, head, whole=len(head) >= size)
        self.schema = pa.schema([(column, pa.string()) for column in self._layout.columns])
        self.decimal_comma = self._layout.decimal_comma
        rest = size - self._layout.header_bytes
        self.rows = round(rest / self._layout.bytes_per_row) if self._layout.bytes_per_row else 0

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows, as text; missing cells are null."""
        with reading(self.name), self._open() as stream:
            stream.seek(self._layout.header_bytes)
            try:
                yield from self._parsed(stream, columns)
            except pa.ArrowInvalid as error:
                self._explain(error)

    def locate(self, row: int) -> int:
        """The line that a row (from 0) begins in; reads the file up to there."""
        for line, _ in islice(self._rows(), row, None):
            return line
        return row + 2  # the file has become shorter meanwhile

    def _parsed(self, stream: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if stream.tell() >= stream.size():
            return  # Arrow takes a file without rows for an error
        last, batch, rows = self.columns[-1], None, 0
        with arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(block_size=BLOCK, column_names=list(self.columns)),
            parse_options=arrow_csv.ParseOptions(delimiter=self._layout.separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(dict.fromkeys((*columns, last))),
                column_types=self.schema,
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        ) as reader:
            for batch in reader:
                rows += batch.num_rows
                yield batch.select(list(columns))
        if batch is not None and self._ends_open(batch.column(last)):
            problem = 'a quote (") in the row that begins here is never closed; close it'
            raise invalid_line(self.name, self.locate(rows - 1), problem)

    def _ends_open(self, cells: Any) -> bool:
        """Whether the last cell goes on over lines to the file's end without a quote there; Arrow takes it as it is."""
        if not len(cells) or "\n" not in (cells[-1].as_py() or ""):
            return False
        with self._open() as stream:
            stream.seek(max(0, stream.size() - 4096))
            return not stream.read().rstrip().endswith(b'"')

    def _explain(self, error: pa.ArrowInvalid) -> NoReturn:
        """Raise InvalidData that names the line that Arrow could not read."""
        if "Empty CSV" in str(error):  # blank lines only
            raise invalid(self.name, "the file holds the columns' names, and no rows") from error
        width, separator = len(self.columns), self._layout.separator
        longest = (0, 0)
        try:
            for line, cells in self._rows():
                if len(cells) != width:
                    raise invalid_width(self.name, line, len(cells), width, separator) from error
                longest = max(longest, (sum(map(len, cells)), line))
        except UnicodeDecodeError:
            raise not_utf8(self.name, self._undecoded()) from error
        raise self._too_long(longest[1]) from error

    def _too_long(self, line: int) -> InvalidData:
        problem = f"the row that begins here is longer than {BLOCK:,} bytes, or a quote in it never closed"
        return invalid_line(self.name, line, problem)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every row with the line that it begins in; blank lines are no rows."""
        csv.field_size_limit(LARGEST_CELL)
        with self._open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=self._layout.separator)
            line, header = 1, True
            try:
                for cells in reader:
                    if any(cells) and header:
                        header = False
                    elif cells:
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as reason:  # a cell of more than LARGEST_CELL
                raise self._too_long(line) from reason

    def _undecoded(self) -> int:
        """The first line that is no UTF-8."""
        with self._open() as stream:
            for number, line in enumerate(io.BufferedReader(stream), 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 1  # the file has become another one meanwhile
