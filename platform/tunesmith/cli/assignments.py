"""What people write as NAME=VALUE, or keep as an object in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tunesmith.cli.inputs import kind, read_document
from tunesmith.errors import BadRequest, InvalidBody


def assignments(option: str, pairs: Iterable[str] | None, file: str | None = None) -> dict[str, Any]:
    """Name -> value: those of a file first, then NAME=VALUE pairs, whose values are JSON or else text.

    Raises BadRequest with the option's name, InvalidBody.
    """
    found: dict[str, Any] = {}
    if file is not None:
        document = read_document(file)
        if not isinstance(document, Mapping):
            raise InvalidBody(f"{file} holds {kind(document)}; it should hold an object of names and values")
        found |= document
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise BadRequest(f"{option} {pair}: write NAME=VALUE, for instance year=2024")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
