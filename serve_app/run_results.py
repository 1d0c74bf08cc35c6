"""What a run of a model left in the storage: a summary, and rows, by the page or as a whole table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.domain.session import ModelRun
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

BATCH = 10_000
"""Rows that are turned into text at once."""


@dataclass(frozen=True)
class Results:
    """The results of a run that has succeeded. Every method may raise StorageUnavailable."""

    storage: Storage
    run: ModelRun

    def summary(self) -> dict[str, Any]:
        """What the rows say on the whole."""
        data = b"".join(self.storage.read(self._key("result.json")))
        if not data:
            raise self._gone()
        return dict(json.loads(data)["summary"])

    def page(self, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Some rows, and the cursor of the next page. Raises InvalidCursor."""
        start = 0 if cursor is None else max(0, decode_cursor(cursor, int)[0])
        with self.storage.open_input(self._key("rows.parquet")) as file:
            rows, total = _rows(file, start, limit)
        following = start + len(rows)
        return rows, encode_cursor(following) if rows and following < total else None

    def parquet(self) -> Iterator[bytes]:
        """The whole table as a Parquet file."""
        chunks = self.storage.read(self._key("rows.parquet"))
        first = next(chunks, None)
        if first is None:
            raise self._gone()
        yield first
        yield from chunks

    def csv(self) -> Iterator[bytes]:
        """The whole table as CSV, with a header line; lists and objects in it as JSON."""
        with self.storage.open_input(self._key("rows.parquet")) as file:
            table = _parquet_file(file)
            yield _line(table.schema_arrow.names)
            for batch in table.iter_batches(BATCH):
                yield _lines(_flat(batch))

    def _gone(self) -> StorageUnavailable:
        return StorageUnavailable(f"The results of the run {self.run.id} are not in the storage any more")

    def _key(self, name: str) -> str:
        return f"{trial_key(self.run.experiment_id, self.run.trial_number or 0)}/{name}"


def _rows(file: Any, start: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Rows from one on, and how many there are in all; only the row groups that they lie in are read."""
    table = _parquet_file(file)
    rows: list[dict[str, Any]] = []
    for group in range(table.num_row_groups):
        length = table.metadata.row_group(group).num_rows
        if start < length and len(rows) < limit:
            rows += table.read_row_group(group).slice(start, limit - len(rows)).to_pylist()
        start = max(0, start - length)
    return rows, table.metadata.num_rows


def _parquet_file(file: Any) -> ParquetFile:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(file)


def _lines(batch: pyarrow.RecordBatch) -> bytes:
    """The batch as CSV; texts are in quotes where one of them needs it."""
    import pyarrow as pa

    try:
        return _written(batch, "none")
    except pa.ArrowInvalid:
        return _written(batch, "needed")  # Arrow's word for all texts


def _written(batch: pyarrow.RecordBatch, quoting: str) -> bytes:
    from pyarrow.csv import WriteOptions, write_csv

    text = io.BytesIO()
    write_csv(batch, text, WriteOptions(include_header=False, quoting_style=quoting))
    return text.getvalue()


def _flat(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """The batch with nested columns as JSON, which CSV has no other way for."""
    import pyarrow as pa

    columns = [_as_json(column) if pa.types.is_nested(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _as_json(column: pyarrow.Array) -> pyarrow.Array:
    import pyarrow as pa

    cells = (None if cell is None else to_json(cell, inf_nan_mode="null", fallback=str) for cell in column.to_pylist())
    return pa.array([None if cell is None else cell.decode() for cell in cells], pa.string())


def _line(names: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()
