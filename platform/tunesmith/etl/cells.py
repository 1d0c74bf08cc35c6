"""Python values of a column, as JSON and workbooks give them, as one Arrow array that holds them exactly."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tunesmith.etl.messages import KEPT, Messages
from tunesmith.etl.outliers import outlier_of_values

SIMPLE = (bool, int, float, str, datetime.datetime)


class Note(NamedTuple):
    """What had to be done to make an array of values."""

    text: str
    place: int | None = None
    """Of the first value because of which, from 0."""


def array_of(values: Sequence[Any]) -> tuple[pa.Array, Note | None]:
    """The values as one array, and what had to be done to make it one."""
    try:
        array = pa.array(values, from_pandas=True)
    except UnicodeEncodeError:
        whole = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in values]
        return array_of(whole)[0], Note("lone surrogates, which are no characters, became `?`")
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_text(value) for value in values], pa.string()), _why(values)
    if pa.types.is_nested(array.type) or pa.types.is_time(array.type) or pa.types.is_duration(array.type):
        return pa.array([_text(value) for value in values], pa.string()), _why(values)
    if pa.types.is_date(array.type):  # a datetime among dates would lose its time of day
        return pa.array([_moment(value) for value in values], pa.timestamp("us")), None
    return array, None


def tell(note: Note | None, before: int, table: str, column: str, messages: Messages) -> None:
    """Tell of a block's column, before which there are so many rows, unless the same was told of a block before."""
    if note and not messages.told("warning", table, column, KEPT):
        row = None if note.place is None else before + 1 + note.place
        messages.add("warning", note.text, table, column, row, KEPT)


def _moment(value: Any) -> Any:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value, datetime.time())
    return value


def _text(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return str(value)
        case float():
            return None if value != value else repr(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _why(values: Sequence[Any]) -> Note:
    kinds = [type(value) for value in values if value is not None]
    found = outlier_of_values(values)
    if found is not None:
        return Note(found[1], found[0])
    if {dict, list} & set(kinds):
        return Note("nested values are kept as JSON texts")
    if set(kinds) <= {int, float}:
        return Note("integers too large for 64 bits, or for the floats beside them, are kept as texts")
    if len(set(kinds)) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in set(kinds)))
        place = next(place for place, value in enumerate(values) if value is not None and type(value) is not kinds[0])
        return Note(f"values of several types ({names}) are kept as texts", place)
    return Note("times of day and durations are kept as texts")
