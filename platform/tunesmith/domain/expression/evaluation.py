"""What constraints compute: how far a point is from a condition, and numbers that stay exact, finite and small."""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunesmith.domain.value import Scalar

Point = Mapping[str, Scalar]
"""A configuration: a value for every parameter that exists in it."""
Get = Callable[[Point], Any]
"""The value of a term at a point; raises one of UNDEFINED where there is none."""
Gap = Callable[[Point], float]
"""How far a point is from satisfying a condition: 0 when it does, else in [TINY, LARGE]."""
LARGE = sys.float_info.max
"""The violation of a comparison that cannot be computed; no term may be larger."""
TINY = sys.float_info.min
"""The least violation: that of `a < b` where both are equal."""
UNDEFINED = (ArithmeticError, TypeError, ValueError)
"""What Python raises for a term without a value: division by zero, the log of a negative, overflow, 'a' < 1."""


def all_of(parts: Sequence[Gap]) -> Gap:
    """`and`: the sum of the gaps."""
    if len(parts) == 1:
        return parts[0]

    def gap(point: Point) -> float:
        total = 0.0
        for part in parts:
            size = part(point)
            if size < LARGE or total == 0:  # in `x > 0 and log(x) > 2` the first part guards the second
                total += size
        return min(total, LARGE)

    return gap


def any_of(parts: Sequence[Gap]) -> Gap:
    """`or`: the least gap."""

    def gap(point: Point) -> float:
        least = LARGE
        for part in parts:
            least = min(least, part(point))
            if not least:
                break
        return least

    return gap


def compared(left: Get, test: Callable[[Any, Any], bool], right: Get, least: float = TINY) -> Gap:
    """A comparison of two terms: where the test fails, their distance, and no less than `least`."""

    def gap(point: Point) -> float:
        try:
            a, b = left(point), right(point)
            return 0.0 if test(a, b) else _distance(a, b, least)
        except UNDEFINED:
            return LARGE

    return gap


def contained(get: Get, members: Sequence[Scalar], inside: bool) -> Gap:
    """`in` a list, where it fails the distance to the nearest member; or, unless `inside`, `not in`: 1."""
    keys = frozenset(map(_key, members))

    def gap(point: Point) -> float:
        try:
            value = get(point)
        except UNDEFINED:
            return LARGE
        if (_key(value) in keys) is inside:
            return 0.0
        return min(_distance(value, member, TINY) for member in members) if inside else 1.0

    return gap


def _distance(a: Scalar, b: Scalar, least: float) -> float:
    """The difference of two numbers that do not compare well, at least `least`; 1 unless both are numbers."""
    for value in (a, b):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 1.0
    difference = abs(a - b)  # type: ignore[operator]
    return float(max(difference, least)) if difference < LARGE else LARGE


def _key(value: Scalar) -> tuple[bool, Scalar]:
    """What is equal where JSON scalars are: 1 equals 1.0, but neither equals true."""
    return isinstance(value, bool), value


def same(a: Scalar, b: Scalar) -> bool:
    """`==` of values that need not be numbers."""
    return _key(a) == _key(b)


def differ(a: Scalar, b: Scalar) -> bool:
    """`!=` of values that need not be numbers."""
    return _key(a) != _key(b)


def orderly(get: Get) -> Get:
    """The term's value for < and >, which Python would also answer for true and false."""

    def value(point: Point) -> Any:
        found = get(point)
        if isinstance(found, bool):
            raise TypeError("true and false have no order")
        return found

    return value


def numeric(get: Get) -> Get:
    """The term's value where it is a number: Python would also compute with texts, true and false."""

    def value(point: Point) -> float:
        found = get(point)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise TypeError("no number")
        return found

    return value


def applied(function: Callable[..., Any], operands: Sequence[Get]) -> Get:
    """A function of terms, kept within bounds."""
    if len(operands) == 1:
        (only,) = operands
        return lambda point: _bounded(function(only(point)))
    if len(operands) == 2:
        first, second = operands
        return lambda point: _bounded(function(first(point), second(point)))
    return lambda point: _bounded(function(*[operand(point) for operand in operands]))


def chained(operations: Sequence[Callable[[Any, Any], Any]]) -> Callable[..., Any]:
    """Operations on numbers, from left to right."""
    if len(operations) == 1:
        return operations[0]

    def value(first: Any, *rest: Any) -> Any:
        for operation, operand in zip(operations, rest, strict=True):
            first = _bounded(operation(first, operand))
        return first

    return value


def _bounded(value: Any) -> Any:
    """A number within +-LARGE: neither NaN nor infinite nor, as an int, of more than 1024 bits."""
    if -LARGE <= value <= LARGE:
        return value
    raise OverflowError("too large")


def _power(base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent * (base.bit_length() - 1) > 1024:
        raise OverflowError("too large")  # before it takes hours to compute
    return base**exponent


def _round(value: float, digits: int = 0) -> float:
    if not isinstance(digits, int) or abs(digits) > 400:
        raise ValueError("round takes a whole number of digits, up to 400")
    return round(value, digits)


OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power,
}  # fmt: skip
"""What `+` and its like do to two numbers."""
ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
"""The comparisons that ask for an order."""
OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
"""What `not` makes of a comparison; those of a list, `in` and `not in`, are not among them."""
FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, float]] = {
    "abs": (abs, 1, 1), "min": (min, 2, math.inf), "max": (max, 2, math.inf),
    "log": (math.log, 1, 2), "log2": (math.log2, 1, 1), "log10": (math.log10, 1, 1), "exp": (math.exp, 1, 1),
    "sqrt": (math.sqrt, 1, 1), "floor": (math.floor, 1, 1), "ceil": (math.ceil, 1, 1), "round": (_round, 1, 2),
}  # fmt: skip
"""Name -> (function of numbers, fewest and most arguments)."""
