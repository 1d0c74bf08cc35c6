"""Parquet files: their types are kept; what they would unpack to is looked at before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.etl.messages import Messages, Unreadable
from tunesmith.etl.sheets import CELLS, Sheet, column_names

LARGEST = 2 << 30
"""Cells that a file may hold: some kilobytes can stand for more than any disk takes."""
BATCH = 65_536


def read_parquet(path: Path, table: str, messages: Messages) -> Iterator[Sheet]:
    """The one table of a Parquet file. Raises Unreadable."""
    try:
        file = pq.ParquetFile(str(path), pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"the Parquet file is damaged or cut off: {_first_line(error)}") from error
    schema = file.schema_arrow
    if not schema.names:
        raise Unreadable("the Parquet file has no columns")
    if file.metadata.num_rows * len(schema.names) > LARGEST:
        size = f"{file.metadata.num_rows:,} rows of {len(schema.names):,} columns"
        raise Unreadable(f"the file holds {size}, more than the {LARGEST:,} cells that are read")
    names = column_names(schema.names, table, messages)
    yield Sheet(table, _blocks(file, names), exact=True)


def _blocks(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    size = max(1, min(BATCH, 4 * CELLS // len(names)))
    try:
        with file:
            for batch in file.iter_batches(batch_size=size):
                yield _plain(batch, names)
            if not file.metadata.num_rows:
                yield _plain(pa.record_batch([pa.array([], field.type) for field in file.schema_arrow], names), names)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"the Parquet file is damaged: {_first_line(error)}") from error


def _plain(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """The block under its names, dictionaries unfolded: their codes differ from block to block."""
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    return pa.record_batch(columns, names)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
