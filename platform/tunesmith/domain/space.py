"""The search space: parameters, their ranges and choices, and the conditions under which they exist."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator

from tunesmith.domain.expression import Expression, Type, parse
from tunesmith.domain.value import Scalar, Value

Point = Mapping[str, Scalar]
"""One configuration: a value for every parameter that is active in it."""


class Parameter(Value):
    """One dimension of the search space."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """An identifier; `${name}` in the command template stands for its value."""
    type: Literal["int", "float", "categorical"] = "float"
    """`int` and `float` take a range, `categorical` takes choices."""
    minimum: float | None = None
    """Lowest value, inclusive; required for `int` and `float`."""
    maximum: float | None = None
    """Highest value, inclusive; required for `int` and `float`."""
    log: bool = False
    """Search on a logarithmic scale; needs `minimum` > 0, and `step` not set."""
    step: float | None = Field(default=None, gt=0)
    """Distance between neighbouring values, counted from `minimum`; unset: every value (1 for `int`)."""
    choices: tuple[Scalar, ...] | None = Field(default=None, max_length=10_000)
    """The values of a `categorical`, any JSON scalars, each once."""
    when: Mapping[str, tuple[Scalar, ...]] | None = None
    """The parameter exists only where each named, earlier categorical or int parameter has one of these values."""

    @field_validator("minimum", "maximum", "step")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @field_validator("step", "when")
    @classmethod
    def _meaningful(cls, value: Any, info: ValidationInfo) -> Any:
        """What says no more than its absence is absent: equal spaces have equal content."""
        says_nothing = value == {} or (info.field_name == "step" and value == 1 and info.data.get("type") == "int")
        return None if says_nothing else value

    @field_serializer("minimum", "maximum", "step")
    def _whole(self, value: float | None) -> int | float | None:
        return int(value) if value is not None and self.type == "int" else value

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        _check_choices(self) if self.type == "categorical" else _check_range(self)
        return self

    def contains(self, value: Scalar) -> bool:
        """Whether the value lies in the range or among the choices (the step's grid included)."""
        if self.type == "categorical":
            return any(same_scalar(value, choice) for choice in self.choices or ())
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        low, high = self.bounds
        if not low <= value <= high or (self.type == "int" and value != int(value)):
            return False
        if self.step is None:
            return True
        nearest = low + self.step * round((value - low) / self.step)
        return abs(value - nearest) <= 1e-9 * self.step + 1e-15 * max(abs(low), abs(value))

    def cast(self, value: Scalar) -> Scalar:
        """The value in the parameter's own type: an int parameter's value is an int."""
        if self.type == "int" and isinstance(value, int | float):
            return int(value)
        return float(value) if self.type == "float" and isinstance(value, int | float) else value

    def active(self, point: Point) -> bool:
        """Whether the parameter exists in a configuration, given the parameters before it."""
        return all(
            name in point and any(same_scalar(point[name], value) for value in values)
            for name, values in (self.when or {}).items()
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """(minimum, maximum) of an int or float parameter."""
        assert self.minimum is not None
        assert self.maximum is not None
        return self.minimum, self.maximum


def same_scalar(a: Scalar, b: Scalar) -> bool:
    """Equality of JSON scalars: 1 equals 1.0, but neither equals true."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _check_range(parameter: Parameter) -> None:
    if parameter.choices is not None:
        raise ValueError(f'choices belong to type categorical, not {parameter.type}; set "type": "categorical"')
    if parameter.minimum is None or parameter.maximum is None:
        raise ValueError(f"a parameter of type {parameter.type} needs minimum and maximum")
    low, high = parameter.minimum, parameter.maximum
    if low > high:
        raise ValueError(f"minimum {low:g} is above maximum {high:g}; swap them")
    if not math.isfinite((high - low) / (parameter.step or 1)):
        raise ValueError(f"the range from {low:g} to {high:g} is too wide, or its step too small, for floating point")
    if parameter.log and low <= 0:
        raise ValueError(f"a log range needs minimum > 0, not {low:g}")
    if parameter.log and parameter.step is not None:
        raise ValueError("log and step cannot be combined; drop one of them")
    if parameter.type == "int":
        for field, number in (("minimum", low), ("maximum", high), ("step", parameter.step or 1)):
            if number != int(number):
                raise ValueError(f"{field} {number:g} is not a whole number, but the type is int")
            if abs(number) > 2**53:
                raise ValueError(f"{field} {number:g} is beyond +-2^53, where floats no longer tell integers apart")


def _check_choices(parameter: Parameter) -> None:
    if not parameter.choices:
        raise ValueError("a categorical parameter needs choices, a list with at least one value")
    for field in ("minimum", "maximum", "step"):
        if getattr(parameter, field) is not None:
            raise ValueError(f"{field} does not belong to a categorical parameter; remove it")
    if parameter.log:
        raise ValueError("log does not belong to a categorical parameter; remove it")
    seen: set[tuple[bool, Scalar]] = set()
    for choice in parameter.choices:
        if isinstance(choice, float) and not math.isfinite(choice):
            raise ValueError("choices must be finite")
        key = (isinstance(choice, bool), choice)  # as `same_scalar` compares, for ten thousand choices
        if key in seen:
            raise ValueError(f"choice {json.dumps(choice)} stands there twice; list each value once")
        seen.add(key)


class Space(Value):
    """A search space: parameters in order; a condition may only look at earlier parameters."""

    parameters: tuple[Parameter, ...] = Field(max_length=1000)
    """The dimensions, in order; a grid's product follows this order, the last one fastest."""
    constraints: tuple[str, ...] = Field(default=(), max_length=100)
    """What must hold between parameters, for instance `lo < hi`."""

    @model_validator(mode="after")
    def _consistent(self) -> Space:
        check_parameters(self.parameters)
        _ = self.expressions
        return self

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """The constraints, ready to be asked. Raises ValueError where one is none."""
        return parse_constraints(self.constraints, self.parameters)

    def __iter__(self) -> Iterator[Parameter]:  # type: ignore[override]
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def problems(self, point: Point) -> list[str]:
        """What keeps a configuration from lying in the space; empty when it does."""
        names = {parameter.name for parameter in self}
        found = [f"{name}: no such parameter" for name in point if name not in names]
        for parameter in self:
            if not parameter.active(point):
                if parameter.name in point:
                    found.append(f"{parameter.name}: does not exist under this configuration (see its `when`)")
            elif parameter.name not in point:
                found.append(f"{parameter.name}: has no value")
            elif not parameter.contains(point[parameter.name]):
                found.append(f"{parameter.name}: {point[parameter.name]!r} lies outside its range")
        if not found:
            found += [f"it breaks {str(broken)!r}" for broken in self.expressions if not broken.holds(point)]
        return found

    def cast(self, point: Point) -> dict[str, Scalar]:
        """The configuration with every value in its parameter's type, in the space's order."""
        return {p.name: p.cast(point[p.name]) for p in self if p.name in point}


def parse_constraints(constraints: Sequence[str], parameters: Sequence[Parameter]) -> tuple[Expression, ...]:
    """The constraints, ready to be asked. Raises ValueError where one is none, or names no parameter."""
    types: dict[str, Type] = {parameter.name: parameter.type for parameter in parameters}
    return tuple(parse(text, types) for text in constraints)


def check_parameters(parameters: Sequence[Parameter]) -> None:
    """Raise ValueError for duplicate names, and conditions on unknown, later or continuous parameters."""
    earlier: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.name in earlier:
            raise ValueError(f"two parameters are named {parameter.name!r}; rename one")
        for name, values in (parameter.when or {}).items():
            _check_condition(parameter, name, values, earlier.get(name))
        earlier[parameter.name] = parameter


def _check_condition(parameter: Parameter, name: str, values: tuple[Scalar, ...], parent: Parameter | None) -> None:
    if parent is None:
        raise ValueError(
            f"{parameter.name}.when names {name!r}, which is no earlier parameter; list {name!r} before it"
        )
    if parent.type == "float":
        raise ValueError(
            f"{parameter.name}.when looks at {name!r}, which is a float; conditions take categorical or int"
        )
    if not values:
        raise ValueError(f"{parameter.name}.when.{name} needs at least one value")
    outside = [value for value in values if not parent.contains(value)]
    if outside:
        raise ValueError(f"{parameter.name}.when.{name}: {outside[0]!r} is no value of {name!r}")


def space_of(parameters: Sequence[Mapping[str, Any]] | Sequence[Parameter]) -> Space:
    """A space from parameters or from their JSON forms. Raises pydantic.ValidationError."""
    return Space.model_validate({"parameters": list(parameters)})
