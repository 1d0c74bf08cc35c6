"""The archive of executions: one Parquet file, there as a whole or not at all."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Boolean, Column, Float, Integer, Label, Row
from sqlalchemy.types import TypeEngine

from tunesmith.storage import Storage
from tunesmith.store.tables import UTCTime


class Archive:
    """A file that rows are added to, and that is in the storage when it was closed; without rows there is none."""

    def __init__(self, storage: Storage, columns: Sequence[Column[Any] | Label[Any]], now: datetime) -> None:
        """`columns`: of the rows; JSON becomes text."""
        import pyarrow as pa

        self.key = f"archive/executions-{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(2)}.parquet"
        self.rows = 0
        self._storage = storage
        self._schema = pa.schema([(column.name, _arrow(pa, column.type)) for column in columns])
        self._folder = tempfile.TemporaryDirectory(prefix="tunesmith-archive-")
        self._path = Path(self._folder.name, "executions.parquet")
        self._writer: Any = None

    def add(self, rows: Sequence[Row[Any]]) -> None:
        """Add rows."""
        import pyarrow as pa
        from pyarrow import parquet

        if not rows:
            return
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, self._schema, compression="zstd")
        arrays = [
            pa.array(map(_plain, cells), field.type)
            for cells, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(rows)

    def close(self) -> str | None:
        """Put the file into the storage; its key, if there is anything in it. Raises StorageUnavailable."""
        if self._writer is None:
            return None
        self._writer.close()
        self._storage.upload(self._path, self.key)
        return self.key

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()


def _arrow(pa: Any, kind: TypeEngine[Any]) -> Any:
    if isinstance(kind, UTCTime):
        return pa.timestamp("us", "UTC")
    if isinstance(kind, Boolean):
        return pa.bool_()
    if isinstance(kind, Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, Float) else pa.string()


def _plain(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, (dict, list)) else cell
