"""Pydantic's findings in the words of whoever wrote the request: field, message, value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_json

from tunesmith.domain.findings import in_words

MAX_FIELDS = 50
"""Field errors of one answer, at most."""
MAX_VALUE = 200
"""Characters of a refused value that are quoted."""
Finding = Mapping[str, Any]
"""One entry of pydantic's `ValidationError.errors()`."""


def field_errors(found: Sequence[Any], body: Any, model: Any = None) -> list[dict[str, Any]]:
    """One entry per field, in order: `{"field": "parameters.0.minimum", "message": ..., "value": ...}`.

    `body` is what was sent: it tells the parts of a finding's location that are the sender's own from pydantic's names
    for the members of a union. `model` is what was expected, to find the nearest field of an unknown one.
    """
    merged: dict[str, dict[str, Any]] = {}
    for finding in found:
        path = _sent_path(finding["loc"], body, finding["type"])
        field = ".".join(str(part) for part in path)
        message = _message(finding, path, model)
        known = merged.setdefault(field, {"field": field, "message": message, "value": _value(finding)})
        if message not in known["message"]:
            known["message"] += f", or: {message}"
        if len(merged) == MAX_FIELDS:
            break
    return list(merged.values())


def headline(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first field error as a sentence, and how many more there are."""
    first = errors[0]
    text = f"{first['field']}: {first['message']}" if first["field"] else str(first["message"])
    return text if len(errors) == 1 else f"{text} (and {len(errors) - 1} more; see details.fields)"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'choices'?`, or the list of what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are: {', '.join(names)}" if names else ""


def _sent_path(location: Sequence[int | str], body: Any, kind: str) -> list[int | str]:
    path: list[int | str] = []
    part: Any
    for part in location:
        inside = part in body if isinstance(body, Mapping) else isinstance(body, list) and isinstance(part, int)
        if inside:
            body = body[part]
        elif not (kind == "missing" and part == location[-1]):
            continue
        path.append(part)
    return path


def _message(finding: Finding, path: Sequence[int | str], model: Any) -> str:
    kind = finding["type"]
    if kind == "missing":
        return "required, but missing"
    if kind == "extra_forbidden":
        name = str(path[-1])
        return f"unknown field {name!r}{nearest(name, _known(model, path[:-1]))}"
    if kind in ("model_type", "dict_type"):
        return "must be a JSON object"
    return in_words(finding)


def _value(finding: Finding) -> Any:
    value = finding.get("input")
    if finding["type"] == "missing":
        return None
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    text = value if isinstance(value, str) else to_json(value, inf_nan_mode="null", fallback=str).decode()
    if len(text) > MAX_VALUE:
        return text[:MAX_VALUE] + "..."
    return value


def _known(annotation: Any, path: Sequence[int | str]) -> set[str]:
    for part in path:
        for model in _models(annotation):
            if part in model.model_fields:
                annotation = model.model_fields[str(part)].annotation
                break
    return {name for model in _models(annotation) for name in model.model_fields}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
