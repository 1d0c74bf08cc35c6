"""The space as people write it for `tune`: a mapping from names to ranges and choices, made into the domain's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic import ValidationError

from tunesmith.domain import Parameter, Scalar
from tunesmith.errors import InvalidSpace


@runtime_checkable
class Dimension(Protocol):
    """Anything that makes a parameter when it is told its name: `tuners.Int`, `tuners.Float`, `tuners.Choice`."""

    def parameter(self, name: str) -> Parameter:
        """The parameter. Raises pydantic.ValidationError."""
        ...


SpaceLike = Mapping[str, Dimension | Sequence[Scalar] | Mapping[str, Any]] | Sequence[Parameter | Mapping[str, Any]]
"""Name -> `Float(0, 1)`, a list of choices, or a parameter's fields; or a list of whole parameters."""


def parameters_of(space: SpaceLike) -> tuple[Parameter, ...]:
    """The parameters, in order. Raises InvalidSpace that names the parameter."""
    if isinstance(space, Mapping):
        return tuple(_parameter(name, given) for name, given in space.items())
    return tuple(_parameter(f"number {index}", given, named=False) for index, given in enumerate(space))


def _parameter(name: str, given: Any, named: bool = True) -> Parameter:
    label = {"name": name} if named else {}
    try:
        if isinstance(given, Parameter):
            return Parameter.model_validate(given.model_dump() | label)
        if isinstance(given, Dimension):
            return given.parameter(name)
        if isinstance(given, Mapping):
            return Parameter.model_validate({**given, **label})
        if isinstance(given, list) and named:
            return Parameter(name=name, type="categorical", choices=tuple(given))
    except ValidationError as error:
        raise InvalidSpace(f"parameter {name!r}: {problem_of(error)}", parameter=name) from error
    raise InvalidSpace(
        f"parameter {name!r}: {given!r:.80} says no range; write Float(low, high), Int(low, high) or Choice(a, b, ...)",
        parameter=name,
    )


def problem_of(error: ValidationError) -> str:
    """A validation error in one sentence: the field, what is wrong with it, and its value."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, not {first['input']!r:.80}" if where else message
