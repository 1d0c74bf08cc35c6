"""The bases of request and answer bodies."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """A request body: an unknown field is refused, so that a typo never runs the wrong job."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_inf_nan="null", protected_namespaces=(), use_attribute_docstrings=True
    )


class Answer(BaseModel):
    """An answer body: a reader ignores fields that it does not know yet."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, ser_json_inf_nan="null", protected_namespaces=(), use_attribute_docstrings=True
    )
