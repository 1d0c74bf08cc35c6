"""The base of every domain value: frozen, strict about unknown fields, and its own wire form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, PlainSerializer

Finite = FiniteFloat
"""A float that is neither NaN nor an infinity."""


def _no_nan(number: float) -> float:
    if number != number:
        raise ValueError("must be a number, finite or infinite, not NaN")
    return number


Number = Annotated[float, AfterValidator(_no_nan)]
"""A float that may be infinite, but not NaN."""

Scalar = str | int | float | bool | None
"""A JSON scalar: what a parameter's value may be."""


def render_time(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z`, to the millisecond: every time on the wire."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(render_time, return_type=str, when_used="json")]
"""A moment, always aware and in UTC."""


class Value(BaseModel):
    """A frozen value; a change is `value.evolve(field=...)`, never an assignment."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", protected_namespaces=())

    def evolve(self, **changes: Any) -> Self:
        """A copy with some fields changed; the changes are not validated again."""
        return self.model_copy(update=changes)


def check_text(value: BaseModel) -> None:
    """Raise ValueError when a text in the value is none that scripts, JSON and databases can hold."""
    try:
        text = value.model_dump_json()
    except ValueError as error:
        raise ValueError("a text holds a lone surrogate, which is no character; remove it") from error
    # An escaped backslash before `u0000` is just those letters, so look twice before refusing.
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("a text holds a NUL character (\\u0000); remove it")


def utcnow() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def finite(number: Any) -> float | None:
    """The number as a float, or None for NaN, an infinity or something that is no number."""
    try:
        value = float(number)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def finite_only(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics whose values are finite numbers; the others cannot be stored or compared."""
    pairs = ((name, finite(value)) for name, value in metrics.items())
    return {name: value for name, value in pairs if value is not None}
