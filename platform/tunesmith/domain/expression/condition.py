"""A constraint as the platform holds it: its text, the parameters that it looks at, and what it says of a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.domain.expression.evaluation import Gap, Point
from tunesmith.domain.expression.reader import Reader, Type
from tunesmith.domain.expression.syntax import listed, refusal, syntax_tree


class Expression:
    """A condition on a configuration.

    A comparison that cannot be computed (a division by zero, the log of a negative number, a number beyond 1.8e308, a
    text where a number belongs) does not hold, and neither does its negation; `or` may still hold by its other side.
    A constraint that names a parameter which does not exist in the configuration is not applied: it holds.
    """

    __slots__ = ("_gap", "_text", "_types", "names")

    names: frozenset[str]
    """The parameters that the constraint looks at."""

    def __init__(self, text: str, types: Mapping[str, Type], gap: Gap) -> None:
        self.names = frozenset(types)
        self._text, self._types, self._gap = text, dict(types), gap

    def holds(self, point: Point) -> bool:
        """Whether the configuration satisfies the constraint."""
        return self.violation(point) == 0

    def violation(self, point: Point) -> float:
        """How far the configuration is from satisfying it: 0 when it holds, else positive and finite.

        For a comparison of numbers it is their difference, for other values 1; for `and` the sum, for `or` the least.
        """
        return self._gap(point) if point.keys() >= self.names else 0.0

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"parse({self._text!r}, {self._types!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (self._text, self._types)


def parse(text: str, types: Mapping[str, Type]) -> Expression:
    """Read a constraint between the parameters of these names and types.

    Raises:
        ValueError: with the text, the position (from 1) and a remedy, when it is too long, too deeply nested, no
            comparison, names an unknown parameter or function, or compares what can never be equal.
    """
    text = text.strip()
    reader = Reader(text, types)
    gap = reader.condition(syntax_tree(text, reader.source))
    if not reader.seen:
        raise refusal(text, 0, f"no parameter is named, so it rules out all or nothing; known: {listed(types)}")
    return Expression(text, {name: types[name] for name in types if name in reader.seen}, gap)
