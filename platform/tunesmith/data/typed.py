"""A stored column in the Arrow type that its pandas type stands for: times of ISO texts, numbers of JSON numbers."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionDtype

from tunesmith.data.cells import to_values
from tunesmith.errors import InvalidData

Column = Any
"""A pa.Array or a pa.ChunkedArray."""
UNITS = ("s", "ms", "us", "ns")
BEGIN, END = pd.Timestamp.min.as_unit("s").tz_localize("UTC"), pd.Timestamp.max.as_unit("s").tz_localize("UTC")
"""What nanoseconds in 64 bits reach to."""


class Unfit(ValueError):
    """A value is none of the column's type."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


@lru_cache(maxsize=1000)
def find_dtype(name: str) -> np.dtype[Any] | ExtensionDtype:
    """pandas' type of that name. Raises ValueError: there is none, or none that data have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that will go some day
        try:
            found = pd.api.types.pandas_dtype(name)
        except (TypeError, ValueError, SyntaxError, NotImplementedError):
            raise ValueError(f"{name!r} is no type of pandas") from None
    if found.kind in "Vc" or isinstance(found, pd.IntervalDtype):
        raise ValueError(f"{name!r} is no type that a dataset can hold")
    return found


def typed(column: Column, name: str, text: bool) -> Column:
    """The column as its pandas type has it; unchanged where that says nothing. Raises Unfit: a value is none."""
    dtype = find_dtype(name)
    target = arrow_type(dtype)
    if target is None or column.type == target:
        return column
    if pa.types.is_large_string(column.type) and pa.types.is_string(target):
        return column  # texts as pandas has them
    if pa.types.is_null(column.type):
        return column.cast(target)
    if pa.types.is_timestamp(target):
        return _times(column, target, name, text)
    return _cast(column, target, name, text)


def arrow_type(dtype: np.dtype[Any] | ExtensionDtype) -> pa.DataType | None:
    """The Arrow type that a pandas type stands for; None: values of any type, or of one that Arrow does not have."""
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.pyarrow_dtype
    if isinstance(dtype, pd.StringDtype):
        return pa.string()
    if isinstance(dtype, pd.SparseDtype):
        return arrow_type(dtype.subtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pa.timestamp(dtype.unit, dtype.tz)
    if dtype.kind in "Mm":
        unit = np.datetime_data(np.dtype(dtype.name))[0] if isinstance(dtype, np.dtype) else "ns"
        unit = unit if unit in UNITS else ("ns" if unit == "generic" else "s")
        return pa.timestamp(unit) if dtype.kind == "M" else pa.duration(unit)
    numpy_dtype = getattr(dtype, "numpy_dtype", dtype)  # of Int64, Float64, boolean too
    if isinstance(numpy_dtype, np.dtype) and numpy_dtype.kind in "iufb" and numpy_dtype.itemsize <= 8:
        return pa.from_numpy_dtype(numpy_dtype)
    return None


def _cast(column: Column, target: pa.DataType, name: str, text: bool) -> Column:
    numbers = pa.types.is_integer(target) or pa.types.is_floating(target)
    if not text and (_numeric(column.type) if numbers else not pa.types.is_temporal(target)):
        try:
            return column.cast(target, safe=not pa.types.is_floating(target))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # the value that does not fit is found below
    return pa.array([_fit(value, target, name, row) for row, value in enumerate(to_values(column, text))], target)


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _fit(value: Any, target: pa.DataType, name: str, row: int) -> Any:
    """The value as Arrow takes it for the type."""
    if value is None:
        return None
    try:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if pa.types.is_floating(target) and number:
            return float(value)
        if pa.types.is_integer(target) and number and int(value) == value:
            return pa.scalar(int(value), target).as_py()
        if pa.types.is_duration(target):
            return pa.scalar(pd.Timedelta(value), target).as_py()
        if not pa.types.is_integer(target) and not pa.types.is_floating(target):
            return pa.scalar(value, target).as_py()
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        pass
    raise Unfit(row, f"{_shown(value)} is no {name}")


def _times(column: Column, target: pa.DataType, name: str, text: bool) -> Column:
    """Times of ISO 8601 texts; those without a zone are UTC where the type has one, and the other way round."""
    if pa.types.is_temporal(column.type):
        return column.cast(target)
    if not text and not pa.types.is_string(column.type):
        row, value = next((row, value) for row, value in enumerate(column.to_pylist()) if value is not None)
        raise Unfit(row, f"{_shown(value)} is no {name}; give times as texts in ISO 8601")
    try:
        return column.cast(pa.timestamp(target.unit, target.tz and "UTC")).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # in another form of ISO 8601, of various zones, or beyond the unit
    values = pd.Series(to_values(column, text), dtype=object)
    found = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
    if (wrong := found.isna() & values.notna()).any():
        row = int(wrong.to_numpy().argmax())
        raise Unfit(row, f"{_shown(values[row])} is no {name}; give times as texts in ISO 8601")
    try:
        naive = pa.array(found.dt.tz_localize(None).dt.as_unit(target.unit))
    except ValueError:
        beyond = pd.to_datetime(values, format="ISO8601", utc=True).dt.as_unit("s")
        row = int(((beyond < BEGIN) | (beyond > END)).to_numpy().argmax())
        raise Unfit(row, f"{_shown(values[row])} does not fit {name}; make the type datetime64[us]") from None
    return naive.cast(target)


def _shown(value: Any) -> str:
    shown = re.sub(r"[\ud800-\udfff]", "?", repr(value))
    return shown if len(shown) <= 100 else shown[:97] + "..."


def invalid(table: str, message: str, column: str | None = None, row: int | None = None) -> InvalidData:
    """What is wrong in a table, and where; rows count from 0."""
    where = f"table {table!r}"
    where += f", column {column!r}" if column is not None else ""
    where += f", row {row}" if row is not None else ""
    details = {"table": table, "column": column, "row": row}
    return InvalidData(f"{where}: {message}", **{name: value for name, value in details.items() if value is not None})
