"""Tables between reading and storing: staged on disk, their columns' kinds told from all blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from tunesmith.etl.kinds import Kind, Spelling, cast, kind_of, type_of
from tunesmith.etl.messages import Messages, Unreadable
from tunesmith.etl.staging import BlockFile

ROW = "__tunesmith_row__"
"""The column that carries a row's number where rows may have been taken away."""
MOST_COLUMNS = 20_000


class Staged:
    """A table on disk, written once, read as often as needed, in blocks of one schema."""

    def __init__(
        self,
        name: str,
        path: Path,
        spelling: Spelling | None = None,
        exact: bool = False,
        texts: frozenset[str] = frozenset(),
    ) -> None:
        """`spelling`: every cell is a text; `exact`: types stay; `texts`: columns that stay texts in any case."""
        self.name = name
        self.file = BlockFile(path)
        self.spelling, self.exact, self.texts = spelling, exact, texts
        self.kinds: dict[str, Kind | pa.DataType] = {}

    def fill(
        self, blocks: Iterable[pa.RecordBatch], messages: Messages, seen: Callable[[int], None] | None = None
    ) -> None:
        """Write the blocks, telling where a column turns out to hold more than it seemed. Raises Unreadable.

        `seen` is told how many bytes there were so far.
        """
        size = 0
        with self.file as file:
            for block in blocks:
                for name, column in zip(block.schema.names, block.columns, strict=True):
                    self._look(name, column, messages)
                if len(self.kinds) > MOST_COLUMNS:
                    raise Unreadable(f"there are more than {MOST_COLUMNS:,} columns")
                file.write(block)
                size += block.nbytes
                if seen:
                    seen(size)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.file.rows

    @property
    def schema(self) -> pa.Schema:
        """Its columns in the order in which they came up."""
        return pa.schema([(name, type_of(kind)) for name, kind in self.kinds.items()])

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Its rows, every column of its final type."""
        schema = self.schema
        for block in self.file.blocks():
            found = dict(zip(block.schema.names, block.columns, strict=True))
            columns = [
                self._converted(found[name], kind) if name in found else pa.nulls(block.num_rows, type_of(kind))
                for name, kind in self.kinds.items()
            ]
            yield pa.record_batch(columns, schema=schema)

    def plain(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Schema and rows without the rows' numbers."""
        if ROW not in self.kinds:
            return self.schema, self.blocks()
        names = [name for name in self.kinds if name != ROW]
        return self.schema.remove(self.schema.get_field_index(ROW)), (block.select(names) for block in self.blocks())

    def numbered(self) -> Iterator[pa.RecordBatch]:
        """The same with the rows' numbers, counted where nobody took rows away."""
        before = 0
        for block in self.blocks():
            if ROW in self.kinds:
                yield block
                continue
            numbers = pa.array(range(before + 1, before + block.num_rows + 1), pa.int64())
            yield block.append_column(pa.field(ROW, pa.int64()), numbers)
            before += block.num_rows

    def _look(self, name: str, column: pa.Array, messages: Messages) -> None:
        known = self.kinds.get(name, Kind.NOTHING)
        if name in self.texts:
            found: Kind | pa.DataType = Kind.TEXT
        elif self.exact:
            found = Kind.NOTHING if pa.types.is_null(column.type) else column.type
        elif self.spelling is None:
            found = kind_of(column, known)
        else:
            assert isinstance(known, Kind)
            found = self.spelling.kind(column, known)
        self.kinds[name] = found
        if found == Kind.TEXT and known not in (Kind.TEXT, Kind.NOTHING):
            row = self.rows + 1 + (self.spelling.first_other(column, known) if self.spelling else 0)
            text = f"up to here every value is a {known}, this one is not; the column is read as text"
            messages.add("warning", text, self.name, name, row)

    def _converted(self, column: pa.Array, kind: Kind | pa.DataType) -> pa.Array:
        if self.spelling is not None:
            return self.spelling.convert(column, kind)
        return column if column.type == type_of(kind) else cast(column, kind)
