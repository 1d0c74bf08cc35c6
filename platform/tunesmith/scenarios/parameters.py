"""What a typed parameter is, and how the values that people set are checked against a set of declared ones."""

from __future__ import annotations

import difflib
import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, overload

from pydantic import JsonValue

from tunesmith.errors import InvalidParameter

T = TypeVar("T")
SHOWN = 100
"""Characters of a value that a message shows, at most."""


class Unset(enum.Enum):
    """The type of UNSET."""

    UNSET = enum.auto()


UNSET: Final = Unset.UNSET
"""No value at all, which is another thing than None."""


@dataclass(frozen=True, kw_only=True)
class ParameterType(ABC, Generic[T]):
    """A parameter, declared as an attribute of a class: `duration = Integer(default=1, min=1, max=60)`.

    On an instance of that class, `self.duration` is the value. Values are strict: `"5"` is no 5, and true is no 1.
    """

    type: ClassVar[str]
    """What a descriptor calls the type."""
    default: T | Unset | None = UNSET
    """The value when none is given; None: it may be left open; unset: the parameter is required."""
    description: str = ""
    """What it does, with its unit, in a few words."""

    def __post_init__(self) -> None:
        if self.default is UNSET or self.default is None:
            return
        try:
            object.__setattr__(self, "default", self.parse(self.default))
        except ValueError as error:
            raise ValueError(f"{self}: the default {error}; take {self.wanted}") from None

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is UNSET

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What a value must be, as messages say it: `an integer from 1 to 60`."""

    @abstractmethod
    def parse(self, value: Any) -> T:
        """The value as algorithms see it, from its JSON form or from that itself. ValueError says what is wrong."""

    def to_json(self, value: T) -> JsonValue:
        """The JSON form of a parsed value."""
        return value  # type: ignore[return-value]  # most are JSON as they are

    def descriptor(self, name: str, value: Any = UNSET) -> dict[str, JsonValue]:
        """What REST says of it; `value` is in JSON form, and the default unless given."""
        default = None if self.default is UNSET or self.default is None else self.to_json(self.default)
        described: dict[str, JsonValue] = {"description": self.description} if self.description else {}
        return {
            "name": name,
            "type": self.type,
            "required": self.required,
            "value": default if value is UNSET else value,
            "default": default,
            **self.limits(),
            **described,
        }

    def limits(self) -> dict[str, JsonValue]:
        """What else a descriptor says of this type."""
        return {}

    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> T: ...
    def __get__(self, instance: object | None, owner: Any) -> Self | T:
        if instance is None:
            return self
        if self.default is UNSET:
            name = next((name for name, found in declared(owner).items() if found is self), "this parameter")
            raise AttributeError(f"{owner.__name__}.{name} has no value; it is required: give {self.wanted}")
        return self.default  # type: ignore[return-value]  # None, where that is the default


Declared = Mapping[str, ParameterType[Any]]
"""Name -> parameter, in the order of declaration."""


def declared(owner: type) -> dict[str, ParameterType[Any]]:
    """The parameters of a class, those of its bases first; an attribute that is none hides the parameter of a base."""
    found: dict[str, ParameterType[Any]] = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, ParameterType):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def check_names(owner: type, reserved: Iterable[str]) -> None:
    """Raise ValueError when an attribute of the class cannot be a parameter, or is meant to be one and is none."""
    for name, value in vars(owner).items():
        here = f"{owner.__name__}.{name}"
        if isinstance(value, type) and issubclass(value, ParameterType):
            raise ValueError(f"{here} is a type of parameter, not a parameter; write {name} = {value.__name__}()")
        if isinstance(value, ParameterType) and name in reserved:
            raise ValueError(f"{here} has a meaning of its own; give the parameter another name")
        if isinstance(value, ParameterType) and (not name.isascii() or name.startswith("_")):
            raise ValueError(f"{here} is no name of a parameter; begin with a letter and take letters of ASCII")


def settle(parameters: Declared, values: Mapping[str, Any], owner: str) -> dict[str, JsonValue]:
    """Every parameter in its JSON form, defaults included. Raises as `parse` does."""
    parsed = parse(parameters, values, owner)
    return {
        name: None if value is None else parameters[name].to_json(value)  # None: it was left open
        for name, value in parsed.items()
    }


def parse(parameters: Declared, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Every parameter as algorithms see it, defaults included; `owner` is what messages call that which has them.

    Raises InvalidParameter that names the parameter, the value and the remedy; for an unknown one the nearest.
    """
    if not isinstance(values, Mapping):
        raise InvalidParameter(f"{owner}: the parameters are {shown(values)}; give an object of name: value")
    for name in values:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            message = f"{owner} has no parameter {shown(name)}{nearest(name, parameters)}; it takes {known}"
            raise InvalidParameter(message, parameter=str(name)[:200])
    return {name: _value(name, parameter, values, owner) for name, parameter in parameters.items()}


def _value(name: str, parameter: ParameterType[Any], values: Mapping[str, Any], owner: str) -> Any:
    if name not in values:
        if parameter.required:
            message = f"{owner}.{name} is required; give {parameter.wanted}"
            raise InvalidParameter(message, parameter=name)
        return parameter.default
    if values[name] is None and parameter.default is None:
        return None
    try:
        return parameter.parse(values[name])
    except ValueError as error:
        raise InvalidParameter(f"{owner}.{name}: {error}; give {parameter.wanted}", parameter=name) from None


def nearest(name: object, known: Iterable[str]) -> str:
    """` (did you mean 'duration'?)`, or nothing when no known name is near."""
    near = difflib.get_close_matches(str(name)[:SHOWN], list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(value: object) -> str:
    """A value as messages show it: JSON where it is that, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
