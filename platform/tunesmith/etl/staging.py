"""Tables on the way: blocks of rows in files of Arrow streams, whose columns may change type from block to block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa


def empty_block(schema: pa.Schema) -> pa.RecordBatch:
    """No rows of these columns; an empty table of Arrow's has no block at all."""
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class BlockFile:
    """Blocks written one after another, and read again as they were."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._sink: Any = None
        self._writer: Any = None
        self._writer_schema: Any = None

    def __enter__(self) -> Self:
        self._sink = pa.OSFile(str(self.path), "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._sink.close()

    def write(self, block: pa.RecordBatch) -> None:
        """Add a block."""
        if self._writer is None or not self._writer_schema.equals(block.schema):
            if self._writer is not None:
                self._writer.close()
            self._writer = pa.ipc.new_stream(self._sink, block.schema, options=OPTIONS)
            self._writer_schema = block.schema
        self._writer.write_batch(block)
        self.rows += block.num_rows

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Every block in order."""
        with pa.OSFile(str(self.path), "rb") as source:
            while source.tell() < source.size():
                with pa.ipc.open_stream(source) as stream:
                    yield from stream
