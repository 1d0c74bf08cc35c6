"""Excel workbooks: each visible sheet that holds something, read row by row."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tunesmith.etl.cells import array_of, tell
from tunesmith.etl.messages import Messages, Unreadable
from tunesmith.etl.sheets import CELLS, ROWS, Sheet, blanks_dropped, column_names
from tunesmith.etl.xlsx_archive import check_sizes, peculiarities

LARGEST_SHEET = 1_048_576
"""Rows of a sheet, as Excel has it; a file may name larger numbers."""
MISSING = {"#N/A", "#N/A N/A"}
ERRORS = {"#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#SPILL!", "#CALC!", "#GETTING_DATA"}
Row = tuple[Any, ...]


def read_xlsx(path: Path, table: str, messages: Messages) -> Iterator[Sheet]:
    """The tables of a workbook: its only sheet under the file's name, several under their own. Raises Unreadable."""
    with path.open("rb") as stream:
        check_sizes(stream)
        workbook = _opened(stream)
        filled = [sheet for sheet in map(_SheetRows, _visible(workbook, table, messages)) if sheet.width]
        if not filled:
            raise Unreadable("the workbook has no visible sheet that holds anything")
        with zipfile.ZipFile(stream) as archive:
            for sheet in filled:
                name = table if len(filled) == 1 else sheet.title
                _tell_peculiarities(archive, sheet, name, messages)
                yield Sheet(name, sheet.blocks(name, messages))


def _opened(stream: Any) -> Any:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and other things that are no data
            return openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # openpyxl lets anything out: KeyError, TypeError, ParseError, BadZipFile
        raise Unreadable(f"the file is no Excel workbook that can be read ({_said(error)})") from error


def _visible(workbook: Any, table: str, messages: Messages) -> Iterator[Any]:
    for sheet in workbook.worksheets:
        if sheet.sheet_state == "visible":
            yield sheet
        else:
            messages.add("info", f"sheet {sheet.title!r} is hidden; it was left out", table)


def _tell_peculiarities(archive: zipfile.ZipFile, sheet: _SheetRows, table: str, messages: Messages) -> None:
    try:
        found = peculiarities(archive, sheet.path)
    except (zipfile.BadZipFile, zlib.error, OSError, KeyError) as error:
        raise Unreadable(f"sheet {sheet.title!r} is damaged ({_said(error)})") from error
    if found.merged:
        text = "the sheet has merged cells; the value counts for the first cell of each, the others are without one"
        messages.add("warning", text, table)
    text = "the formula was never computed; open the workbook in Excel or LibreOffice, save it, and send it again"
    cells = [(None, f"{cell}: {text}") for cell in found.uncomputed]
    messages.add_rows("critical", cells, found.uncomputed_count, "uncomputed", table, None)


class _SheetRows:
    """The rows of a sheet: the first ones looked at, the others still to come."""

    def __init__(self, sheet: Any) -> None:
        self.title: str = sheet.title
        self.path: str = sheet._worksheet_path
        sheet.reset_dimensions()  # what a file says of them may be wrong, or a billion cells
        self._rows = self._filled(sheet.iter_rows(values_only=True))
        self.blank = self.width = 0
        first = self._next(2)
        self.header, self.titles = (first[0] if first else ()), []
        while len(first) > 1 and _count(first[0]) == 1 < _count(first[1]):  # a title above the table
            self.titles.append(str(next(cell for cell in first[0] if cell is not None)))
            first = [first[1], *self._next(1)]
            self.header = first[0]
        self._rows = chain(first[1:], self._rows)
        named = [number for number, cell in enumerate(self.header) if cell is not None]
        self.left, self.width = (named[0], named[-1] - named[0] + 1) if named else (0, 0)

    def blocks(self, table: str, messages: Messages) -> Iterator[pa.RecordBatch]:
        for title in self.titles:
            messages.add("warning", f"{title!r} above the table was taken as a title, not as data", table)
        names = column_names(self.header[self.left : self.left + self.width], table, messages)
        size = max(1, min(ROWS, CELLS // self.width))
        number = 0
        while rows := self._next(size):
            yield self._block(rows, names, number, table, messages)
            number += len(rows)
        blanks_dropped(self.blank, table, messages)
        if not number:
            messages.add("warning", "the sheet holds the columns' names, and no rows", table)
            yield pa.record_batch([pa.array([], pa.string())] * self.width, names)

    def _block(self, rows: list[Row], names: list[str], before: int, table: str, messages: Messages) -> pa.RecordBatch:
        fitted = []
        for number, row in enumerate(rows, before + 1):
            if any(cell is not None for cell in (*row[: self.left], *row[self.left + self.width :])):
                text = "cells left or right of the columns that have names are left out"
                messages.add_rows("warning", [(number, text)], 1, text, table, None)
            cells = row[self.left : self.left + self.width]
            fitted.append(cells + (None,) * (self.width - len(cells)))
        arrays = []
        for name, cells in zip(names, zip(*fitted, strict=True), strict=True):
            array, note = array_of(_without_errors(cells, before, name, table, messages))
            arrays.append(array)
            tell(note, before, table, name, messages)
        return pa.record_batch(arrays, names)

    def _filled(self, rows: Iterator[Row]) -> Iterator[Row]:
        blank = 0  # those at the end are no rows
        for number, row in enumerate(rows, 1):
            if number > LARGEST_SHEET:
                raise Unreadable(f"sheet {self.title!r} names rows beyond {LARGEST_SHEET:,}, which no sheet has")
            if all(cell is None or cell == "" for cell in row):
                blank += 1
                continue
            self.blank += blank if self.width else 0
            blank = 0
            yield tuple(None if cell == "" else cell for cell in row)

    def _next(self, count: int) -> list[Row]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return list(islice(self._rows, count))
        except Unreadable:
            raise
        except Exception as error:  # as above: a damaged sheet fails in many ways
            raise Unreadable(f"sheet {self.title!r} is damaged ({_said(error)})") from error


def _without_errors(cells: Row, before: int, column: str, table: str, messages: Messages) -> Row:
    """The cells with Excel's error values taken away, which are told of."""
    if not any(isinstance(cell, str) and cell.startswith("#") for cell in cells):
        return cells
    errors = [(before + n, cell) for n, cell in enumerate(cells, 1) if isinstance(cell, str) and cell in ERRORS]
    found = [(row, f"{cell} is an error of Excel's; the cell is left without a value") for row, cell in errors]
    messages.add_rows("warning", found, len(found), "error value", table, column)
    return tuple(None if isinstance(cell, str) and cell in ERRORS | MISSING else cell for cell in cells)


def _count(row: Row) -> int:
    return sum(cell is not None for cell in row)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
