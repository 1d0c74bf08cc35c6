"""How a CSV file is laid out, to train on or to predict: its separator, its header, and where its rows begin."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass

from tunesmith.automl.problems import check_columns, invalid, invalid_line
from tunesmith.csv_separators import separator_of
from tunesmith.errors import InvalidData

SEPARATORS = ",;\t"
HEAD = 1 << 20
"""Bytes that the layout is found in."""
LINES = 200
"""Lines that the separator is guessed from."""
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
"""Cells that say that a value is missing."""
NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
"""Cells that are numbers."""
BINARY = "it holds a NUL byte, as no CSV file in UTF-8 does; save it as CSV in UTF-8, or as Parquet"


@dataclass(frozen=True)
class Layout:
    """How a CSV file is laid out."""

    separator: str
    columns: list[str]
    header_bytes: int
    """Bytes up to the end of the header."""
    header_lines: int
    """Lines up to there."""
    bytes_per_row: float
    """What a row takes in the file, about; 0: there are none."""

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers may be written 1,5."""
        return self.separator == ";"


def layout_of(name: str, head: bytes, whole: bool) -> Layout:
    """The layout by the file's first bytes; `whole`: there are no more. Raises InvalidData."""
    text = _decoded(name, head, whole)
    lines = list(io.StringIO(text, newline=""))
    if not whole and len(lines) > 1:
        lines.pop()  # it may be cut off
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if blank == len(lines):
        raise invalid(name, "the file holds only blank lines; its first line has to name the columns")
    first = lines[blank : blank + LINES]
    separator = separator_of(first, SEPARATORS)
    reader = csv.reader(lines[blank:], delimiter=separator)
    columns = [column.strip() for column in next(reader)]
    ends = blank + reader.line_num
    if not whole and ends == len(lines):
        raise invalid(name, f"the line with the columns' names does not end within {HEAD:,} bytes")
    check_columns(name, columns)
    rows = lines[ends:]
    row_bytes = sum(len(line.encode()) for line in rows) / len(rows) if rows else 0.0
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    return Layout(separator, columns, mark + len("".join(lines[:ends]).encode()), ends, row_bytes)


def not_utf8(name: str, line: int) -> InvalidData:
    """The error for a line that is no UTF-8."""
    return invalid_line(name, line, "it is not UTF-8 text; save the file as UTF-8 (in Excel: CSV UTF-8)")


def _decoded(name: str, head: bytes, whole: bool) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise not_utf8(name, 1)
    if (zero := head.find(0)) >= 0:
        raise invalid_line(name, head.count(b"\n", 0, zero) + 1, BINARY)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head, whole).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise not_utf8(name, head.count(b"\n", 0, error.start) + 1) from None
