"""Tables between reading and storing: staged on disk, their columns' kinds told from all blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute

from tunesmith.etl.kinds import Kind, Spelling, cast, kind_of, type_of
from tunesmith.etl.messages import KEPT, Messages, Unreadable
from tunesmith.etl.outliers import outlier, sentence
from tunesmith.etl.staging import BlockFile

pc: Any = compute  # its functions come into being when it is imported

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
        declared: frozenset[str] = frozenset(),
    ) -> None:
        """A table without rows, to be filled.

        `spelling`: every cell is a text; `exact`: types stay; `texts`: columns that stay texts in any case; `declared`:
        columns whose values get their declared types later, so that nothing is told of what they are here.
        """
        self.name = name
        self.file = BlockFile(path)
        self.spelling, self.exact, self.texts, self.declared = spelling, exact, texts, declared
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
        if found == Kind.TEXT != known and name not in self.texts | self.declared:
            self._tell_text(name, column, known, messages)

    def _tell_text(self, name: str, column: pa.Array, known: Kind | pa.DataType, messages: Messages) -> None:
        """Tell which value made texts of a column, where it looked like another kind."""
        if known == Kind.NOTHING:
            found = outlier(column, self.spelling) if self.spelling else None
        elif self.spelling is not None:
            assert isinstance(known, Kind)
            place = self.spelling.first_unlike(column, known)
            found = place, sentence(column[place].as_py(), known)
        else:
            place = pc.index(column.is_valid(), True).as_py()
            found = place, sentence(column[place].as_py(), known)
        if found and not messages.told("warning", self.name, name, KEPT):
            place, text = found
            messages.add("warning", text, self.name, name, self.rows + 1 + place, KEPT)

    def _converted(self, column: pa.Array, kind: Kind | pa.DataType) -> pa.Array:
        if self.spelling is not None:
            return self.spelling.convert(column, kind)
        return column if column.type == type_of(kind) else cast(column, kind)
