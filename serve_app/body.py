"""Request bodies: JSON that is really JSON, validated strictly and in one pass from bytes to the request's model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema, from_json

from serve_app.fields import field_errors, headline
from tunesmith.errors import BadRequest, InvalidBody

# NaN and Infinity are no JSON, a number beyond a double comes back as infinity, and PostgreSQL keeps no NUL in text.
SUSPECT = re.compile(rb"NaN|Infinity|[eE]\+?0*\d{3}|\d{309}|\\u0000")


@dataclass(frozen=True)
class FromJson:
    """Marks a body parameter: `Annotated[Model, FromJson()]` takes the raw bytes, and refuses "5" where 5 is meant.

    What is wrong inside the body's `section` is raised as `error`, everything else as InvalidBody. No value of a body
    that is `secret` stands in what is raised.
    """

    section: str | None = None
    error: type[BadRequest] = InvalidBody
    secret: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The model's schema, around bytes."""

        def parse(raw: bytes, _inner: Callable[[Any], Any]) -> BaseModel:
            return self.parse(source, raw)

        return core_schema.no_info_wrap_validator_function(parse, handler(source))

    def parse(self, model: type[BaseModel], raw: bytes) -> BaseModel:
        """The model's value from a JSON body. Raises InvalidBody or `error`, with every field error."""
        if SUSPECT.search(raw):
            _refuse_unstorable(_plain(raw), "")
        try:
            return model.model_validate_json(raw, strict=True)
        except ValidationError as error:
            fields = field_errors(error.errors(include_url=False), _plain(raw), model)
            if self.secret:
                fields = [{**field, "value": None} for field in fields]
            inside = fields[0]["field"].split(".")[0] == self.section
            raise (self.error if inside else InvalidBody)(headline(fields), fields=fields) from error


def _plain(raw: bytes) -> Any:
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidBody(f"the body is no valid JSON: {error}") from error


def _refuse_unstorable(value: Any, field: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_unstorable(name, field)
            _refuse_unstorable(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_unstorable(inner, f"{field}.{index}" if field else str(index))
    elif isinstance(value, str) and "\0" in value:
        _refuse(field, "text cannot hold the NUL character; remove it")
    elif isinstance(value, int | float) and not math.isfinite(_as_double(value)):
        _refuse(field, "the number is too large for a double (about 1.8e308)")


def _as_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _refuse(field: str, message: str) -> None:
    errors = [{"field": field, "message": message, "value": None}]
    raise InvalidBody(headline(errors), fields=errors)
