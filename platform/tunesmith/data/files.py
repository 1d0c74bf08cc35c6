"""A dataset's tables in the artefact storage: one Parquet file each, written whole or not at all, read as streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow as pa
from pyarrow import parquet as pq
from pydantic import JsonValue

from tunesmith.data.frames import to_arrow
from tunesmith.data.layout import KEY, Layout
from tunesmith.data.rendering import Reading, render
from tunesmith.data.sink import Sink
from tunesmith.data.source import DatasetType, DataSource, full_metadata
from tunesmith.data.writing import COMPRESSION, write_parquet
from tunesmith.domain.session import Dataset, TableInfo
from tunesmith.errors import BadRequest, DatasetNotFound, StorageUnavailable
from tunesmith.storage import Storage, translated

Source = TypeVar("Source", bound=DataSource)
Stream = tuple[str, pa.Schema, Iterable[pa.RecordBatch]]
"""A table's name, its schema, and its rows."""
BATCH = 16_384
"""Rows of a batch that is read."""


def new_files() -> str:
    """A key prefix that nothing lies under yet, for a version of a dataset."""
    return f"datasets/{uuid4()}"


def write_tables(
    storage: Storage,
    files: str,
    tables: DataSource | Iterable[Stream],
    metadata: Mapping[str, JsonValue] | None = None,
) -> tuple[list[TableInfo], int]:
    """Write tables under a key prefix, in bounded memory; what is known of them, and the bytes that they take.

    `tables` is a DataSource, or an iterable of (name, schema, batches), taken one after another; a batch may have any
    number of rows. `metadata` (of a DataSource its own) is what `open_files` knows the dataset by: name, type.
    Where something raises, nothing stays under the prefix. Raises StorageUnavailable, InvalidData.
    """
    if isinstance(tables, DataSource):
        metadata, tables = tables.metadata, _streams(tables)
    written, size = [], 0
    try:
        for number, (name, schema, batches) in enumerate(tables):
            info, taken = _write(storage, table_key(files, number), name, schema, batches)
            written.append(info)
            size += taken
        known = {"metadata": dict(metadata or {}), "tables": [info.model_dump(mode="json") for info in written]}
        with storage.open_output(f"{files}/dataset.json") as stream:
            stream.write(json.dumps(known).encode())
    except BaseException:
        with suppress(StorageUnavailable):
            storage.remove_all(files)
        raise
    return written, size


def table_key(files: str, number: int) -> str:
    """Where a table lies."""
    return f"{files}/{number}.parquet"


def open_dataset(storage: Storage, dataset: Dataset, kind: type[Source] = DataSource) -> Source:  # type: ignore[assignment]
    """The dataset as `kind`, each table read when it is first asked for. Raises StorageUnavailable, then too."""
    return _lazy(storage, dataset.files, dataset.tables, dataset.metadata, dataset.key, dataset.type, kind)


def open_files(storage: Storage, files: str, kind: type[Source] = DataSource) -> Source:  # type: ignore[assignment]
    """The dataset that lies under a key prefix, as `open_dataset`, with the name that it was written under."""
    text = b"".join(storage.read(f"{files}/dataset.json"))
    if not text:
        raise StorageUnavailable(f"{StorageUnavailable.__doc__} (there is no dataset under {files})")
    known = json.loads(text)
    tables = [TableInfo.model_validate(table) for table in known["tables"]]
    metadata = known["metadata"]
    return _lazy(storage, files, tables, metadata, metadata.get("name", files), metadata.get("type", "master"), kind)


def read_table(storage: Storage, files: str, number: int) -> pa.Table:
    """A table as it is stored, its layout in the schema's metadata. Raises StorageUnavailable."""
    with _opened(storage, files, number) as (file, layout), translated():
        table = file.read()
        return table.replace_schema_metadata(layout.mark(table.schema).metadata)


def json_chunks(storage: Storage, dataset: Dataset) -> Iterator[bytes]:
    """The dataset as JSON, as it came, in bounded memory. Raises StorageUnavailable."""
    metadata = full_metadata(dataset.metadata, dataset.key, dataset.type, [table.name for table in dataset.tables])
    return render(metadata, _readings(storage, dataset))


def parquet(storage: Storage, dataset: Dataset, table: str | None = None) -> Iterator[bytes]:
    """A table (None: the only one) as a Parquet file, each column in its own type; an index comes last.

    Raises DatasetNotFound: no such table; BadRequest: there are several; StorageUnavailable.
    """
    return _parquet(storage, dataset, _number(dataset, table))


def arrow_stream(storage: Storage, dataset: Dataset, table: str | None = None) -> Iterator[bytes]:
    """A table (None: the only one) as an Arrow stream, each column in its own type. Raises as `parquet` does."""
    return _arrow_stream(storage, dataset, _number(dataset, table))


def _parquet(storage: Storage, dataset: Dataset, number: int) -> Iterator[bytes]:
    with _opened(storage, dataset.files, number) as (file, layout):
        typed = _typed_schema(file, layout)
        if not typed.equals(file.schema_arrow):
            yield from _converted(file, layout, pq.ParquetWriter(sink := Sink(), typed, **COMPRESSION), sink)
            return
    yield from storage.read(table_key(dataset.files, number))  # it is that file already


def _arrow_stream(storage: Storage, dataset: Dataset, number: int) -> Iterator[bytes]:
    with _opened(storage, dataset.files, number) as (file, layout):
        writer = pa.ipc.new_stream(sink := Sink(), _typed_schema(file, layout))
        yield from _converted(file, layout, writer, sink)


def _typed_schema(file: pq.ParquetFile, layout: Layout) -> pa.Schema:
    return to_arrow("", layout.mark(file.schema_arrow).empty_table()).schema


def _converted(file: pq.ParquetFile, layout: Layout, writer: Any, sink: Sink) -> Iterator[bytes]:
    marked = layout.mark(file.schema_arrow).metadata
    for group in _groups(file):
        writer.write_table(to_arrow("", group.replace_schema_metadata(marked)))
        yield sink.drain()
    writer.close()
    yield sink.drain()


def _write(
    storage: Storage, key: str, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> tuple[TableInfo, int]:
    with storage.open_output(key) as stream:
        info = write_parquet(stream, name, schema, batches)
        return info, stream.tell()


def _streams(source: DataSource) -> Iterator[Stream]:
    for name in source.list_tables():
        table = source.stored(name)
        yield name, table.schema, table.to_batches()


def _readings(storage: Storage, dataset: Dataset) -> Iterator[Reading]:
    for number, info in enumerate(dataset.tables):
        with _opened(storage, dataset.files, number) as (file, layout):
            yield Reading(info.name, layout, file.metadata.num_rows, partial(_batches, file))


def _batches(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    for group in _groups(file, columns):
        yield from group.to_batches(max_chunksize=BATCH)


def _groups(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    for number in range(file.num_row_groups):
        with translated():
            group = file.read_row_group(number, columns)
        yield group


@contextmanager
def _opened(storage: Storage, files: str, number: int) -> Iterator[tuple[pq.ParquetFile, Layout]]:
    with closing(storage.open_input(table_key(files, number))) as stream:
        with translated():
            file = pq.ParquetFile(stream)
        yield file, Layout.model_validate_json(file.metadata.metadata[KEY])


def _number(dataset: Dataset, table: str | None) -> int:
    """Which table is meant."""
    names = [info.name for info in dataset.tables]
    if table in names:
        return names.index(table)
    if table is None and len(names) == 1:
        return 0
    known = ", ".join(names) or "none"
    if table is None and names:
        raise BadRequest(f"dataset {dataset.key!r} has several tables; name one of them: {known}")
    raise DatasetNotFound(f"dataset {dataset.key!r} has no table {table!r}; it has {known}")


def _lazy(
    storage: Storage,
    files: str,
    tables: Sequence[TableInfo],
    metadata: Mapping[str, JsonValue],
    name: str,
    origin: DatasetType,
    kind: type[Source],
) -> Source:
    calls = {info.name: partial(read_table, storage, files, number) for number, info in enumerate(tables)}
    return kind.lazy(metadata, name, origin, calls)
