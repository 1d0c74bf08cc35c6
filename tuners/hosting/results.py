"""Results as JSON: what algorithms return, tables and arrays included, or which part of it cannot be kept."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from pydantic import BaseModel, JsonValue

from tuners.hosting.tasks import TaskFailed

DEPTH = 100
"""Lists and objects inside one another, at most."""
UNKNOWN: Any = object()
"""What a form answers for values that it is not about."""
TEXTS = (datetime.datetime, datetime.date, datetime.time)


def to_json(value: Any) -> bytes:
    """A result as JSON; NaN and infinities are null. Raises TaskFailed that says which part cannot be written."""
    try:
        text = json.dumps(value, allow_nan=False)
        if "\\ud" not in text:
            return text.encode()
    except (TypeError, ValueError, RecursionError):
        pass  # there is something in it that JSON itself does not know
    return json.dumps(plain(value), allow_nan=False).encode()


def plain(value: Any, where: str = "result", depth: int = 0) -> JsonValue:
    """The same in JSON's own types. Raises TaskFailed that says which part has no form there."""
    if depth > DEPTH:
        raise TaskFailed(f"{where[:200]}... is nested more than {DEPTH} levels deep, or contains itself")
    if value is None or type(value) in (bool, int):
        return value  # type: ignore[no-any-return]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return plain(value.value, where, depth + 1)
    if isinstance(value, str):
        return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int):
        return int(value)
    for form in (_of_containers, _of_values, _of_tables):
        found: Any = form(value, where, depth)
        if found is not UNKNOWN:
            known: JsonValue = found
            return known
    kind = type(value)
    raise TaskFailed(
        f"{where} is a {kind.__module__}.{kind.__qualname__}, which JSON cannot hold; "
        "return numbers, texts, lists, dicts, data frames"
    )


def _of_containers(value: Any, where: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        found = {_key(key, where): plain(part, f"{where}[{key!r:.80}]", depth + 1) for key, part in value.items()}
        if len(found) < len(value):
            raise TaskFailed(f"{where} has keys that are the same text in JSON, for instance 1 and '1'; rename one")
        return found
    if isinstance(value, BaseModel):
        return plain(value.model_dump(), where, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: plain(part, f"{where}.{name}", depth + 1) for name, part in parts}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(part, f"{where}[{index}]", depth + 1) for index, part in enumerate(value)]
    return UNKNOWN


def _of_values(value: Any, _where: str, _depth: int) -> Any:
    if value is _loaded("pandas", "NaT") or value is _loaded("pandas", "NA"):
        return None
    if isinstance(value, TEXTS):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, uuid.UUID | pathlib.PurePath):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return UNKNOWN


def _of_tables(value: Any, where: str, depth: int) -> Any:
    if _is(value, "pandas", "DataFrame"):
        return _records(value.columns, lambda place: value.iloc[:, place].tolist(), where, depth)
    if _is(value, "pandas", "Series") or _is(value, "pandas", "Index"):
        return plain(value.tolist(), where, depth + 1)
    if _is(value, "pyarrow", "Table") or _is(value, "pyarrow", "RecordBatch"):
        return _records(value.column_names, lambda place: value.column(place).to_pylist(), where, depth)
    if _is(value, "pyarrow", "Array") or _is(value, "pyarrow", "ChunkedArray"):
        return plain(value.to_pylist(), where, depth + 1)
    if _is(value, "numpy", "ndarray"):
        return plain(list(value) if value.dtype.kind in "mM" else value.tolist(), where, depth + 1)
    if _is(value, "numpy", "timedelta64"):
        return plain(float(value / type(value)(1, "s")), where, depth + 1)
    if _is(value, "numpy", "datetime64"):
        return None if str(value) == "NaT" else str(value)
    if _is(value, "numpy", "generic"):
        return plain(value.item(), where, depth + 1)
    return UNKNOWN


def _records(columns: Iterable[Any], column: Callable[[int], list[Any]], where: str, depth: int) -> list[JsonValue]:
    """A table as a list of objects, its index left out."""
    names = [name if isinstance(name, str) else str(name) for name in columns]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise TaskFailed(f"{where} is a table with two columns {twice!r}; give each a name of its own")
    values = [plain(column(place), f"{where}.{name}", depth + 1) for place, name in enumerate(names)]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _key(key: Any, where: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str(plain(key))
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int | float | uuid.UUID) or _is(key, "numpy", "generic"):
        return str(key)
    if isinstance(key, TEXTS):
        return key.isoformat()
    raise TaskFailed(f"{where} has the key {key!r:.80}, a {type(key).__qualname__}; keys of JSON are texts")


def _is(value: Any, module: str, name: str) -> bool:
    """Whether it is of a class of a library; one that nobody imported has no values."""
    kind = _loaded(module, name)
    return kind is not None and isinstance(value, kind)


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)
