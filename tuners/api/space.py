"""The dimensions of a search space, as scripts write them: `Int(1, 10)`, `Float(0, 1)`, `Choice("a", "b")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.domain import Parameter, Scalar

When = Mapping[str, Scalar | Sequence[Scalar]]
"""Earlier parameter -> the value, or values, of it under which a parameter exists."""


class Float:
    """A float in [low, high], on a logarithmic scale with `log`, on a grid from `low` on with `step`."""

    def __init__(
        self, low: float, high: float, *, log: bool = False, step: float | None = None, when: When | None = None
    ) -> None:
        self.low, self.high, self.log, self.step, self.when = low, high, log, step, when

    def __repr__(self) -> str:
        return f"Float({_shown(self.low, self.high, log=self.log, step=self.step, when=self.when)})"

    def parameter(self, name: str) -> Parameter:
        """The parameter of this name. Raises pydantic.ValidationError for a range that is none."""
        return Parameter(
            name=name, minimum=self.low, maximum=self.high, log=self.log, step=self.step, when=_when(self.when)
        )


class Int:
    """A whole number in [low, high], on a logarithmic scale with `log`, every `step`-th from `low` on."""

    def __init__(self, low: int, high: int, *, log: bool = False, step: int = 1, when: When | None = None) -> None:
        self.low, self.high, self.log, self.step, self.when = low, high, log, step, when

    def __repr__(self) -> str:
        step = None if self.step == 1 else self.step
        return f"Int({_shown(self.low, self.high, log=self.log, step=step, when=self.when)})"

    def parameter(self, name: str) -> Parameter:
        """The parameter of this name. Raises pydantic.ValidationError for a range that is none."""
        step = None if self.step == 1 else self.step
        return Parameter(
            name=name,
            type="int",
            minimum=self.low,
            maximum=self.high,
            log=self.log,
            step=step,
            when=_when(self.when),
        )


class Choice:
    """One of some JSON scalars (text, numbers, true, false, null): `Choice("a", "b")` or `Choice(["a", "b"])`."""

    def __init__(self, *values: Scalar | Sequence[Scalar], when: When | None = None) -> None:
        only = values[0] if len(values) == 1 else None
        listed = only if isinstance(only, Sequence) and not isinstance(only, str) else values
        self.values, self.when = tuple(listed), when

    def __repr__(self) -> str:
        return f"Choice({_shown(*self.values, when=self.when)})"

    def parameter(self, name: str) -> Parameter:
        """The parameter of this name. Raises pydantic.ValidationError for choices that are none."""
        fields = {"name": name, "type": "categorical", "choices": self.values, "when": _when(self.when)}
        return Parameter.model_validate(fields)


def _when(when: When | None) -> dict[str, tuple[Scalar, ...]] | None:
    if when is None:
        return None
    return {name: _values(given) for name, given in when.items()}


def _values(given: Scalar | Sequence[Scalar]) -> tuple[Scalar, ...]:
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return tuple(given) if several else (given,)  # type: ignore[arg-type, return-value]


def _shown(*values: object, **options: object) -> str:
    named = [f"{name}={value!r}" for name, value in options.items() if value not in (None, False)]
    return ", ".join([*(repr(value) for value in values), *named])
