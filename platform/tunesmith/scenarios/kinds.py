"""The types of parameters: text, numbers, choices, moments and spans of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from numbers import Integral, Real
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from tunesmith.domain import same_scalar
from tunesmith.scenarios.parameters import UNSET, ParameterType, Unset, nearest, shown

EXACT = 2**53
"""Whole numbers up to here are exact as floats."""
N = TypeVar("N", int, float)
C = TypeVar("C", bound=str | int | float | bool)


@dataclass(frozen=True, kw_only=True)
class String(ParameterType[str]):
    """A text."""

    type = "string"

    @property
    def wanted(self) -> str:  # noqa: D102
        return "a text"

    def parse(self, value: Any) -> str:  # noqa: D102
        if not isinstance(value, str):
            raise ValueError(f"{shown(value)} is no text")
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{shown(value)} holds what is no character (NUL, or a lone surrogate)")
        return value


@dataclass(frozen=True, kw_only=True)
class Boolean(ParameterType[bool]):
    """True or false."""

    type = "boolean"

    @property
    def wanted(self) -> str:  # noqa: D102
        return "true or false"

    def parse(self, value: Any) -> bool:  # noqa: D102
        if not isinstance(value, bool):
            raise ValueError(f"{shown(value)} is neither true nor false")
        return value


@dataclass(frozen=True, kw_only=True)
class _Number(ParameterType[N], Generic[N]):
    min: N | None = None
    """Lowest value, inclusive."""
    max: N | None = None
    """Highest value, inclusive."""

    def __post_init__(self) -> None:
        for bound in ("min", "max"):
            given = getattr(self, bound)
            if given is not None:
                try:
                    self.number(given)
                except ValueError as error:
                    raise ValueError(f"{self}: {bound}: {error}") from None
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"{self}: min {self.min} is above max {self.max}; swap them")
        super().__post_init__()

    def number(self, value: Any) -> N:
        """The number that a value is, wherever it lies. ValueError: none of this type."""
        raise NotImplementedError

    def parse(self, value: Any) -> N:
        number = self.number(value)
        if self.min is not None and number < self.min:
            raise ValueError(f"{shown(number)} is below {self.min}")
        if self.max is not None and number > self.max:
            raise ValueError(f"{shown(number)} is above {self.max}")
        return number

    def limits(self) -> dict[str, JsonValue]:
        return {"min": self.min, "max": self.max}

    def _bounds(self) -> str:
        if self.min is not None and self.max is not None:
            return f" from {self.min} to {self.max}"
        at_least = f" of at least {self.min}" if self.min is not None else ""
        return f" of at most {self.max}" if self.max is not None else at_least


@dataclass(frozen=True, kw_only=True)
class Integer(_Number[int]):
    """A whole number."""

    type = "integer"

    @property
    def wanted(self) -> str:  # noqa: D102
        return f"an integer{self._bounds()}"

    def number(self, value: Any) -> int:  # noqa: D102
        whole = isinstance(value, float) and value.is_integer() and abs(value) <= EXACT  # JSON has one type of number
        if isinstance(value, bool) or not (isinstance(value, Integral) or whole):
            raise ValueError(f"{shown(value)} is no integer")
        return int(value)


@dataclass(frozen=True, kw_only=True)
class Float(_Number[float]):
    """A finite number."""

    type = "float"

    @property
    def wanted(self) -> str:  # noqa: D102
        return f"a number{self._bounds()}"

    def number(self, value: Any) -> float:  # noqa: D102
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{shown(value)} is no number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{shown(value)} is no finite number")
        return number


@dataclass(frozen=True)
class Enum(ParameterType[C], Generic[C]):
    """One of some choices: texts, numbers or booleans."""

    type = "enum"
    choices: Sequence[C] = field(kw_only=False)
    """The choices, each once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", _checked(self.choices, str(self)))
        super().__post_init__()

    @property
    def wanted(self) -> str:  # noqa: D102
        return f"one of {_listed(self.choices)}"

    def parse(self, value: Any) -> C:  # noqa: D102
        return _chosen(value, self.choices)

    def limits(self) -> dict[str, JsonValue]:  # noqa: D102
        return {"choices": list(self.choices)}


@dataclass(frozen=True)
class MultiEnum(ParameterType[tuple[C, ...]], Generic[C]):
    """Some of the choices, or none, or all, in any order."""

    type = "multi_enum"
    choices: Sequence[C] = field(kw_only=False)
    """The choices, each once."""
    default: Sequence[C] | Unset | None = field(default=UNSET, kw_only=True)  # type: ignore[assignment]  # a tuple then
    """The choices that are taken when none are given; None: it may be left open; unset: the parameter is required."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", _checked(self.choices, str(self)))
        super().__post_init__()

    @property
    def wanted(self) -> str:  # noqa: D102
        return f"a list of some of {_listed(self.choices)}"

    def parse(self, value: Any) -> tuple[C, ...]:  # noqa: D102
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"{shown(value)} is no list")
        chosen = tuple(_chosen(item, self.choices) for item in value)
        if len(chosen) > len(set(map(_key, chosen))):
            raise ValueError(f"{shown(value)} has one of them twice")
        return chosen

    def to_json(self, value: tuple[C, ...]) -> JsonValue:  # noqa: D102
        return list(value)

    def limits(self) -> dict[str, JsonValue]:  # noqa: D102
        return {"choices": list(self.choices)}


@dataclass(frozen=True, kw_only=True)
class Time(ParameterType[datetime]):
    """A moment: a datetime in the algorithm, ISO 8601 in JSON. One without a time zone stays without."""

    type = "time"
    default: datetime | str | Unset | None = UNSET  # type: ignore[assignment]  # parsed by __post_init__
    """The moment when none is given; None: it may be left open; unset: the parameter is required."""

    @property
    def wanted(self) -> str:  # noqa: D102
        return "a time in ISO 8601, for instance 2026-03-01T08:00:00Z"

    def parse(self, value: Any) -> datetime:  # noqa: D102
        return _moment(value)

    def to_json(self, value: datetime) -> JsonValue:  # noqa: D102
        return _iso(value)


@dataclass(frozen=True, kw_only=True)
class Interval(ParameterType[tuple[datetime, datetime]]):
    """A span of time: (start, end) in the algorithm, two ISO 8601 texts in JSON, or one with `/` between them."""

    type = "interval"
    default: tuple[datetime | str, datetime | str] | str | Unset | None = UNSET  # type: ignore[assignment]  # as above
    """The span when none is given; None: it may be left open; unset: the parameter is required."""

    @property
    def wanted(self) -> str:  # noqa: D102
        return 'a start and an end, for instance ["2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"]'

    def parse(self, value: Any) -> tuple[datetime, datetime]:  # noqa: D102
        ends = value.split("/") if isinstance(value, str) else value
        if not isinstance(ends, Sequence) or len(ends) != 2:
            raise ValueError(f"{shown(value)} is no pair of times")
        start, end = _moment(ends[0]), _moment(ends[1])
        if (start.utcoffset() is None) != (end.utcoffset() is None):
            raise ValueError("one end has a time zone and the other has none")
        if start > end:
            raise ValueError(f"it starts at {_iso(start)}, after its end at {_iso(end)}")
        return start, end

    def to_json(self, value: tuple[datetime, datetime]) -> JsonValue:  # noqa: D102
        return [_iso(end) for end in value]


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no time")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is no time") from None


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _checked(choices: Iterable[C], parameter: str) -> tuple[C, ...]:
    listed = () if isinstance(choices, str) else tuple(choices)
    if not listed:
        raise ValueError(f'{parameter}: there is nothing to choose from; list the choices: ["a", "b"]')
    for choice in listed:
        if not isinstance(choice, str | int | float | bool) or choice != choice:
            raise ValueError(f"{parameter}: {shown(choice)} is no choice; take texts, numbers or booleans")
    if len(listed) > len(set(map(_key, listed))):
        raise ValueError(f"{parameter}: a choice stands there twice; list each once")
    return listed


def _key(choice: object) -> tuple[bool, object]:
    return isinstance(choice, bool), choice


def _chosen(value: Any, choices: Sequence[C]) -> C:
    """The choice that equals the value: 1 equals 1.0, but neither equals true."""
    for choice in choices:
        if isinstance(value, str | int | float) and same_scalar(value, choice):
            return choice
    near = nearest(value, [choice for choice in choices if isinstance(choice, str)])
    raise ValueError(f"{shown(value)} is none of the choices{near}")


def _listed(choices: Sequence[object]) -> str:
    rest = f", ... ({len(choices)} in all)" if len(choices) > 20 else ""
    return ", ".join(shown(choice) for choice in choices[:20]) + rest
