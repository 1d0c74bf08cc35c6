"""Datasets: tables that come out exactly as they went in, as JSON, as Parquet, as Arrow and as pandas frames."""

from tunesmith.data.files import (
    arrow_stream,
    json_chunks,
    new_files,
    open_dataset,
    open_files,
    parquet,
    read_table,
    write_tables,
)
from tunesmith.data.source import DataSource

__all__ = [
    "DataSource",
    "arrow_stream",
    "json_chunks",
    "new_files",
    "open_dataset",
    "open_files",
    "parquet",
    "read_table",
    "write_tables",
]
