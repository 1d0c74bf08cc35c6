"""Values of a column <-> an Arrow array that holds them exactly: of their own type, or of JSON texts."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""A key that a record does not have."""
_STRICT = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_LENIENT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
_NUMBERS = {"NaN": "null", "Infinity": "1e999", "-Infinity": "-1e999"}
"""What JSON has for them: every reader of doubles takes 1e999 for infinity."""
_NATIVE: Mapping[type, Sequence[pa.DataType]] = {
    bool: (pa.bool_(),),
    int: (pa.int64(), pa.uint64()),
    float: (pa.float64(),),
    str: (pa.string(), pa.large_string()),
}


class Cells(NamedTuple):
    """A column as it is stored."""

    array: pa.Array | pa.ChunkedArray
    """The values."""
    text: bool = False
    """They are JSON texts; null is a missing key."""
    missing: bool = False
    """Nulls are missing keys."""


def encode(values: Sequence[Any]) -> Cells:
    """JSON values, MISSING among them or not. Raises TypeError, ValueError: a value is none, or no text of Unicode."""
    kinds = set(map(type, values))
    nulls = kinds & {type(None), _Missing}
    kinds -= nulls
    if len(kinds) <= 1 and len(nulls) <= 1:
        missing = _Missing in nulls
        plain = [None if value is MISSING else value for value in values] if missing else values
        if not kinds:
            return Cells(pa.nulls(len(values)), missing=missing)
        for kind in _NATIVE.get(next(iter(kinds)), ()):
            try:
                return Cells(pa.array(plain, kind), missing=missing)
            except (OverflowError, pa.ArrowInvalid, pa.ArrowCapacityError):
                continue  # beyond 64 bits
    return Cells(texts(values), text=True)


def texts(values: Sequence[Any]) -> pa.Array:
    """Values as an array of JSON texts, null for MISSING. Raises TypeError, ValueError."""
    return pa.array([None if value is MISSING else dump(value) for value in values], pa.string())


def dump(value: Any) -> str:
    """A value as JSON text; infinities are 1e999. Raises TypeError, ValueError."""
    try:
        return _STRICT(value)
    except ValueError:  # NaN, an infinity, or a circle, which raises again
        return _WORDS.sub(lambda word: _NUMBERS.get(word[0], word[0]), _LENIENT(value))


def to_values(array: pa.Array | pa.ChunkedArray, text: bool) -> list[Any]:
    """The values that a stored column stands for; None for a missing key."""
    found: list[Any] = array.to_pylist()
    return [None if each is None else json.loads(each) for each in found] if text else found


def from_objects(values: Sequence[Any]) -> Cells:
    """Python objects, as a frame's columns of type object have them. Raises TypeError, ValueError: it is no data."""
    plain = [None if _is_null(value) else value for value in values]
    kinds = set(map(type, plain)) - {type(None)}
    if len(kinds) == 1 and kinds <= {date, time, Decimal, bytes}:
        return Cells(pa.array(plain))
    return encode([value if type(value) in _NATIVE else to_json(value) for value in plain])


def to_json(value: Any) -> Any:
    """What JSON has for a value of pandas, numpy or Python: times are ISO 8601, bytes base64. Raises TypeError."""
    if _is_null(value):
        return None
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, str | int | float):  # also of classes derived from them
        return next(kind(value) for kind in (str, bool, int, float) if isinstance(value, kind))
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [to_json(each) for each in value]
    if isinstance(value, pd.Timedelta | timedelta):
        return pd.Timedelta(value).isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal | UUID | pd.Period):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no data")


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))
