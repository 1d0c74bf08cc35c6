"""Writing and reading tables: CSV, and Parquet through pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.errors import BadRequest, InvalidBody
from tunesmith.interchange.cells import to_text
from tunesmith.interchange.columns import NULL, Column, as_json
from tunesmith.interchange.content import unreadable

FORMATS = (".csv", ".parquet")
ENCODED = {b"tunesmith": b"json"}
"""Mark of a Parquet column of text whose cells are written as in CSV, because its values are of several types."""
NATIVE = {int: "int64", float: "float64", bool: "bool_", str: "string"}


@dataclass(frozen=True)
class Sheet:
    """A table that was read."""

    path: Path
    """Where from."""
    columns: tuple[str, ...]
    """Its columns' names."""
    encoded: frozenset[str]
    """Columns whose cells are text that stands for other values."""
    rows: Sequence[tuple[int, dict[str, Any]]]
    """(line or row in the file, column -> cell); None: nothing there."""

    def error(self, line: int, column: str, message: str) -> InvalidBody:
        """What is wrong with a cell."""
        unit = "line" if self.path.suffix.lower() == ".csv" else "row"
        return unreadable(self.path, f"{unit} {line}, column {column!r}: {message}", line=line, column=column)


def write_table(path: Path, columns: Sequence[Column]) -> None:
    """Write a table; the ending of the file says which format. Raises BadRequest, OSError."""
    check_ending(path)
    _write_csv(path, columns) if path.suffix.lower() == ".csv" else _write_parquet(path, columns)


def read_table(path: Path) -> Sheet:
    """A table. Raises InvalidBody: it is none; BadRequest: its ending is another."""
    check_ending(path)
    if not path.is_file():
        raise unreadable(path, "there is no such file")
    try:
        return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror}") from error


def check_ending(path: Path) -> None:
    """Raise BadRequest unless the file's ending is one of FORMATS."""
    if path.suffix.lower() not in FORMATS:
        raise BadRequest(f"{path} should end in {' or '.join(FORMATS)}")


def _write_csv(path: Path, columns: Sequence[Column]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([name for name, _, _ in columns])
        writer.writerows(zip(*(_cells(kind, values) for _, kind, values in columns), strict=True))


def _cells(kind: str, values: list[Any]) -> list[Any]:
    if kind in ("int", "float", "bool"):
        return values  # as the writer has them: nothing for None, and every digit of a float
    return [None if value is None else _cell(kind, value) for value in values]


def _cell(kind: str, value: Any) -> Any:
    if kind == "scalar":
        return "null" if value is NULL else to_text(value)
    if kind == "time":
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return as_json(value) if kind == "json" else to_text(value)


def _read_csv(path: Path) -> Sheet:
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if not header:
                raise unreadable(path, "is empty; its first line should name the columns")
            return Sheet(path, _distinct(path, header), frozenset(header), list(_csv_rows(path, reader, header)))
    except UnicodeDecodeError as error:
        raise unreadable(path, f"is no UTF-8 text (byte {error.start})") from error


def _csv_rows(path: Path, reader: Any, header: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise unreadable(path, f"line {line}: {error}", line=line) from error
        if cells is None:
            return
        if cells and len(cells) != len(header):
            raise unreadable(path, f"line {line} has {len(cells)} cells for {len(header)} columns", line=line)
        if cells:
            yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _write_parquet(path: Path, columns: Sequence[Column]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays = [], []
    for name, kind, values in columns:
        array, metadata = _array(kind, values)
        fields.append(pa.field(name, array.type, metadata=metadata))
        arrays.append(array)
    parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)


def _array(kind: str, values: list[Any]) -> tuple[Any, dict[bytes, bytes] | None]:
    import pyarrow as pa

    if kind == "scalar":
        return _scalars(values)
    if kind == "json":
        return pa.array([None if value is None else as_json(value) for value in values], pa.string()), None
    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    return pa.array(values, types.get(kind) or pa.timestamp("us", "UTC"), from_pandas=False), None


def _scalars(values: list[Any]) -> tuple[Any, dict[bytes, bytes] | None]:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    native = NATIVE.get(next(iter(kinds))) if len(kinds) == 1 else None
    large = native == "int64" and any(value is not None and abs(value) >= 2**63 for value in values)
    if native and not large:
        return pa.array(values, getattr(pa, native)()), None
    texts = [None if value is None else _cell("scalar", value) for value in values]
    return pa.array(texts, pa.string()), ENCODED


def _read_parquet(path: Path) -> Sheet:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise unreadable(path, f"is no Parquet file: {str(error).splitlines()[0]}") from error
    names = _distinct(path, table.column_names)
    encoded = frozenset(field.name for field in table.schema if (field.metadata or {}).get(b"tunesmith") == b"json")
    columns = [_plain(table.column(name)) for name in names]
    rows = [(i, dict(zip(names, cells, strict=True))) for i, cells in enumerate(zip(*columns, strict=True), 1)]
    return Sheet(path, names, encoded, rows)


def _plain(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):  # nanoseconds would want pandas
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())


def _distinct(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise unreadable(path, f"two columns are called {twice!r}; rename one", column=twice)
    return tuple(names)


def moment_of(value: Any) -> datetime:
    """A moment from a cell; without a zone it is local time. Raises ValueError."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (found if found.tzinfo else found.astimezone()).astimezone(UTC)
