"""Values as text that gives them back exactly: plain where that cannot be misread, else JSON."""

from __future__ import annotations

import json
from typing import Any


def to_text(value: Any) -> str:
    """A JSON scalar as a cell: `0.5`, `true`, `null`, `adam`; a text that looks like another value is quoted: `"1"`."""
    if isinstance(value, str) and value and not _is_json(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def from_text(cell: str) -> Any:
    """The value of a cell that is not empty."""
    try:
        value = json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell
    return cell if isinstance(value, dict | list) else value


def _is_json(text: str) -> bool:
    return not isinstance(from_text(text), str) or from_text(text) != text


def _refuse(word: str) -> Any:
    raise ValueError(word)  # NaN and Infinity are texts here
