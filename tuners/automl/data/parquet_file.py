"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from tuners.automl.data.part import Part
from tuners.automl.data.problems import reading
from tunesmith.automl.problems import check_columns, invalid

ROWS = 65_536
"""Rows of a batch, at most."""


class ParquetPart(Part):
    """A Parquet file."""

    def __init__(self, name: str, open_file: Callable[[], Any]) -> None:
        """Reads what the file says of itself. Raises InvalidData."""
        self.name, self._open = name, open_file
        with reading(name), self._opened() as file:
            self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
            groups = range(file.metadata.num_row_groups)
            self.stored_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        check_columns(name, self.columns)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows, in the file's own types."""
        with reading(self.name), self._opened() as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(ROWS, [group], columns=list(columns))

    def _opened(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._open(), pre_buffer=True)
        except pa.ArrowInvalid as error:
            raise invalid(self.name, "the Parquet file is damaged or cut off; write it again") from error
