"""Blocks as pandas frames for `EtlFactory`'s methods, and what these give back as blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from tunesmith.data.frames import from_arrow, to_frame
from tunesmith.errors import InvalidData
from tunesmith.etl.factory import EtlFactory
from tunesmith.etl.messages import Unreadable
from tunesmith.etl.staged import ROW
from tunesmith.etl.staging import empty_block

BATCH = 65_536


def cleaned(factory: EtlFactory, table: str, block: pa.RecordBatch) -> pa.RecordBatch:
    """A block as `clean` gives it back, with the rows' numbers where the index still has them. Raises Unreadable."""
    names = [name for name in block.schema.names if name != ROW]
    numbers = block.column(ROW).to_pylist()
    frame = to_frame(table, from_arrow(table, pa.Table.from_batches([block.select(names)])))
    frame.index = pd.Index(numbers, name="row")
    first = numbers[0] if numbers else None
    try:
        kept = factory.clean(table, frame)
    except InvalidData as error:
        raise Unreadable(error.message, table, row=first) from error
    except Exception as error:  # of the user's own code, whatever it is
        raise Unreadable(f"clean raised {type(error).__name__}: {error}", table, row=first) from error
    if not isinstance(kept, pd.DataFrame):
        raise Unreadable(f"clean gave back {type(kept).__name__}, not the rows as a DataFrame", table)
    rows = kept.index.tolist() if kept.index.name == "row" else [None] * len(kept)
    found = _to_arrow(table, kept)
    whole = found.append_column(ROW, pa.array(rows, pa.int64()))
    return whole.combine_chunks().to_batches()[0] if rows else empty_block(whole.schema)


def blocks_of(table: str, found: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a table that `derive` made. Raises Unreadable: it is none."""
    if isinstance(found, pd.DataFrame):
        found = _to_arrow(table, found)
    if isinstance(found, pa.Table):
        found = pa.RecordBatchReader.from_batches(found.schema, found.to_batches(BATCH))
    if not isinstance(found, pa.RecordBatchReader):
        kind = type(found).__name__
        raise Unreadable(f"derive gave {kind}, not a DataFrame, an Arrow table, or what tables.sql gives", table)
    yield empty_block(found.schema)
    yield from found


def _to_arrow(table: str, frame: pd.DataFrame) -> pa.Table:
    if not all(isinstance(name, str) for name in frame.columns) or frame.columns.has_duplicates:
        raise Unreadable("the columns of a frame must have texts as names, each another one", table)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Unreadable(f"a column holds values of several types: {'; '.join(map(str, error.args))}", table) from error
