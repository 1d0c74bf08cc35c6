"""A dataset as algorithms see it: named tables, as pandas frames or Arrow tables."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import uuid4

import pandas as pd
import pyarrow as pa
from pydantic import JsonValue

from tunesmith.data.document import check_name
from tunesmith.data.document import parse as parse_document
from tunesmith.data.frames import from_arrow, from_frame, to_arrow, to_frame
from tunesmith.data.layout import layout_of
from tunesmith.data.rendering import Reading, render
from tunesmith.domain.value import render_time, utcnow

if TYPE_CHECKING:
    from tunesmith.scenarios.parameters import ParameterType

DatasetType = Literal["master", "derived", "dummy"]


class _Table:
    """A table that is read, and made a frame, when that is first asked for."""

    def __init__(self, name: str, source: pa.Table | Callable[[], pa.Table]) -> None:
        self._name, self._source = name, source

    @cached_property
    def stored(self) -> pa.Table:
        return self._source if isinstance(self._source, pa.Table) else self._source()

    @cached_property
    def frame(self) -> pd.DataFrame:
        return to_frame(self._name, self.stored)


class DataSource:
    """Named tables and what is known of them.

        data = DataSource("example", {"orders": frame})
        data["orders"]           # a pandas frame of your own; add_table puts a changed one back
        data.arrow("orders")     # the same as an Arrow table

    A subclass may declare parameters as algorithms do; their values are attributes then.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, pd.DataFrame | pa.Table] | None = None,
        type: DatasetType = "master",  # noqa: A002
        id: str | None = None,  # noqa: A002
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """`id`: a new UUID unless given; `metadata`: more to keep with it. Raises InvalidData."""
        self.name = check_name(name)
        self.type: DatasetType = type
        self.id = id or str(uuid4())
        self._metadata = {"id": self.id, "creation_datetime": render_time(utcnow()), **(metadata or {})}
        self._tables: dict[str, _Table] = {}
        for key, frame in (tables or {}).items():
            self.add_table(key, frame)

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """Its id, name, type, creation_datetime, the names of its tables, and what else is kept with it."""
        return full_metadata(self._metadata, self.name, self.type, self.list_tables())

    def list_tables(self) -> list[str]:
        """The tables' names, in order."""
        return list(self._tables)

    def add_table(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Add or replace a table; later changes of the frame change nothing here. Raises InvalidData."""
        stored = from_frame(name, frame) if isinstance(frame, pd.DataFrame) else from_arrow(name, frame)
        self._tables[name] = _Table(name, stored)

    def table(self, name: str) -> pd.DataFrame:
        """A table as a frame of the caller's own, types and index as they went in. Raises KeyError, InvalidData."""
        return self._table(name).frame.copy(deep=False)  # pandas copies what is written to

    def get_table(self, name: str) -> pd.DataFrame:
        """The same as `table`."""
        return self.table(name)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.table(name)

    def arrow(self, name: str) -> pa.Table:
        """A table as Arrow; values of several types in one column are JSON texts. Raises KeyError, InvalidData."""
        return to_arrow(name, self.stored(name))

    def stored(self, name: str) -> pa.Table:
        """A table as it is stored, its layout in the schema's metadata. Raises KeyError, StorageUnavailable."""
        return self._table(name).stored

    def to_json(self) -> str:
        """The dataset as JSON: `metadata`, and of each table `data`, `columns`, `dtypes`, `index`."""
        return b"".join(render(self.metadata, map(self._reading, self._tables))).decode()

    @classmethod
    def from_json(cls, document: str | bytes | Mapping[str, Any]) -> Self:
        """What `to_json` gave, or its parsed form. Raises InvalidData naming table, column and row."""
        metadata, tables = parse_document(document)
        return cls(metadata["name"], tables, metadata.get("type", "master"), _id(metadata), metadata)

    @classmethod
    def lazy(
        cls,
        metadata: Mapping[str, Any],
        name: str,
        kind: DatasetType,
        tables: Mapping[str, Callable[[], pa.Table]],
    ) -> Self:
        """A dataset whose tables are called for, as stored ones, when they are first asked for."""
        made = cls(name, None, kind, _id(metadata), metadata)
        made._tables.update((table, _Table(table, load)) for table, load in tables.items())
        return made

    @classmethod
    def parameters(cls) -> Mapping[str, ParameterType[Any]]:
        """The dataset's own knobs, as an algorithm's; none unless a subclass declares some."""
        from tunesmith.scenarios.parameters import declared

        return declared(cls)

    def with_parameters(self, values: Mapping[str, JsonValue]) -> Self:
        """The same tables with these parameters set, the others at their defaults. Raises InvalidParameter."""
        from tunesmith.scenarios.parameters import parse

        changed = copy.copy(self)
        vars(changed).update(parse(self.parameters(), values, f"dataset {self.name!r}"))
        return changed

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        vars(made).update(vars(self), _tables=dict(self._tables))  # which share what they have read
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, tables={self.list_tables()})"

    def __init_subclass__(cls, **options: Any) -> None:
        from tunesmith.scenarios.parameters import check_names

        super().__init_subclass__(**options)
        own = (name for name in dir(DataSource) if not name.startswith("_"))
        check_names(cls, {*own, "name", "type", "id"})

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            known = ", ".join(self._tables) or "no tables"
            raise KeyError(f"dataset {self.name!r} has no table {name!r}; it has {known}")
        return self._tables[name]

    def _reading(self, name: str) -> Reading:
        table = self.stored(name)

        def batches(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
            return iter((table if columns is None else table.select(columns)).to_batches())

        return Reading(name, layout_of(table), table.num_rows, batches)


def full_metadata(
    metadata: Mapping[str, JsonValue], name: str, kind: str, tables: Sequence[str]
) -> dict[str, JsonValue]:
    """A dataset's metadata as JSON has them: as they came, but for what has changed since."""
    listed = metadata.get("tables")
    same = isinstance(listed, list) and sorted(map(str, listed)) == sorted(tables)
    return {**metadata, "name": name, "type": kind, "tables": listed if same else list(tables)}


def _id(metadata: Mapping[str, Any]) -> str | None:
    found = metadata.get("id")
    return found if isinstance(found, str) else None
