"""Values that keep a column from being what most of its values are."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute

from tunesmith.etl.kinds import Kind, Spelling, without
from tunesmith.etl.messages import shown

pc: Any = compute  # its functions come into being when it is imported

NOUNS = {
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "number",
    Kind.LONG: "integer",
    Kind.FLOAT: "number",
    Kind.DECIMAL_COMMA: "number",
    Kind.DATETIME: "date like 2026-12-31",
    Kind.ZONED: "date with a time zone",
    Kind.DOTTED_DATE: "date like 31.12.2026",
}
NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
DECIMAL_COMMA = r"^[-+]?[\d.]*\d(,\d+)?$"
MOMENT = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d){0,2}(\.\d+)?)?"
LOOKS = {
    Kind.FLOAT: NUMBER,
    Kind.DECIMAL_COMMA: DECIMAL_COMMA,
    Kind.BOOLEAN: r"(?i)^(true|false)$",
    Kind.DATETIME: MOMENT + "$",
    Kind.ZONED: MOMENT + r"(Z|[-+]\d\d(:?\d\d)?)$",
    Kind.DOTTED_DATE: r"^\d{1,2}\.\d{1,2}\.\d{4}$",
}
"""What the values of a kind look like, codes and dates that do not exist among them."""
BEGINNING = r"(?i)^([-+.]?\d|true$|false$)"
"""How all of these begin, which most texts do not."""


def outlier(cells: pa.Array, spelling: Spelling) -> tuple[int, str] | None:
    """Where among the cells of a column of texts the first stands without which it might be none, and what to say.

    None: too many cells are texts, or they are codes.
    """
    cells = without(pc.utf8_trim_whitespace(cells), spelling.nulls)
    held = len(cells) - cells.null_count
    if not _most(_count(cells, BEGINNING), held):
        return None
    for kind, look in LOOKS.items():
        if kind == Kind.DECIMAL_COMMA and not spelling.decimal_comma:
            continue
        if _most(_count(cells, look), held):
            place = spelling.first_other(cells, kind)
            return None if _are_codes(cells, kind, spelling) else (place, sentence(cells[place].as_py(), kind))
    return None


def outlier_of_values(values: Sequence[Any]) -> tuple[int, str] | None:
    """The same for values that have types: None where no type is that of most."""
    classes = [_class(value) for value in values]
    found = Counter(each for each in classes if each is not None)
    most, count = max(found.items(), key=lambda item: item[1], default=("", 0))
    if most not in NOUNS or count == found.total() or not _most(count, found.total()):
        return None
    place = next(place for place, each in enumerate(classes) if each not in (most, None))
    return place, sentence(values[place], Kind(most))


def sentence(value: Any, kind: Kind | pa.DataType) -> str:
    """What to say of a value that makes texts of a column of a kind."""
    noun = NOUNS[kind] if isinstance(kind, Kind) else str(kind)
    digits = noun in ("number", "integer") and re.fullmatch(r"[-+]?\d+", str(value).strip())
    why = "is a code, or too long for a number" if digits else f"is no {noun}"
    return f"{shown(value)} {why}: the column is kept as text"


def _most(count: int, held: int) -> bool:
    """Whether so many values of `held` make the type: all but a tenth, or all but one of a few."""
    return count >= 2 and held - count <= max(1, held // 10)


def _count(cells: pa.Array, look: str) -> int:
    return int(pc.sum(pc.match_substring_regex(cells, look)).as_py() or 0)


def _are_codes(cells: pa.Array, kind: Kind, spelling: Spelling) -> bool:
    """Whether what looks like numbers is none: 007, telephone numbers, more digits than numbers have."""
    if kind not in (Kind.FLOAT, Kind.DECIMAL_COMMA):
        return False
    try:
        spelling.convert(cells.filter(pc.match_substring_regex(cells, LOOKS[kind])), kind)
    except pa.ArrowInvalid:
        return True
    return False


def _class(value: Any) -> str | None:
    """A kind's name, or that of a Python type which is of no kind; None: no value."""
    match value:
        case None:
            return None
        case bool():
            return Kind.BOOLEAN
        case int() | float():
            return Kind.FLOAT if value == value else None
        case datetime.date():
            return Kind.DATETIME
        case _:
            return type(value).__name__
