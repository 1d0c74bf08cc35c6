"""What a stored table is beyond its Arrow types: pandas' names of types, JSON texts, missing keys, the index.

A stored table is an Arrow table with a layout in its schema's metadata. Its columns come first, in order; the index,
where it is not just 0, 1, 2..., is one more column at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
from pydantic import JsonValue

from tunesmith.domain.value import Value
from tunesmith.errors import InvalidData

KEY = b"tunesmith"
"""Where a layout stands in the metadata of a schema, and of a Parquet file."""
INDEX = "__index_level_0__"
"""What the index's column is called, unless a column has that name; pandas says so too."""


class IndexLayout(Value):
    """An index that is stored."""

    column: str
    """The name of its column."""
    names: tuple[JsonValue, ...] = ()
    """The names of its levels; empty: none has one."""
    dtypes: tuple[str, ...] = ()
    """pandas' names of its levels' types; empty: what pandas makes of the values."""
    levels: int = 1
    """How many levels it has; the values of more than one are lists."""


class Categories(Value):
    """What a categorical column may hold."""

    values: tuple[JsonValue, ...]
    """In their order, also those that no row has."""
    ordered: bool
    """Whether the order means something."""


class Layout(Value):
    """What a stored table is beyond its Arrow types."""

    dtypes: Mapping[str, str]
    """Column -> pandas' name of its type, in the columns' order."""
    texts: frozenset[str] = frozenset()
    """Columns whose cells are JSON texts; null is no key at all, the text `null` is a null."""
    missing: frozenset[str] = frozenset()
    """Other columns whose nulls are keys that the record does not have."""
    categories: Mapping[str, Categories] = {}
    """Of categorical columns, where it is known."""
    index: IndexLayout | None = None
    """None: 0, 1, 2..."""

    @property
    def columns(self) -> list[str]:
        """The columns, in order."""
        return list(self.dtypes)

    def mark(self, schema: pa.Schema) -> pa.Schema:
        """The schema with this layout in its metadata, instead of any other metadata."""
        return schema.with_metadata({KEY: self.model_dump_json()})


def layout_of(table: pa.Table | pa.Schema) -> Layout:
    """The layout of a stored table, or of its schema. Raises KeyError: it has none."""
    schema = table.schema if isinstance(table, pa.Table) else table
    return Layout.model_validate_json((schema.metadata or {})[KEY])


def plain_layout(schema: pa.Schema, nulls: Mapping[str, int]) -> Layout:
    """The layout of an Arrow table without one; `nulls`: column -> how many there are."""
    return Layout(dtypes={field.name: dtype_of(field.type, nulls.get(field.name, 0) > 0) for field in schema})


def check_names(table: str, columns: Sequence[str]) -> None:
    """Raise InvalidData unless the table and its columns have usable names, and each column one of its own."""
    check_text(table, f"the name of table {table!r}")
    for name in columns:
        check_text(name, f"table {table!r}: the name of column {name!r}")
    if twice := next((name for name, count in Counter(columns).items() if count > 1), None):
        raise InvalidData(f"table {table!r} has column {twice!r} twice; rename one", table=table, column=twice)


def check_text(text: str, what: str) -> None:
    """Raise InvalidData when a name holds what databases and files cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidData(f"{what} holds a lone surrogate, which is no character; remove it") from None
    if "\0" in text:
        raise InvalidData(f"{what} holds a NUL character (\\u0000); remove it")


def free_name(columns: Collection[str]) -> str:
    """A name for the index that no column has."""
    name = INDEX
    while name in columns:
        name = f"_{name}"
    return name


def dtype_of(kind: pa.DataType, nulls: bool) -> str:
    """pandas' name of the type that holds exactly what an Arrow type does; `nulls`: whether there are any."""
    if pa.types.is_dictionary(kind):
        return "category"
    if pa.types.is_integer(kind):
        name = str(kind)
        return name.replace("i", "I", 1).replace("u", "U", 1) if nulls else name
    if pa.types.is_boolean(kind):
        return "boolean" if nulls else "bool"
    if pa.types.is_floating(kind):
        return f"float{kind.bit_width}"
    if pa.types.is_timestamp(kind):
        return f"datetime64[{kind.unit}, {kind.tz}]" if kind.tz else f"datetime64[{kind.unit}]"
    if pa.types.is_duration(kind):
        return f"timedelta64[{kind.unit}]"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "str"
    return "object"
