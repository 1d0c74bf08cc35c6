"""The tables that were read, for `EtlFactory.derive` and for keys: in DuckDB, which takes disk where memory ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tunesmith.etl.staged import ROW, Staged

if TYPE_CHECKING:
    import pandas as pd

MEMORY = "192MB"
BATCH = 65_536


class Tables:
    """The tables by name; `tables.sql("select * from orders join products using (product)")` over all of them."""

    def __init__(self, staged: Sequence[Staged], directory: Path) -> None:
        self._staged = {table.name: table for table in staged}
        self._directory = directory
        self._database: Any = None
        self._loaded: dict[tuple[str, tuple[str, ...]], str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._staged)

    def __contains__(self, name: object) -> bool:
        return name in self._staged

    def __getitem__(self, name: str) -> pd.DataFrame:
        """A table as a frame, whole in memory. Raises KeyError."""
        from tunesmith.data.frames import from_arrow, to_frame

        schema, blocks = self._staged[name].plain()
        return to_frame(name, from_arrow(name, pa.Table.from_batches(blocks, schema)))

    def sql(self, query: str) -> pa.RecordBatchReader:
        """What a query of DuckDB's SQL gives, block by block; decimals come as integers or floats."""
        for name, table in self._staged.items():
            names = tuple(each for each in table.kinds if each != ROW)
            view = f"create or replace view {quoted(name)} as select * from {self.load(name, names)}"  # nosec B608  # quoted
            self.database.execute(view)
        reader = self.database.cursor().sql(query).to_arrow_reader(BATCH)
        schema = pa.schema([(field.name, _plain(field.type)) for field in reader.schema])
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader))

    def load(self, name: str, columns: Sequence[str]) -> str:
        """Columns of a table, and ROW if it is among them, as a table of DuckDB's: its quoted name."""
        known = (name, tuple(columns))
        if known not in self._loaded:
            loaded = quoted(f"tunesmith {len(self._loaded)}")
            table = self._staged[name]
            schema = pa.schema([(each, _type(table, each)) for each in columns])
            blocks = (block.select(list(columns)) for block in table.numbered())
            self.database.register("reader", pa.RecordBatchReader.from_batches(schema, blocks))
            self.database.execute(f"create table {loaded} as select * from reader")  # nosec B608  # quoted
            self.database.unregister("reader")
            self._loaded[known] = loaded
        return self._loaded[known]

    @property
    def database(self) -> Any:
        """The connection to DuckDB."""
        if self._database is None:
            import duckdb

            options: dict[str, Any] = {
                "memory_limit": MEMORY,
                "threads": "2",
                "temp_directory": str(self._directory / "spilled"),
            }
            self._database = duckdb.connect(str(self._directory / "tables.duckdb"), config=options)
        return self._database

    def close(self) -> None:
        """Let the database go."""
        if self._database is not None:
            self._database.close()


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _type(table: Staged, column: str) -> pa.DataType:
    return pa.int64() if column == ROW else table.schema.field(column).type


def _plain(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(type_):
        return pa.int64() if type_.scale == 0 else pa.float64()
    return type_
