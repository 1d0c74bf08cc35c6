"""What the cells of a column are: told from texts block by block, widened where a later one needs it, converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import pyarrow as pa
from pyarrow import compute

pc: Any = compute  # its functions come into being when it is imported

EXACT = 2**53
"""Beyond it a float no longer holds every integer."""
DECIMAL_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"
DOTTED_DATE = r"^(\d{1,2})\.(\d{1,2})\.(\d{4})$"


class Kind(StrEnum):
    """What a column's cells have in common."""

    NOTHING = "nothing"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"  # integers that a float would not hold exactly
    FLOAT = "float"
    DECIMAL_COMMA = "decimal comma"
    DATETIME = "datetime"
    ZONED = "zoned"
    DOTTED_DATE = "dotted date"
    TEXT = "text"


TYPES: dict[Kind, pa.DataType] = {
    Kind.NOTHING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.INTEGER: pa.int64(),
    Kind.LONG: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.DECIMAL_COMMA: pa.float64(),
    Kind.DATETIME: pa.timestamp("us"),
    Kind.ZONED: pa.timestamp("us", "UTC"),
    Kind.DOTTED_DATE: pa.timestamp("us"),
    Kind.TEXT: pa.string(),
}
WIDER = {
    frozenset({Kind.INTEGER, Kind.LONG}): Kind.LONG,
    frozenset({Kind.INTEGER, Kind.FLOAT}): Kind.FLOAT,
    frozenset({Kind.INTEGER, Kind.DECIMAL_COMMA}): Kind.DECIMAL_COMMA,
}


def wider(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds the cells of both."""
    if one == other or other == Kind.NOTHING:
        return one
    return other if one == Kind.NOTHING else WIDER.get(frozenset({one, other}), Kind.TEXT)


@dataclass(frozen=True)
class Spelling:
    """How values are spelled in a file of texts."""

    nulls: frozenset[str]
    text_nulls: frozenset[str]
    decimal_comma: bool = False

    def kind(self, cells: pa.Array, known: Kind) -> Kind:
        """The kind of a column of which `known` is known from earlier blocks, with these cells too."""
        if known == Kind.TEXT or cells.null_count == len(cells):
            return known
        candidates = [known, *(kind for kind in READERS if kind != known)]
        for kind in candidates:
            if kind in (Kind.NOTHING, Kind.LONG) or (kind == Kind.DECIMAL_COMMA and not self.decimal_comma):
                continue
            try:
                read = self.convert(cells, kind)
            except pa.ArrowInvalid:
                continue
            if read.null_count == len(read):
                return known
            return wider(known, Kind.LONG if kind == Kind.INTEGER and _is_long(read) else kind)
        return Kind.TEXT

    def first_unlike(self, cells: pa.Array, known: Kind) -> int:
        """How many cells stand before the first that makes texts of a column of a kind."""
        kinds = [kind for kind in READERS if wider(known, kind) == kind]
        return max(self.first_other(cells, kind) for kind in kinds if kind != Kind.DECIMAL_COMMA or self.decimal_comma)

    def first_other(self, cells: pa.Array, kind: Kind) -> int:
        """How many cells stand before the first that is not of a kind."""
        low, high = 0, len(cells)  # the first `low` are, the first `high` are not
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.convert(cells.slice(low, middle - low), kind)
                low = middle
            except pa.ArrowInvalid:
                high = middle
        return low

    def convert(self, cells: pa.Array, kind: Kind) -> pa.Array:
        """The cells as values of a kind. Raises ArrowInvalid: one of them is none."""
        if kind in (Kind.TEXT, Kind.NOTHING):
            return without(_without_blanks(cells), self.text_nulls)
        reader = READERS[kind]
        try:
            return reader(cells)
        except pa.ArrowInvalid:
            return reader(without(pc.utf8_trim_whitespace(cells), self.nulls))


def without(cells: pa.Array, nulls: frozenset[str]) -> pa.Array:
    """Texts with those that mean "no value", and empty ones, taken away."""
    return pc.if_else(pc.is_in(cells, _values(nulls)), pa.scalar(None, cells.type), cells)


@lru_cache
def _values(nulls: frozenset[str]) -> pa.Array:
    return pa.array(["", *nulls])


def _without_blanks(cells: pa.Array) -> pa.Array:
    """Cells of nothing but spaces emptied; the others keep theirs."""
    if not pc.any(pc.or_(pc.starts_with(cells, " "), pc.starts_with(cells, "\t"))).as_py():
        return cells  # trimming takes long, and few files need it
    return pc.if_else(pc.equal(pc.binary_length(pc.utf8_ltrim(cells, characters=" \t")), 0), "", cells)


def kind_of(values: pa.Array, known: Kind | pa.DataType) -> Kind | pa.DataType:
    """The same for values that have a type; a type of no kind stays while every block has it, else they are texts."""
    if values.null_count == len(values):
        return known
    found = _kind_of_type(values)
    if isinstance(found, Kind) and isinstance(known, Kind):
        return wider(known, found)
    return found if known in (found, Kind.NOTHING) else Kind.TEXT


def _kind_of_type(values: pa.Array) -> Kind | pa.DataType:
    type_ = values.type
    if pa.types.is_boolean(type_):
        return Kind.BOOLEAN
    if pa.types.is_integer(type_) and type_ != pa.uint64():
        return Kind.LONG if _is_long(values) else Kind.INTEGER
    if pa.types.is_floating(type_):
        return Kind.FLOAT
    if pa.types.is_timestamp(type_) and type_.unit != "ns":
        return Kind.ZONED if type_.tz else Kind.DATETIME
    return Kind.TEXT if pa.types.is_string(type_) or pa.types.is_large_string(type_) else type_


def type_of(kind: Kind | pa.DataType) -> pa.DataType:
    """The Arrow type of a column of a kind."""
    return TYPES[kind] if isinstance(kind, Kind) else kind


def cast(values: pa.Array, kind: Kind | pa.DataType) -> pa.Array:
    """Values that have a type as those of the kind that `kind_of` found."""
    if kind in (Kind.TEXT, Kind.NOTHING):
        return as_text(values)
    return values.cast(type_of(kind))


def as_text(values: pa.Array) -> pa.Array:
    """Values of any type as texts, exactly."""
    if pa.types.is_floating(values.type):
        return pa.array([None if value is None else repr(value) for value in values.to_pylist()], pa.string())
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type) or pa.types.is_time(values.type):
        return pa.array([None if value is None else value.isoformat() for value in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _is_long(values: pa.Array) -> bool:
    bounds = pc.min_max(values).as_py()
    return bounds["min"] is not None and max(-bounds["min"], bounds["max"]) > EXACT


def _refuse_codes(cells: pa.Array) -> None:
    """Codes like 007, telephone numbers and hexadecimal numbers are texts."""
    suspects = cells.filter(
        pc.or_(pc.starts_with(cells, "0"), pc.or_(pc.starts_with(cells, "-0"), pc.starts_with(cells, "+")))
    )
    if len(suspects) and pc.any(pc.match_substring_regex(suspects, r"^(-?0[^.,eE]|\+)")).as_py():
        raise pa.ArrowInvalid("codes, not numbers")


def _booleans(cells: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(cells)
    if not pc.all(pc.is_in(lower, pa.array(["true", "false", None]))).as_py():
        raise pa.ArrowInvalid("not all true or false")
    return lower.cast(pa.bool_())


def _integers(cells: pa.Array) -> pa.Array:
    _refuse_codes(cells)
    return cells.cast(pa.int64())


def _floats(cells: pa.Array) -> pa.Array:
    _refuse_codes(cells)
    read = cells.cast(pa.float64())
    long = cells.filter(pc.greater(pc.binary_length(cells), 15))
    digits = pc.match_substring_regex(long, r"^-?\d{16,}$")
    if len(long) and pc.any(pc.greater_equal(pc.abs(read), float(EXACT))).as_py() and pc.any(digits).as_py():
        raise pa.ArrowInvalid("integers that a float would round")
    return pc.if_else(pc.is_nan(read), pa.scalar(None, pa.float64()), read)


def _decimal_commas(cells: pa.Array) -> pa.Array:
    _refuse_codes(cells)
    if not pc.all(pc.match_substring_regex(cells, DECIMAL_COMMA)).as_py():
        raise pa.ArrowInvalid("not all numbers with a decimal comma")
    plain = pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
    return _floats(plain)


def _datetimes(cells: pa.Array) -> pa.Array:
    return cells.cast(pa.timestamp("us"))


def _zoned(cells: pa.Array) -> pa.Array:
    return cells.cast(pa.timestamp("us", "UTC"))


def _dotted_dates(cells: pa.Array) -> pa.Array:
    if not pc.all(pc.match_substring_regex(cells, DOTTED_DATE)).as_py():
        raise pa.ArrowInvalid("not all dates like 31.12.2026")
    read = pc.strptime(cells, "%d.%m.%Y", "us")  # takes 31.02. for the 2nd of March
    days = pc.struct_field(pc.extract_regex(cells, r"^(?P<day>\d+)"), "day").cast(pa.int64())
    if not pc.all(pc.equal(pc.day(read), days)).as_py():
        raise pa.ArrowInvalid("not all dates that exist")
    return read


READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.INTEGER: _integers,
    Kind.LONG: _integers,
    Kind.FLOAT: _floats,
    Kind.BOOLEAN: _booleans,
    Kind.DATETIME: _datetimes,
    Kind.ZONED: _zoned,
    Kind.DECIMAL_COMMA: _decimal_commas,
    Kind.DOTTED_DATE: _dotted_dates,
}
