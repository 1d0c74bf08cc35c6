"""Cells of a column -> numbers (float64, NaN missing) or categories (texts, null missing)."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from tunesmith.automl.csv_layout import MISSING, NUMBER
from tunesmith.automl.run import FeatureKind

pc: Any = compute  # its functions come into being when it is imported
FRACTION = r"[.,eEnN]"
"""What no text of a whole number has."""
WHOLE = 2.0**53
"""Up to here float64 has every whole number."""


class Kind(Enum):
    """What the cells of a column are."""

    NUMBER = "numbers"
    BOOLEAN = "true and false"
    TIME = "times"
    CATEGORY = "categories"


OTHERS: dict[FeatureKind, tuple[Kind, ...]] = {"boolean": (Kind.BOOLEAN,), "time": (Kind.TIME,)}
"""What texts of a feature may stand for besides numbers."""


def kind_of(cells: Any, decimal_comma: bool) -> Kind | None:
    """What cells of text stand for; None: they are all missing."""
    if cells.null_count == len(cells):
        return None
    parsed = (kind for kind in (Kind.NUMBER, Kind.BOOLEAN, Kind.TIME) if parse(cells, kind, decimal_comma) is not None)
    return next(parsed, Kind.CATEGORY)


def kind_of_type(type_: Any) -> Kind | None:
    """What cells of an Arrow type are; None: they are all missing. Raises TypeError: neither numbers nor categories."""
    is_ = pa.types
    if is_.is_null(type_):
        return None
    if is_.is_boolean(type_):
        return Kind.BOOLEAN
    if is_.is_integer(type_) or is_.is_floating(type_) or is_.is_decimal(type_):
        return Kind.NUMBER
    if is_.is_temporal(type_):
        return Kind.TIME
    if is_.is_dictionary(type_):
        kind_of_type(type_.value_type)
        return Kind.CATEGORY
    if is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_):
        return Kind.CATEGORY
    raise TypeError(str(type_))


def parse(cells: Any, kind: Kind, decimal_comma: bool) -> NDArray[np.float64] | None:
    """Cells of text as numbers, or as the numbers that booleans and times are; None: one of them is no such thing."""
    match kind:
        case Kind.NUMBER:
            found = _cast(cells, pa.float64())
            if found is None:
                found = _cast(_trimmed(cells, decimal_comma), pa.float64())
        case Kind.BOOLEAN:
            found = _booleans(cells)
        case _:
            found = _seconds_of_text(_trimmed(cells))
    return None if found is None else _as_floats(found)


def to_numbers(cells: Any) -> NDArray[np.float64]:
    """Cells of a type that stands for numbers. Times become seconds since 1970-01-01 UTC, durations seconds."""
    kind = cells.type
    if pa.types.is_temporal(kind):
        return _as_floats(_seconds(cells))
    return _as_floats(pc.cast(cells, pa.float64(), safe=False))


def to_categories(cells: Any, text: bool) -> Any:
    """Cells as a dictionary array of texts; `text`: of a CSV file, where blanks around a cell mean nothing."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    encoded = pc.cast(cells, pa.string()).dictionary_encode()
    if not text:
        return encoded
    words = _trimmed(encoded.dictionary)
    if words.equals(encoded.dictionary):
        return encoded
    merged = words.dictionary_encode()
    return pa.DictionaryArray.from_arrays(merged.indices.take(encoded.indices), merged.dictionary)


def are_numbers(words: Any, decimal_comma: bool) -> NDArray[np.bool_]:
    """Which texts are numbers."""
    plain = pc.replace_substring(words, ",", ".") if decimal_comma else words
    found: NDArray[np.bool_] = pc.match_substring_regex(plain, NUMBER).to_numpy(zero_copy_only=False)
    return found.astype(bool)


def are_whole(cells: Any, values: NDArray[np.float64]) -> bool:
    """Whether cells are whole numbers that float64 has exactly, by type or as they are written."""
    if pa.types.is_integer(cells.type):
        return bool((np.abs(values[~np.isnan(values)]) <= WHOLE).all())
    if not pa.types.is_string(cells.type):
        return False
    fractions = pc.any(pc.match_substring_regex(cells, FRACTION)).as_py()
    return not fractions and bool((np.abs(values[~np.isnan(values)]) <= WHOLE).all())


def as_category(value: Any) -> str | None:
    """A JSON value as the category that tables have for it. Raises TypeError: it is a list or an object."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        return None if math.isnan(value) else str(pc.cast(pa.scalar(value), pa.string()).as_py())
    raise TypeError(f"a {type(value).__name__} is no category")


def as_number(value: Any, kind: FeatureKind = "number") -> float:
    """A JSON value as the number that tables have for it; NaN for null. `kind`: of the column.

    Numbers may be texts. Of a time they are seconds since 1970-01-01 UTC, and it may be a text of ISO 8601; of a
    boolean they are 0 and 1. Raises TypeError, ValueError: it is no such thing.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) and kind != "boolean":
        raise TypeError(f"a boolean is no {kind}")
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"a {type(value).__name__} is no {kind}")
    found = _of_text(value, kind) if isinstance(value, str) else float(value)
    if kind == "boolean" and found not in (0, 1) and not math.isnan(found):
        raise ValueError("it is neither true nor false")
    return found


def _of_text(text: str, kind: FeatureKind) -> float:
    cells = pa.array([text])
    for each in (Kind.NUMBER, *OTHERS.get(kind, ())):
        if (found := parse(cells, each, decimal_comma=False)) is not None:
            return float(found[0])
    raise ValueError(f"it is no {kind}")


def _cast(cells: Any, type_: Any) -> Any:
    """The cells in another type, or None."""
    try:
        return pc.cast(cells, type_)
    except pa.ArrowInvalid:
        return None


def _trimmed(cells: Any, decimal_comma: bool = False) -> Any:
    """Cells of text without blanks around them."""
    bare = pc.utf8_trim_whitespace(cells)
    bare = pc.if_else(pc.is_in(bare, pa.array(MISSING)), None, bare)
    return pc.replace_substring(bare, ",", ".") if decimal_comma else bare


def _booleans(cells: Any) -> Any:
    words = pc.utf8_lower(_trimmed(cells))
    known = pc.or_kleene(pc.equal(words, "true"), pc.equal(words, "false"))
    if not pc.all(known).as_py():
        return None
    return pc.cast(pc.equal(words, "true"), pa.float64())


def _seconds_of_text(cells: Any) -> Any:
    for type_ in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        if (found := _cast(cells, type_)) is not None:
            return _seconds(found)
    return None


def _seconds(cells: Any) -> Any:
    kind = cells.type
    if pa.types.is_timestamp(kind):
        fine = pa.timestamp("us", kind.tz)
    elif pa.types.is_date(kind):
        fine = pa.timestamp("us")
    else:
        fine = pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")
    whole = pc.cast(pc.cast(cells, fine, safe=False), pa.int64())
    return pc.divide(pc.cast(whole, pa.float64(), safe=False), 1e6)


def _as_floats(cells: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = cells.to_numpy(zero_copy_only=False)
    return found
