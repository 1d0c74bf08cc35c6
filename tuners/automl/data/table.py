"""Tables in memory, put together from what is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import compute

from tuners.automl.data.cells import Kind
from tuners.automl.data.columns import Column
from tunesmith.automl.run import FeatureKind, Origin

FEATURES: dict[Kind, FeatureKind] = {
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.TIME: "time",
    Kind.CATEGORY: "category",
}
"""What a feature of a column's cells is."""


@dataclass(frozen=True)
class Table:
    """Features and target of some rows."""

    features: pd.DataFrame
    """Rows by features; numbers are float64 with NaN where one is missing, categories are objects with None."""
    target: pd.Series[Any]
    """A value per row, none missing: int64, float64, bool, or object where they are texts."""
    kinds: Mapping[str, FeatureKind]
    """What each feature holds; times are numbers: seconds since 1970-01-01 UTC, and so are booleans: 0 and 1."""
    origin: Origin
    """Where the rows come from, to say what is wrong with them."""
    validation: Table | None = None
    """The rows for validation, where they come from a table of their own."""


class Gathered:
    """What was read of some rows, column by column."""

    def __init__(self, features: Sequence[Column], target: Column, expected: int) -> None:
        """`expected`: how many rows there will be, about; what is reserved beyond them takes no memory."""
        self._columns = [*features, target]
        self._expected = expected + expected // 8
        self._arrays: list[Any] = [np.empty(0) for _ in self._columns]
        self._codes: list[dict[str, int]] = [{} for _ in self._columns]
        self.rows = 0

    def add(self, read: Sequence[Any]) -> None:
        """A batch: what `Column.read` made of each column."""
        start, self.rows = self.rows, self.rows + len(read[0])
        for number, found in enumerate(read):
            plain = found if isinstance(found, np.ndarray) else _codes(found, self._codes[number])
            if len(array := self._arrays[number]) < self.rows or array.dtype != plain.dtype:
                array = self._arrays[number] = self._larger(array, plain.dtype)
            array[start : self.rows] = plain

    def table(self, origin: Origin, start: int = 0, validation: Table | None = None) -> Table:
        """All that was added, its rows numbered from `start`; can be called once, as it gives its memory away."""
        index = pd.RangeIndex(start, start + self.rows)
        *features, target = self._columns
        arrays = {
            column.name: pd.Series(found := self._array(number, column), index, dtype=found.dtype, copy=False)
            for number, column in enumerate(features)
        }
        return Table(
            pd.DataFrame(arrays, index=index, copy=False),
            pd.Series(found := _target(self._array(-1, target), target), index, found.dtype, target.name, copy=False),
            {column.name: FEATURES[column.kind or Kind.NUMBER] for column in features},
            origin,
            validation,
        )

    def _array(self, number: int, column: Column) -> Any:
        array, self._arrays[number] = self._arrays[number][: self.rows], None
        if column.kind is not Kind.CATEGORY:
            return array
        words = np.array([*self._codes[number], None], dtype=object)
        return words[array]

    def _larger(self, array: Any, kind: Any) -> Any:
        """Room for more rows, and for cells of another type where it showed late what the column holds."""
        made = np.empty(max(self._expected, self.rows + self.rows // 2), kind)
        made[: len(array)] = array if array.dtype == kind else 0
        return made


def _codes(encoded: Any, known: dict[str, int]) -> Any:
    """The categories' numbers by `known`, which learns those that are new; -1: missing."""
    own = [known.setdefault(word, len(known)) for word in encoded.dictionary.to_pylist()]
    return np.array([*own, -1], dtype=np.int32)[compute.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def _target(values: Any, column: Column) -> Any:
    if column.kind is Kind.BOOLEAN:
        return values.astype(bool)
    return values.astype(np.int64) if column.kind is Kind.NUMBER and column.whole else values
