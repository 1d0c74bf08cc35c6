"""What pydantic finds wrong with a value, in words that need no Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(finding: Mapping[str, Any]) -> str:
    """What is wrong, by an entry of pydantic's `ValidationError.errors()`: `must have at least 1 item`."""
    context = finding.get("ctx", {})
    if finding["type"] == "too_short":
        return f"must have at least {_items(context['min_length'])}"
    if finding["type"] == "too_long":
        return f"must have at most {_items(context['max_length'])}"
    text = str(finding["msg"]).removeprefix("Value error, ")
    return text.replace("Input should be", "must be").replace("tuple", "list")


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"
