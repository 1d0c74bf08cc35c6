"""A table of a session's dataset, as it lies in the artefact storage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from tuners.automl.data.cells import as_category
from tuners.automl.data.parquet_file import ROWS
from tuners.automl.data.part import Part
from tunesmith.automl.problems import check_columns, invalid
from tunesmith.data import DataSource
from tunesmith.data.files import open_files, table_key
from tunesmith.data.frames import to_arrow
from tunesmith.data.layout import KEY as LAYOUT
from tunesmith.data.layout import Layout
from tunesmith.scenarios.parameters import nearest
from tunesmith.storage import Storage, translated


def session_table(artifacts: str, files: str, table: str | None) -> Part:
    """A table (None: the only one) of the dataset whose files lie under a key prefix of the artefact storage.

    Raises InvalidData: there is no such table; StorageUnavailable.
    """
    storage = Storage(artifacts)
    dataset: DataSource = open_files(storage, files)
    tables = dataset.list_tables()
    name, known = f"dataset {dataset.name!r}", ", ".join(tables) or "none"
    if table is None and len(tables) != 1:
        raise invalid(name, f"name one of its tables with data.table; it has {known}")
    if table is not None and table not in tables:
        raise invalid(name, f"it has no table {table!r}{nearest(table, tables)}; it has {known}")
    number = 0 if table is None else tables.index(table)
    return SessionPart(f"{name}, table {tables[number]!r}", storage, table_key(files, number))


class SessionPart(Part):
    """A table that is stored with its layout."""

    def __init__(self, name: str, storage: Storage, key: str) -> None:
        self.name, self._storage, self._key = name, storage, key
        with closing(storage.open_input(key)) as stream, translated():
            file = pq.ParquetFile(stream)
        metadata = file.metadata
        self._layout = Layout.model_validate_json(metadata.metadata[LAYOUT])
        self.rows = metadata.num_rows
        groups = range(metadata.num_row_groups)
        self.stored_bytes = sum(metadata.row_group(group).total_byte_size for group in groups)
        self.schema = self._typed(file.schema_arrow.empty_table(), self._layout.columns).schema
        check_columns(name, self.columns)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows, in their own types."""
        with closing(self._storage.open_input(self._key)) as stream:
            with translated():
                file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):
                with translated():
                    table = file.read_row_group(group)
                yield from self._typed(table, columns).to_batches(max_chunksize=ROWS)

    def _typed(self, table: pa.Table, columns: Sequence[str]) -> Any:
        found = to_arrow(self.name, table.replace_schema_metadata(self._layout.mark(table.schema).metadata))
        return pa.table({name: self._cells(name, found[name]) for name in columns})

    def _cells(self, column: str, cells: Any) -> Any:
        """The cells of a column, what pandas calls a category as such, and no JSON texts."""
        kind = self._layout.dtypes[column]
        if kind == "object" and column in self._layout.texts:
            return self._plain(column, cells)
        return cells.dictionary_encode() if kind == "category" else cells

    def _plain(self, column: str, cells: Any) -> Any:
        """Values of several types, stored as JSON texts, as the texts of categories."""
        values = [None if each is None else json.loads(each) for each in cells.to_pylist()]
        try:
            return pa.array([as_category(each) for each in values], pa.string())
        except TypeError:
            problem = "it holds lists or objects, which are nothing to train on; leave it out with data.features"
            raise invalid(self.name, problem, column) from None
