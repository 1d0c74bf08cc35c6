"""Pages of long lists, by keyset: the cursor holds the last row's sort key, so that a page costs the same anywhere."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tunesmith.errors import InvalidCursor

T = TypeVar("T")
MAX_LIMIT = 1000
"""Rows of a page, at most."""
MAX_CURSOR = 500
"""Characters of a cursor, at most: ours are far shorter, and JSON nested a thousand deep is no cursor."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursor of the next page (None at the end)."""

    items: Sequence[T]
    next_cursor: str | None


def encode_cursor(*key: Any) -> str:
    """An opaque cursor from a sort key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type | tuple[type, ...]) -> tuple[Any, ...]:
    """The sort key of a cursor. Raises InvalidCursor unless it has values of just these kinds."""
    if len(cursor) > MAX_CURSOR:
        raise InvalidCursor(cursor=cursor[:MAX_CURSOR])
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise InvalidCursor(cursor=cursor) from error
    if not isinstance(key, list) or len(key) != len(kinds):
        raise InvalidCursor(cursor=cursor)
    if not all(isinstance(part, kind) and _comparable(part) for part, kind in zip(key, kinds, strict=True)):
        raise InvalidCursor(cursor=cursor)
    return tuple(key)


def _comparable(part: Any) -> bool:
    """Whether a database can compare a column with it: no boolean, no integer beyond 64 bits, no NaN."""
    if isinstance(part, bool):
        return False
    return -(2**63) <= part < 2**63 if isinstance(part, int) else not isinstance(part, float) or math.isfinite(part)
