"""Dataset JSON: what it must look like, and its tables as stored ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tunesmith.data.cells import MISSING, Cells, encode
from tunesmith.data.frames import assemble
from tunesmith.data.layout import IndexLayout, check_text, dtype_of, free_name
from tunesmith.data.typed import Unfit, find_dtype, invalid, typed
from tunesmith.errors import InvalidData

TYPES = ("master", "derived", "dummy")
MAX_NAME = 200
"""Characters of a dataset's name, at most."""
TABLE_KEYS = ("data", "columns", "dtypes", "index", "index_names", "index_dtypes")


def parse(document: str | bytes | Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """The metadata as they came, and the tables. Raises InvalidData: table, column and row are in its details."""
    found = dict(document) if isinstance(document, Mapping) else _load(document)
    _only(found, ("metadata", "tables"), "the dataset")
    metadata = _metadata(found.get("metadata"))
    if "tables" not in found:
        raise InvalidData("tables is missing; it is an object of name: table, and {} where there are none")
    tables = found["tables"]
    if not isinstance(tables, Mapping):
        raise InvalidData("the dataset's tables are no object of name: table")
    listed = metadata.get("tables", list(tables))
    if not isinstance(listed, list) or sorted(map(str, listed)) != sorted(tables):
        raise InvalidData(
            f"metadata.tables lists {listed}, but the tables are {list(tables)}; leave it out, or mend it"
        )
    return metadata, {name: _table(name, table) for name, table in tables.items()}


def check_name(name: Any) -> str:
    """The name of a dataset. Raises InvalidData: it is none that a dataset can have."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidData("metadata.name is missing; it is what the dataset is called")
    check_text(name, "metadata.name")
    if "/" in name or len(name) > MAX_NAME:
        raise InvalidData(f"metadata.name is no usable name; take at most {MAX_NAME} characters, without a slash")
    return name


def _load(document: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(document, parse_constant=_constant)
    except RecursionError:
        raise InvalidData("the dataset's JSON is nested too deeply") from None
    except ValueError as error:  # also bytes that are no text, and integers of more digits than Python reads
        raise InvalidData(f"the dataset is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidData("the dataset is no JSON object with metadata and tables")
    return found


def _constant(word: str) -> float | None:
    """NaN, which JSON does not have but Python writes, is null."""
    return None if word == "NaN" else float(word)


def _only(found: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    if unknown := next((key for key in found if key not in known), None):
        raise InvalidData(f"{what} has {unknown!r}; there may be {', '.join(known)}")


def _metadata(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise InvalidData("metadata.name is missing; it is what the dataset is called")
    check_name(found.get("name"))
    if found.get("type", "master") not in TYPES:
        raise InvalidData(f"metadata.type is {found['type']!r}; it must be one of {', '.join(TYPES)}")
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidData("metadata hold something that is no JSON, an infinity for instance") from None
    return dict(found)


def _table(name: str, found: Any) -> pa.Table:
    check_text(name, f"the name of table {name!r}")
    if not isinstance(found, Mapping):
        raise invalid(name, "it is no object with data, columns, dtypes and index")
    _only(found, TABLE_KEYS, f"table {name!r}")
    records = _records(name, found.get("data"))
    columns = _columns(name, found.get("columns"), records)
    cells = {column: _cells(name, column, [row.get(column, MISSING) for row in records]) for column in columns}
    _check_keys(name, records, set(columns), cells)
    dtypes = _dtypes(name, found.get("dtypes"), cells)
    index, values = _index(name, found, len(records), columns)
    return assemble(name, cells, dtypes, index, values)


def _records(table: str, data: Any) -> list[Mapping[str, Any]]:
    if not isinstance(data, list):
        raise invalid(table, "data is no list of records")
    if {type(row) for row in data} - {dict}:
        for number, row in enumerate(data):
            if not isinstance(row, Mapping):
                raise invalid(table, "it is no record, an object of column: value", row=number)
    return data


def _columns(table: str, columns: Any, records: Iterable[Mapping[str, Any]]) -> list[str]:
    if columns is None:
        columns = list(dict.fromkeys(key for row in records for key in row))
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise invalid(table, "columns is no list of names")
    if len(set(columns)) < len(columns):
        twice = next(column for number, column in enumerate(columns) if column in columns[:number])
        raise invalid(table, "it is in columns twice", twice)
    return columns


def _cells(table: str, column: str, values: Sequence[Any]) -> Cells:
    try:
        return encode(values)
    except (TypeError, ValueError, RecursionError):
        for row, value in enumerate(values):
            _check_value(table, column, row, value)
        raise


def _check_value(table: str, column: str, row: int, value: Any) -> None:
    try:
        encode([value])
    except UnicodeEncodeError:
        message = "a text holds a lone surrogate, which is no character; remove it"
    except RecursionError:
        message = "the value is nested too deeply"
    except (TypeError, ValueError) as error:  # of a parsed document only
        message = str(error)
    else:
        return
    raise invalid(table, message, column, row) from None


def _check_keys(
    table: str, records: Sequence[Mapping[str, Any]], columns: set[str], cells: Mapping[str, Cells]
) -> None:
    """Raise InvalidData when a record has a key that is no column."""
    gaps = any(found.missing or found.text for found in cells.values())
    if not gaps and all(len(row) == len(columns) for row in records):
        return
    for number, row in enumerate(records):
        if not row.keys() <= columns:
            raise invalid(table, "it is not in columns", next(key for key in row if key not in columns), number)


def _dtypes(table: str, found: Any, cells: Mapping[str, Cells]) -> dict[str, str]:
    found = {} if found is None else found
    if not isinstance(found, Mapping):
        raise invalid(table, "dtypes is no object of column: type")
    if unknown := [column for column in found if column not in cells]:
        raise invalid(table, "it is in dtypes, but not in columns", unknown[0])
    dtypes = {column: found.get(column, _guess(each)) for column, each in cells.items()}
    for column, dtype in dtypes.items():
        if not isinstance(dtype, str):
            raise invalid(table, f"its dtype is {dtype!r}, no text", column)
        try:
            typed(cells[column].array, dtype, cells[column].text)
        except Unfit as error:
            raise invalid(table, str(error), column, error.row) from None
        except (ValueError, pa.ArrowException) as error:
            raise invalid(table, f"dtype {error}", column) from None
    return dtypes


def _guess(cells: Cells) -> str:
    """pandas' type of a column whose type is not told."""
    return "object" if cells.text else dtype_of(cells.array.type, cells.array.null_count > 0)


def _index(
    table: str, found: Mapping[str, Any], rows: int, columns: Sequence[str]
) -> tuple[IndexLayout | None, Cells | None]:
    index = found.get("index")
    if index is None:
        index = list(range(rows))
    if not isinstance(index, list):
        raise invalid(table, "index is no list")
    if len(index) != rows:
        raise invalid(table, f"index has {len(index)} entries, but there are {rows} records")
    lists = {len(each) if isinstance(each, list) else 0 for each in index}
    levels = next(iter(lists)) or 1 if len(lists) == 1 else 1
    names = _of_levels(table, found, "index_names", levels)
    dtypes = _of_levels(table, found, "index_dtypes", levels)
    plain = all(type(value) is int and value == number for number, value in enumerate(index))
    if plain and columns and not names and not dtypes:
        return None, None
    layout = IndexLayout(column=free_name(columns), names=names, dtypes=dtypes, levels=levels)
    return layout, _cells(table, "index", index)


def _of_levels(table: str, found: Mapping[str, Any], key: str, levels: int) -> tuple[Any, ...]:
    """What is told of each level of the index; empty: nothing."""
    told = found.get(key) or []
    if not isinstance(told, list) or (told and len(told) != levels):
        raise invalid(table, f"{key} must be a list with one entry for each of the index's {levels} levels")
    for dtype in told if key == "index_dtypes" else ():
        try:
            find_dtype(dtype)
        except (ValueError, TypeError) as error:
            raise invalid(table, f"{key}: {error}") from None
    return tuple(told)
