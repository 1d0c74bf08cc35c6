"""Rows to predict from a CSV file, read as the files that models are trained on."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from tunesmith.automl.csv_layout import HEAD, MISSING, NUMBER, Layout, layout_of, not_utf8
from tunesmith.automl.problems import invalid, invalid_line, invalid_width
from tunesmith.csv_separators import LARGEST_CELL

NUMBER_CELL = re.compile(NUMBER, re.ASCII)


def csv_rows(name: str, content: bytes, numbers: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file: floats in the columns `numbers`, texts as they are written in all others.

    Missing cells are None; what is no number in a column of numbers stays a text. Raises
    InvalidData that names the line.
    """
    layout = layout_of(name, content[:HEAD], whole=len(content) <= HEAD)
    for cells in _lines(name, content, layout):
        yield {
            column: _cell(cell, column in numbers, layout.decimal_comma)
            for column, cell in zip(layout.columns, cells, strict=True)
        }


def _lines(name: str, content: bytes, layout: Layout) -> Iterator[list[str]]:
    """The cells of each row; blank lines are no rows."""
    try:
        text = content[layout.header_bytes :].decode()
    except UnicodeDecodeError as error:
        raise not_utf8(name, content.count(b"\n", 0, layout.header_bytes + error.start) + 1) from None
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator)
    line, width, last = layout.header_lines + 1, len(layout.columns), ""
    try:
        for cells in reader:
            if cells and len(cells) != width:
                raise invalid_width(name, line, len(cells), width, layout.separator)
            if cells:
                last = cells[-1]
                yield cells
            line = layout.header_lines + reader.line_num + 1
    except csv.Error as error:
        raise invalid_line(name, line, f"it cannot be read: {error}") from error
    if "\n" in last and not text.rstrip().endswith('"'):
        raise invalid(name, 'a quote (") in its last row is never closed; close it')


def _cell(text: str, number: bool, decimal_comma: bool) -> str | float | None:
    bare = text.strip()
    if bare in MISSING:
        return None
    plain = bare.replace(",", ".") if decimal_comma else bare
    if number and NUMBER_CELL.match(plain) and math.isfinite(value := float(plain)):
        return value
    return bare
