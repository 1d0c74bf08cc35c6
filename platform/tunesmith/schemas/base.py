"""The bases of request and answer bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """A request body: an unknown field is refused, so that a typo never runs the wrong job."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null", protected_namespaces=())


class Answer(BaseModel):
    """An answer body: a reader ignores fields that it does not know yet."""

    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null", protected_namespaces=())


class ErrorAnswer(Answer):
    """Every answer that is not 2xx, on every surface."""

    error: str
    """What went wrong, and what to do."""
    detail: str
    """The same message."""
    error_type: str
    """The error's class; the Python client raises the same one."""
    code: str
    """Stable, for programs."""
    details: Mapping[str, Any]
    """More, for instance the field errors of a body."""


def canonical(body: Any) -> str:
    """JSON with sorted keys: equal bodies, equal strings."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
