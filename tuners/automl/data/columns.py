"""Columns while they are read: what their cells turn out to be, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pyarrow import compute

from tuners.automl.data.cells import (
    Kind,
    are_numbers,
    are_whole,
    kind_of,
    kind_of_type,
    parse,
    to_categories,
    to_numbers,
)
from tuners.automl.data.part import Part
from tuners.automl.data.problems import invalid_cell
from tunesmith.automl.config import DataSection
from tunesmith.automl.problems import invalid
from tunesmith.scenarios.parameters import nearest, shown

MOST = 0.8
"""Share of a column's cells from which on they are numbers, and the others mistakes."""
ENOUGH = 10
"""Numbers that there have to be for that."""


class Column:
    """A column of a table's files. First its cells settle what it holds; `settled`, that stays so."""

    def __init__(self, name: str, categorical: bool = False, target: bool = False) -> None:
        """`categorical`: it holds categories, whatever they look like; `target`: no cell may be missing."""
        self.name = name
        self.kind = Kind.CATEGORY if categorical else None
        self.settled = categorical
        self._as_numbers = False
        self.whole = True
        """All its numbers are whole ones."""
        self._target = target
        self._first: tuple[Part, Any] | None = None
        self._numbers = self._others = 0
        self._odd: tuple[Part, int, str] | None = None

    def read(self, cells: Any, part: Part, row: int) -> Any:
        """Cells of a part from a row on: an array of float64, or a dictionary array of categories.

        Raises InvalidData: a cell is infinite, or missing in the target; the type is none to train on.
        """
        found = self._texts(cells, part, row) if part.text else self._typed(cells, part)
        if isinstance(found, np.ndarray):
            self._check_finite(found, part, row)
            self.whole = self.whole and self._target and are_whole(cells, found)
        elif self._target and found.null_count:
            self._refuse_missing(part, row + int(np.argmax(found.is_null().to_numpy(zero_copy_only=False))))
        return found

    def settle(self) -> None:
        """All cells were read. Raises InvalidData: they are numbers, but for some that are text."""
        self.kind = self.kind or Kind.NUMBER
        share = self._numbers / max(1, self._numbers + self._others)
        if not self.settled and self._odd and self._numbers >= ENOUGH and share >= MOST:
            part, row, value = self._odd
            cells = "cell is text" if self._others == 1 else "cells are text"
            problem = (
                f"{shown(value)} is text in a column of numbers ({self._others:,} {cells}, {self._numbers:,} are "
                "numbers); correct it (leave it empty where the value is missing), or list the column under "
                "data.categorical"
            )
            raise invalid_cell(part, row, problem, self.name)
        self.settled = True

    def restart(self) -> bool:
        """Whether cells were read as something else before it showed what they are; they are read again then."""
        again = self.kind is Kind.CATEGORY and self._as_numbers
        self._as_numbers = False
        return again

    def _texts(self, cells: Any, part: Part, row: int) -> Any:
        self.kind = self.kind or kind_of(cells, part.decimal_comma)
        if self.kind is None:
            return self._empty(cells)
        if self.kind is not Kind.CATEGORY:
            found = parse(cells, self.kind, part.decimal_comma)
            if found is not None:
                self._count(cells, part, row)
                return found
            if self.settled:
                raise invalid(part.name, "it has changed while it was read; train again", self.name)
            self.kind, self._as_numbers = Kind.CATEGORY, True
        encoded = to_categories(cells, text=True)
        if not self.settled:
            self._tally(encoded, part, row)
        return encoded

    def _typed(self, cells: Any, part: Part) -> Any:
        try:
            kind = kind_of_type(cells.type)
        except TypeError as error:
            remedy = "leave it out with data.features, or store it as numbers or text"
            raise invalid(part.name, f"it holds {error}, which is nothing to train on; {remedy}", self.name) from None
        if kind is None and self.kind is not Kind.CATEGORY:
            return self._empty(cells)
        self.kind = self.kind or kind
        if self._first is None:
            self._first = part, cells.type
        if self.kind is Kind.CATEGORY and (self.settled or kind in (Kind.CATEGORY, None)):
            return to_categories(cells, text=False)
        if kind is not self.kind:
            before, type_ = self._first
            problem = f"it holds {cells.type}, and {before.name} has {type_} there; write both alike"
            raise invalid(part.name, problem, self.name)
        return to_numbers(cells)

    def _empty(self, cells: Any) -> Any:
        self._as_numbers = True
        return np.full(len(cells), np.nan)

    def _count(self, cells: Any, part: Part, row: int) -> None:
        """Count cells that are no categories so far."""
        if self.settled:
            return
        known = len(cells) - cells.null_count
        if self.kind is Kind.NUMBER:
            self._numbers += known
        elif known:
            self._others += known
            if self._odd is None:
                first = int(np.argmax(cells.is_valid().to_numpy(zero_copy_only=False)))
                self._odd = part, row + first, cells[first].as_py()

    def _tally(self, encoded: Any, part: Part, row: int) -> None:
        """Count the categories that are numbers, and those that are not."""
        codes = compute.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        numbers = are_numbers(encoded.dictionary, part.decimal_comma)
        counts = np.bincount(codes[codes >= 0], minlength=len(numbers))
        self._numbers += int(counts[numbers].sum())
        self._others += int(counts[~numbers].sum())
        if self._odd is None and not numbers.all():
            odd = np.append(~numbers, False)[codes]  # a missing cell is the last one
            if odd.any():
                first = int(np.argmax(odd))
                self._odd = part, row + first, encoded.dictionary[int(codes[first])].as_py()

    def _check_finite(self, values: Any, part: Part, row: int) -> None:
        infinite = np.isinf(values)
        if infinite.any():
            problem = "the value is infinite, or too large for a number; write a finite one, or none"
            raise invalid_cell(part, row + int(np.argmax(infinite)), problem, self.name)
        if self._target and (missing := np.isnan(values)).any():
            self._refuse_missing(part, row + int(np.argmax(missing)))

    def _refuse_missing(self, part: Part, row: int) -> None:
        problem = "the target is missing (NaN or empty); fill it in, or leave the row out"
        raise invalid_cell(part, row, problem, self.name)


def select(part: Part, data: DataSection) -> tuple[list[Column], Column]:
    """The features and the target of a table whose first file is `part`. Raises InvalidData that names the nearest."""
    target = data.target or part.columns[-1]
    features = data.features or tuple(name for name in part.columns if name != target)
    _check_there(part, "data.target", [target])
    _check_there(part, "data.features", features)
    _check_there(part, "data.categorical", data.categorical)
    if target in features:
        raise invalid(part.name, "it is the target and a feature at once; take it out of data.features", target)
    if len(set(features)) < len(features):
        twice = next(name for number, name in enumerate(features) if name in features[:number])
        raise invalid(part.name, "data.features names it twice", twice)
    if not features:
        raise invalid(part.name, "the target is its only column; there has to be a feature to predict it from", target)
    found = [Column(name, categorical=name in data.categorical) for name in features]
    return found, Column(target, categorical=target in data.categorical, target=True)


def check_alike(parts: Sequence[Part]) -> None:
    """Raise InvalidData unless the files of a table have the same columns."""
    first = parts[0]
    for part in parts[1:]:
        for here, there in ((part, first), (first, part)):
            more = [name for name in there.columns if name not in here.columns]
            if more:
                problem = f"there is no such column{nearest(more[0], here.columns)}, as in {there.name}"
                raise invalid(here.name, problem, more[0])


def check_validation(part: Part, train: Part, columns: Sequence[Column]) -> None:
    """Raise InvalidData unless the table for validation has the columns that are used."""
    for column in columns:
        if column.name not in part.columns:
            problem = f"there is no such column{nearest(column.name, part.columns)}, as in {train.name}"
            raise invalid(part.name, f"{problem}; both need the same columns", column.name)


def _check_there(part: Part, key: str, names: Sequence[str]) -> None:
    for name in names:
        if name not in part.columns:
            some = ", ".join(part.columns[:20]) + (", ..." if len(part.columns) > 20 else "")
            problem = f"there is no such column, as {key} wants{nearest(name, part.columns)}; it has {some}"
            raise invalid(part.name, problem, name)
