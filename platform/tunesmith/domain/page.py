"""Pages of long lists, by keyset: the cursor holds the last row's sort key, so that a page costs the same anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tunesmith.errors import InvalidCursor

T = TypeVar("T")
MAX_LIMIT = 1000
"""Rows of a page, at most."""


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
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise InvalidCursor(cursor=cursor) from error
    if not isinstance(key, list) or len(key) != len(kinds):
        raise InvalidCursor(cursor=cursor)
    if not all(isinstance(part, kind) and abs(_size(part)) < 2**63 for part, kind in zip(key, kinds, strict=True)):
        raise InvalidCursor(cursor=cursor)
    return tuple(key)


def _size(part: Any) -> float:
    return part if isinstance(part, int | float) else 0
