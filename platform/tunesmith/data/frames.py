"""Stored tables <-> pandas frames, with types and index."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tunesmith.data.cells import Cells, encode, from_objects, to_json, to_values
from tunesmith.data.layout import (
    Categories,
    IndexLayout,
    Layout,
    check_names,
    free_name,
    layout_of,
    plain_layout,
)
from tunesmith.data.typed import Unfit, arrow_type, find_dtype, invalid, typed


def from_frame(name: str, frame: pd.DataFrame) -> pa.Table:
    """A frame as a stored table. Raises InvalidData: a value is no data, or a column's name is no text of its own."""
    if frame.columns.nlevels > 1 or not all(isinstance(column, str) for column in frame.columns):
        raise invalid(name, "the names of columns must be texts; set frame.columns to a list of them")
    if twice := next(iter(frame.columns[frame.columns.duplicated()]), None):
        raise invalid(name, "there is another column of this name; rename one", twice)
    cells = {column: _encode(name, column, frame[column]) for column in frame.columns}
    categories = {column: found for column in cells if (found := _categories(frame[column]))}
    dtypes = {column: str(frame[column].dtype) for column in frame.columns}
    index, values = _index(name, frame)
    return assemble(name, cells, dtypes, index, values, categories)


def assemble(
    name: str,
    cells: dict[str, Cells],
    dtypes: dict[str, str],
    index: IndexLayout | None,
    values: Cells | None,
    categories: dict[str, Categories] | None = None,
) -> pa.Table:
    """A stored table of its columns and, where it is not 0, 1, 2..., its index."""
    everything = {**cells, **({index.column: values} if index is not None and values is not None else {})}
    layout = Layout(
        dtypes=dtypes,
        texts=frozenset(column for column, found in everything.items() if found.text),
        missing=frozenset(column for column, found in everything.items() if found.missing),
        categories=categories or {},
        index=index,
    )
    check_names(name, list(everything))
    table = pa.table([found.array for found in everything.values()], names=list(everything))
    return table.replace_schema_metadata(layout.mark(table.schema).metadata)


def from_arrow(name: str, table: pa.Table) -> pa.Table:
    """An Arrow table as a stored one; one that is stays as it is. Raises InvalidData: columns without names of own."""
    check_names(name, table.column_names)
    try:
        layout_of(table)
    except KeyError:
        nulls = {column: table.column(number).null_count for number, column in enumerate(table.column_names)}
        layout = plain_layout(table.schema, nulls)
        if not nulls:  # the number of rows would be nowhere
            return from_frame(name, pd.DataFrame(index=range(table.num_rows)))
        return table.replace_schema_metadata(layout.mark(table.schema).metadata)
    return table


def to_arrow(name: str, table: pa.Table) -> pa.Table:
    """A stored table with each column in its own type; still a stored one. Raises InvalidData: a value is none."""
    layout = layout_of(table)
    columns = [_typed(name, table.column(number), column, layout) for number, column in enumerate(layout.columns)]
    texts = layout.texts - {
        column for number, column in enumerate(layout.columns) if columns[number] is not table.column(number)
    }
    layout = layout.evolve(texts=texts)
    if layout.index is not None:
        columns.append(table.column(len(columns)))
    found = pa.table(columns, names=table.column_names)
    return found.replace_schema_metadata(layout.mark(found.schema).metadata)


def to_frame(name: str, table: pa.Table) -> pd.DataFrame:
    """A stored table as a frame. Raises InvalidData: a value is none of its column's type."""
    layout = layout_of(table)
    series = {
        number: _series(name, table.column(number), column, layout) for number, column in enumerate(layout.columns)
    }
    frame = pd.DataFrame(series, index=None if series else range(table.num_rows))
    if series:
        frame.columns = pd.Index(layout.columns, dtype="str")
    if layout.index is not None:
        frame.index = _to_index(name, table.column(len(layout.columns)), layout, layout.index)
    return frame


def _encode(table: str, column: str, series: pd.Series[Any]) -> Cells:
    try:
        if isinstance(series.dtype, pd.CategoricalDtype):
            return _encode(table, column, series.astype(series.cat.categories.dtype))
        if isinstance(series.dtype, pd.SparseDtype):
            return _encode(table, column, pd.Series(np.asarray(series)))
        if isinstance(series.dtype, pd.PeriodDtype):
            return encode([None if each is pd.NaT else str(each) for each in series])
        find_dtype(str(series.dtype))
        if series.dtype == object:
            return from_objects(series.tolist())
        return Cells(pa.array(series.copy(), from_pandas=True))  # of ours: Arrow shares what it can
    except (TypeError, ValueError, pa.ArrowException) as error:
        row = next(_wrong(series), None) if series.dtype == object else None
        raise invalid(table, f"{error}", column, row) from error


def _wrong(series: pd.Series[Any]) -> Iterator[int]:
    """The rows of values that are no data."""
    for row, value in enumerate(series):
        try:
            to_json(value)
        except (TypeError, ValueError, RecursionError):
            yield row


def _categories(series: pd.Series[Any]) -> Categories | None:
    if not isinstance(series.dtype, pd.CategoricalDtype):
        return None
    values = tuple(series.cat.categories.tolist())
    plain = all(isinstance(value, str | int | float | bool) for value in values)
    return Categories(values=values, ordered=bool(series.cat.ordered)) if plain else None


def _index(table: str, frame: pd.DataFrame) -> tuple[IndexLayout | None, Cells | None]:
    index = frame.index
    plain = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
    if plain and len(frame.columns):
        return None, None
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    names = tuple(to_json(name) for name in index.names) if any(name is not None for name in index.names) else ()
    named = free_name(frame.columns)
    dtypes = () if plain else tuple(str(level.dtype) for level in levels)
    if index.nlevels == 1:
        cells = _encode(table, "index", levels[0].to_series())
    else:
        rows = zip(*(level.tolist() for level in levels), strict=True)
        cells = encode([[to_json(value) for value in row] for row in rows])
    return IndexLayout(column=named, names=names, dtypes=dtypes, levels=index.nlevels), cells


def _to_index(table: str, column: pa.ChunkedArray, layout: Layout, index: IndexLayout) -> pd.Index[Any]:
    names: list[Hashable] = list(index.names) or [None] * index.levels  # type: ignore[arg-type]
    text = index.column in layout.texts
    if index.levels > 1:
        values = list(zip(*to_values(column, text), strict=True)) or [()] * index.levels
        columns = [encode(level) for level in values]
        dtypes = index.dtypes or [None] * index.levels
        series = [
            _of(table, "index", each.array, dtype, each.text) for each, dtype in zip(columns, dtypes, strict=True)
        ]
        return pd.MultiIndex.from_arrays(series, names=names)
    found = _of(table, "index", column, index.dtypes[0] if index.dtypes else None, text)
    made: pd.Index[Any] = pd.Index(found)
    made.name = names[0]
    return made


def _of(table: str, column: str, array: Any, dtype: str | None, text: bool) -> Any:
    """Values of an index level."""
    if dtype is None:
        return pd.Index(to_values(array, text), dtype=None if len(array) else "int64")
    return _series(table, array, column, Layout(dtypes={column: dtype}, texts=frozenset({column} if text else ())))


def _typed(table: str, array: Any, column: str, layout: Layout) -> Any:
    try:
        return typed(array, layout.dtypes[column], column in layout.texts)
    except Unfit as error:
        raise invalid(table, str(error), column, error.row) from None
    except (ValueError, pa.ArrowException) as error:
        raise invalid(table, str(error), column) from None


def _series(table: str, array: Any, column: str, layout: Layout) -> pd.Series[Any]:
    name = layout.dtypes[column]
    found = _typed(table, array, column, layout)
    dtype: Any = find_dtype(name)
    try:
        if isinstance(dtype, pd.CategoricalDtype) and (known := layout.categories.get(column)):
            return pd.Series(pd.Categorical(found.to_pylist(), list(known.values), ordered=known.ordered))
        if arrow_type(dtype) is None or isinstance(dtype, pd.SparseDtype):
            return pd.Series(to_values(found, column in layout.texts), dtype=object).astype(dtype)
        if found.null_count and not hasattr(dtype, "__from_arrow__") and dtype.kind in "iub":
            dtype = pd.api.types.pandas_dtype(_nullable(dtype.name))
        if pa.types.is_timestamp(found.type) and not isinstance(dtype, pd.ArrowDtype):
            return pd.Series(found.to_pandas())
        if own := getattr(dtype, "__from_arrow__", None):
            return pd.Series(own(found))
        return pd.Series(found.to_pandas()).astype(dtype)
    except (ValueError, TypeError) as error:
        raise invalid(table, str(error), column) from None


def _nullable(name: str) -> str:
    """The type of pandas that is the same and has nulls."""
    return "boolean" if name == "bool" else name.replace("i", "I", 1).replace("u", "U", 1)
