"""Python values of a column, as JSON and workbooks give them, as one Arrow array that holds them exactly."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

SIMPLE = (bool, int, float, str, datetime.datetime)


def array_of(values: Sequence[Any]) -> tuple[pa.Array, str | None]:
    """The values as one array, and what had to be done to make it one: a sentence, or None."""
    try:
        array = pa.array(values, from_pandas=True)
    except UnicodeEncodeError:
        whole = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in values]
        return array_of(whole)[0], "lone surrogates, which are no characters, became `?`"
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_text(value) for value in values], pa.string()), _why(values)
    if pa.types.is_nested(array.type) or pa.types.is_time(array.type) or pa.types.is_duration(array.type):
        return pa.array([_text(value) for value in values], pa.string()), _why(values)
    if pa.types.is_date(array.type):  # a datetime among dates would lose its time of day
        return pa.array([_moment(value) for value in values], pa.timestamp("us")), None
    return array, None


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


def _why(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds & {dict, list}:
        return "nested values are kept as JSON texts"
    if kinds <= {int, float}:
        return "integers too large for 64 bits, or for the floats beside them, are kept as texts"
    if len(kinds) > 1:
        return f"values of several types ({', '.join(sorted(kind.__name__ for kind in kinds))}) are kept as texts"
    return "times of day and durations are kept as texts"
