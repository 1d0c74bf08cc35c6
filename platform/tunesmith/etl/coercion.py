"""Values as their declared types: whole blocks at once, and value by value where one of them does not fit."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import compute

from tunesmith.etl.kinds import Kind, Spelling, as_text, without
from tunesmith.etl.messages import shown
from tunesmith.etl.schema import Column

pc: Any = compute  # its functions come into being when it is imported

YES = {"true", "t", "yes", "y", "on", "1", "1.0", "ja", "wahr", "oui", "si", "sí"}
NO = {"false", "f", "no", "n", "off", "0", "0.0", "nein", "falsch", "non"}
ARTICLES = {"integer": "an integer", "string": "a text"}
TYPES = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
KINDS = {"integer": (), "float": (Kind.FLOAT, Kind.DECIMAL_COMMA), "boolean": (Kind.BOOLEAN,)}
MOMENTS = (Kind.DATETIME, Kind.DOTTED_DATE)


@dataclass(frozen=True)
class Coercion:
    """Makes a column's values what its declaration says."""

    column: Column
    spelling: Spelling

    def target(self, source: pa.DataType) -> pa.DataType:
        """The Arrow type that values of an Arrow type become."""
        if self.column.type is None:
            return source
        if self.column.type in ("date", "datetime"):
            return pa.timestamp("us", "UTC" if pa.types.is_timestamp(source) and source.tz else None)
        return TYPES[str(self.column.type)]

    def apply(self, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:
        """The values in their new type, and which of them did not fit, and so are null now; None: all fit."""
        if self.column.type is None:
            return values, None
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        if self.column.type == "string":
            return self._texts(values)
        if _is_text(values.type):
            values = without(pc.utf8_trim_whitespace(values.cast(pa.string())), self.spelling.nulls)
        target = self.target(values.type)
        try:
            found = self._whole(values, target)
            if self.column.type == "date" and not pc.all(pc.equal(found, pc.floor_temporal(found, unit="day"))).as_py():
                raise pa.ArrowInvalid("a time of day in a date")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return self._one_by_one(values, target)
        return found, None

    def parse(self, value: Any) -> Any:
        """One value as its type. Raises ValueError."""
        match self.column.type:
            case "integer":
                return _integer(value)
            case "float":
                return _float(value, self.spelling.decimal_comma)
            case "boolean":
                return _boolean(value)
            case "date" | "datetime":
                return self._moment(value)
            case _:
                return value

    def wrong(self, value: Any) -> str:
        """What to say of a value that does not fit."""
        form = f" of the form {self.column.format}" if self.column.format else ""
        return f"{shown(value)} is not {ARTICLES.get(str(self.column.type), f'a {self.column.type}')}{form}"

    def _texts(self, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:
        try:
            return values if values.type == pa.string() else as_text(values), None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pa.nulls(len(values), pa.string()), pc.is_valid(values)

    def _whole(self, values: pa.Array, target: pa.DataType) -> pa.Array:
        if values.null_count == len(values):
            return pa.nulls(len(values), target)
        if _is_text(values.type):
            if self.column.format is not None:
                raise pa.ArrowInvalid("each on its own: strptime of Arrow takes the 31st of February")
            kinds = MOMENTS if pa.types.is_timestamp(target) else KINDS[str(self.column.type)]
            for kind in kinds:
                try:
                    if kind != Kind.DECIMAL_COMMA or self.spelling.decimal_comma:
                        return self.spelling.convert(values, kind)
                except pa.ArrowInvalid:
                    continue
            if self.column.type != "integer" or pc.any(pc.match_substring_regex(values, "[xX]")).as_py():
                raise pa.ArrowInvalid("some do not fit")
            return values.cast(target)
        numbers = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        if numbers != (pa.types.is_integer(target) or pa.types.is_floating(target)):
            raise pa.ArrowInvalid("numbers are no dates and no booleans")
        return values.cast(target, safe=not pa.types.is_floating(target))

    def _one_by_one(self, values: pa.Array, target: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
        encoded = values.dictionary_encode()
        parsed: list[Any] = []
        fits: list[bool] = []
        for value in encoded.dictionary.to_pylist():
            try:
                parsed.append(pa.scalar(self.parse(value), target).as_py())
                fits.append(True)
            except (ValueError, OverflowError, pa.ArrowException):
                parsed.append(None)
                fits.append(False)
        found = pa.array(parsed, target).take(encoded.indices)
        bad = pc.fill_null(pc.invert(pa.array(fits, pa.bool_()).take(encoded.indices)), False)
        return found, bad if pc.any(bad).as_py() else None

    def _moment(self, value: Any) -> datetime.datetime:
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        if isinstance(value, str):
            if self.column.format is not None:
                value = datetime.datetime.strptime(value, self.column.format)
            elif re.fullmatch(r"\d{1,2}\.\d{1,2}\.\d{4}", value):
                value = datetime.datetime.strptime(value, "%d.%m.%Y")
            else:
                value = datetime.datetime.fromisoformat(value)
        if not isinstance(value, datetime.datetime):
            raise ValueError("no date")
        if self.column.type == "date" and value.time() != datetime.time():
            raise ValueError("it has a time of day")
        return value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _integer(value: Any) -> int:
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d+(\.0*)?", value):
        raise ValueError("no integer")
    if isinstance(value, str):
        return int(value.partition(".")[0])
    if not isinstance(value, int | float) or int(value) != value:
        raise ValueError("no integer")
    return int(value)


def _float(value: Any, decimal_comma: bool) -> float:
    if isinstance(value, str):
        comma = decimal_comma and re.fullmatch(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+", value)
        value = value.replace(".", "").replace(",", ".") if comma else value
        if "_" in value:
            raise ValueError("no number")
        return float(value)
    if isinstance(value, datetime.date | datetime.timedelta):
        raise ValueError("no number")
    return float(value)


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in YES | NO:
        raise ValueError("neither true nor false")
    return word in YES
