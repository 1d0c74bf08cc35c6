"""Batches of rows into a Parquet file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from tunesmith.data.layout import KEY, Layout, check_names, layout_of, plain_layout
from tunesmith.domain.session import TableInfo

COMPRESSION: Mapping[str, Any] = {"compression": "zstd", "compression_level": 1}
ROWS = 65_536
"""Of a row group, at most."""
BYTES = 32 * 2**20
"""Of a row group in memory, about, at most: what reading needs at once."""


def write_parquet(target: IO[bytes], name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> TableInfo:
    """Write a table whose schema has a layout or not; what is known of it then. Raises InvalidData, OSError."""
    check_names(name, schema.names)
    rows, nulls = 0, dict.fromkeys(schema.names, 0)
    with parquet.ParquetWriter(target, schema.remove_metadata(), **COMPRESSION) as writer:
        for group in groups(batches):
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
            for number, column in enumerate(schema.names):
                nulls[column] += group.column(number).null_count
        layout = _layout(schema, nulls)
        writer.add_key_value_metadata({KEY: layout.model_dump_json()})
    return TableInfo(name=name, columns=tuple(layout.columns), dtypes=layout.dtypes, rows=rows)


def groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of at most ROWS rows, and of about BYTES at most."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for piece in _pieces(batch):
            if held and (rows + piece.num_rows > ROWS or size + piece.nbytes > BYTES):
                yield pa.Table.from_batches(held)
                held, rows, size = [], 0, 0
            held.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
    if held:
        yield pa.Table.from_batches(held)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    step = max(1, min(ROWS, batch.num_rows * BYTES // max(batch.nbytes, BYTES)))
    return (batch.slice(start, step) for start in range(0, batch.num_rows, step))


def _layout(schema: pa.Schema, nulls: dict[str, int]) -> Layout:
    try:
        return layout_of(schema)
    except KeyError:
        return plain_layout(schema, nulls)
