"""What tables should look like: `Schema` and `Column`, as plugins declare them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tunesmith.errors import InvalidSettings
from tunesmith.etl.messages import Severity

ColumnType = Literal["string", "integer", "float", "boolean", "date", "datetime"]
ALIASES: dict[Any, ColumnType] = {str: "string", int: "integer", float: "float", bool: "boolean", "str": "string"}
ALIASES |= {"int": "integer", "number": "float", "bool": "boolean", "text": "string", "timestamp": "datetime"}


@dataclass(frozen=True)
class Column:
    """A column: its type, and what its values must keep to.

    A value that breaks a rule is a message of `severity`; unless that is critical, the table is stored all the same,
    with no value where one could not be read as the column's type.
    """

    name: str
    """Found in a file whatever its case and the spaces around it."""
    type: ColumnType | type | None = None
    """string, integer, float, boolean, date or datetime, or Python's str, int, float, bool; None: as in the file."""
    nullable: bool = False
    """Whether a cell may be without a value."""
    required: bool = True
    """Whether the table must have the column; one with a default is made where it is missing."""
    unique: bool = False
    """Whether no value may stand there twice."""
    primary_key: bool = False
    """Part of the table's primary key: never without a value; all such columns together are unique."""
    foreign_key: str | None = None
    """`table.column`: every value must stand there."""
    default: Any = None
    """What a cell without a value gets."""
    checks: Sequence[Any] = ()
    """Checks of pandera's (`pandera.pandas.Check.ge(0)`), or functions that take a pandas Series and give booleans for
    its values; they see a table in blocks of some ten thousand rows."""
    format: str | None = None
    """How dates are written, as `strptime` has it (`%d/%m/%Y`), where it is not ISO 8601 or 31.12.2026."""
    severity: Severity = "critical"
    """How a value that breaks a rule counts."""

    def __post_init__(self) -> None:
        kind = ALIASES.get(self.type, self.type) if self.type is not None else None
        if kind is not None and kind not in get_args(ColumnType):
            raise InvalidSettings(
                f"column {self.name!r}: {self.type!r} is no type; take one of {', '.join(get_args(ColumnType))}"
            )
        if self.severity not in get_args(Severity):
            raise InvalidSettings(f"column {self.name!r}: {self.severity!r} is none of {', '.join(get_args(Severity))}")
        if self.foreign_key is not None and not all(self.foreign_key.rpartition(".")):
            raise InvalidSettings(f"column {self.name!r}: a foreign key is written table.column: {self.foreign_key!r}")
        if isinstance(self.checks, str) or not all(callable(check) for check in self.checks):
            raise InvalidSettings(f"column {self.name!r}: checks are pandera's Check objects or functions of a Series")
        object.__setattr__(self, "type", kind)

    @property
    def may_be_null(self) -> bool:
        """Whether a cell may be without a value, primary keys considered."""
        return self.nullable and not self.primary_key

    @property
    def parent(self) -> tuple[str, str] | None:
        """Table and column that the foreign key points to."""
        if self.foreign_key is None:
            return None
        table, _, column = self.foreign_key.rpartition(".")
        return table, column


@dataclass(frozen=True)
class Schema:
    """A table: its columns, and whether it must be there."""

    table: str
    """The table's name: a file's stem, or a sheet's."""
    columns: Sequence[Column]
    """Its columns; they come first, in this order."""
    required: bool = True
    """Whether an upload without this table is refused."""
    unique: Sequence[Sequence[str]] = ()
    """Groups of columns whose values together may not stand there twice."""
    others: Literal["keep", "drop", "refuse"] = "keep"
    """What becomes of columns that are not declared."""
    checks: Sequence[Callable[..., Any]] = ()
    """Checks over several columns: pandera's, or functions that take a DataFrame and give booleans for its rows."""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if twice := [name for name, count in Counter(map(str.casefold, names)).items() if count > 1]:
            raise InvalidSettings(f"schema {self.table!r} declares column {twice[0]!r} twice")
        if unknown := [name for group in self.unique for name in group if name not in names]:
            raise InvalidSettings(f"schema {self.table!r}: unique names {unknown[0]!r}, which is no column of it")

    @property
    def name(self) -> str:
        """The same as `table`."""
        return self.table

    def column(self, name: str) -> Column | None:
        """The declared column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """Groups of columns that are unique: the primary key, unique columns, and the groups of `unique`."""
        primary = tuple(column.name for column in self.columns if column.primary_key)
        single = [(column.name,) for column in self.columns if column.unique and (column.name,) != primary]
        return [*([primary] if primary else []), *single, *(tuple(group) for group in self.unique)]
