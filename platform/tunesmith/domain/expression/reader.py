"""The reader of constraints: a syntax tree becomes closures, if it holds nothing but what a constraint may hold."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tunesmith.domain.expression.evaluation import (
    FUNCTIONS,
    LARGE,
    OPERATORS,
    OPPOSITE,
    ORDERS,
    UNDEFINED,
    Gap,
    Get,
    all_of,
    any_of,
    applied,
    chained,
    compared,
    contained,
    differ,
    numeric,
    orderly,
    same,
)
from tunesmith.domain.expression.syntax import MAX_NESTING, TOO_DEEP, name_in, nearest, plain, readable, refusal
from tunesmith.domain.value import Scalar

Type = Literal["int", "float", "categorical"]
"""A parameter's type, as its space declares it."""
Kind = Literal["a number", "a text", "true or false", "null", "any"]
"""What a term's value is, as far as that is known without a point; `any`: a categorical's."""


class Term(NamedTuple):
    """A part of a comparison that has a value."""

    node: ast.expr
    """Where it stands."""
    kind: Kind
    """What its value is."""
    get: Get
    """Its value."""
    constant: bool = False
    """Whether it names no parameter."""


class Reader:
    """Turns a syntax tree into closures, and notes the parameters that it meets."""

    def __init__(self, text: str, types: Mapping[str, Type]) -> None:
        self.text, self.types = text, types
        self.source = readable(text, types)
        self.seen: set[str] = set()

    def condition(self, node: ast.expr, negated: bool = False, depth: int = 1) -> Gap:
        """A condition or its negation: `not` moves inwards to the comparisons, where it can be measured."""
        self._check_depth(node, depth)
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(part, negated, depth + 1) for part in node.values]
            return all_of(parts) if isinstance(node.op, ast.And) != negated else any_of(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node.operand, not negated, depth + 1)
        if isinstance(node, ast.Compare):
            return self._comparison(node, negated, depth + 1)
        example = f"{name} == true" if (name := name_in(node)) in self.types else "lo < hi"
        raise self._error(node, f"this is no comparison; write one such as {example}")

    def _comparison(self, node: ast.Compare, negated: bool, depth: int) -> Gap:
        """A comparison or a chain of them."""
        links: list[Gap] = []
        left = self.term(node.left, depth)
        for sign, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                if len(node.ops) > 1:
                    raise self._error(right, "`in` stands in no chain; join the comparisons by `and`")
                return self._membership(left, right, isinstance(sign, ast.In) != negated, depth)
            term = self.term(right, depth)
            links.append(self._link(left, type(sign), term, negated))
            left = term
        return any_of(links) if negated else all_of(links)

    def _link(self, left: Term, sign: type[ast.cmpop], right: Term, negated: bool) -> Gap:
        if sign not in OPPOSITE:
            raise self._error(right.node, "`is` is not known here; write == or !=")
        self._check_alike(left, right)
        sign = OPPOSITE[sign] if negated else sign
        if sign in ORDERS:
            for term in (left, right):
                if term.kind in ("true or false", "null"):
                    raise self._error(term.node, f"{term.kind} is neither less nor more; compare it by == or !=")
            lesser, greater = (orderly(term.get) if term.kind == "any" else term.get for term in (left, right))
            return compared(lesser, ORDERS[sign], greater)
        equal, unequal = (operator.eq, operator.ne) if left.kind == right.kind == "a number" else (same, differ)
        return compared(left.get, unequal, right.get, 1) if sign is ast.NotEq else compared(left.get, equal, right.get)

    def _membership(self, left: Term, node: ast.expr, inside: bool, depth: int) -> Gap:
        if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
            raise self._error(node, "`in` needs a list of values, for instance in ['gzip', 'zstd']")
        terms = [self.term(element, depth + 1) for element in node.elts]
        for term in terms:
            if not term.constant:
                raise self._error(term.node, "a list holds only numbers, texts, true, false, null; use == and or")
            self._check_alike(left, term)
        return contained(left.get, [term.get({}) for term in terms], inside)

    def term(self, node: ast.expr, depth: int) -> Term:
        """A part of a comparison that has a value."""
        self._check_depth(node, depth)
        if isinstance(node, ast.Constant):
            return self._literal(node, node.value)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, depth + 1)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            operand = self._number(node.operand, depth + 1)
            return self._computed(node, operator.neg if isinstance(node.op, ast.USub) else operator.pos, [operand])
        if isinstance(node, ast.Call):
            return self._function(node, depth + 1)
        if isinstance(node, ast.Compare | ast.BoolOp) or (isinstance(node, ast.UnaryOp) and type(node.op) is ast.Not):
            raise self._error(node, "a comparison has no value to compute with; join comparisons by and, or, not")
        raise self._error(node, "this is not understood; write numbers, texts, parameters, operators and functions")

    def _literal(self, node: ast.expr, value: Any) -> Term:
        if type(value) not in _KINDS:
            raise self._error(node, f"{value!r} is no value of a parameter; write a number or a text")
        if isinstance(value, int | float) and not -LARGE <= value <= LARGE:
            raise self._error(node, "the number is too large; write one below 1.8e308")
        return Term(node, _KINDS[type(value)], lambda _point: value, constant=True)

    def _name(self, node: ast.Name) -> Term:
        name = plain(node.id)
        if name in self.types:
            self.seen.add(name)
            return Term(node, "any" if self.types[name] == "categorical" else "a number", operator.itemgetter(name))
        if name in _LITERALS:
            return self._literal(node, _LITERALS[name])
        hint = nearest(name, self.types)
        raise self._error(node, f"no parameter is called {name!r}; {hint} A text stands in quotes: '{name}'.")

    def _arithmetic(self, node: ast.BinOp, depth: int) -> Term:
        """a + b - c * d: the left sides are followed in a loop, so that long sums are not deep."""
        spine: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            spine.append(left)
            left = left.left
        term = self._number(left, depth)
        steps: list[tuple[Callable[[Any, Any], Any], Term]] = []
        for step in reversed(spine):
            if type(step.op) not in OPERATORS:
                raise self._error(step.right, "the operator before this is unknown; known: + - * / // % **, and, or")
            steps.append((OPERATORS[type(step.op)], self._number(step.right, depth)))
        return self._computed(node, chained([operation for operation, _ in steps]), [term, *(t for _, t in steps)])

    def _function(self, node: ast.Call, depth: int) -> Term:
        name = name_in(node.func)
        if name not in FUNCTIONS or not isinstance(node.func, ast.Name):
            hint = "write its bare name" if name in FUNCTIONS else nearest(name, FUNCTIONS)
            raise self._error(node, f"{name or 'this'} is no function here; {hint}")
        function, least, most = FUNCTIONS[name]
        if node.keywords or not least <= len(node.args) <= most:
            takes = str(least) if least == most else f"{least} or {'more' if most > 2 else most}"
            raise self._error(node, f"{name} takes {takes} numbers, in parentheses")
        return self._computed(node, function, [self._number(argument, depth) for argument in node.args])

    def _number(self, node: ast.expr, depth: int) -> Term:
        """A term to compute with; a categorical's values are looked at when they are there."""
        term = self.term(node, depth)
        if term.kind not in ("any", "a number"):
            raise self._error(node, f"{term.kind} is nothing to compute with; use numbers")
        return term._replace(get=numeric(term.get)) if term.kind == "any" else term

    def _computed(self, node: ast.expr, function: Callable[..., Any], operands: Sequence[Term]) -> Term:
        """A function of terms; of constants alone it is computed now."""
        get = applied(function, [operand.get for operand in operands])
        if not all(operand.constant for operand in operands):
            return Term(node, "a number", get)
        try:
            value = get({})
        except UNDEFINED as error:
            raise self._error(node, f"this cannot be computed ({error}); write its value") from error
        return Term(node, "a number", lambda _point: value, constant=True)

    def _check_alike(self, left: Term, right: Term) -> None:
        if "any" not in (left.kind, right.kind) and left.kind != right.kind:
            raise self._error(right.node, f"{left.kind} never equals {right.kind}; compare values of one type")

    def _check_depth(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_NESTING:
            raise self._error(node, TOO_DEEP)

    def _error(self, node: ast.expr, complaint: str) -> ValueError:
        before = self.source.encode()[: node.col_offset]  # the parser counts bytes
        return refusal(self.text, len(before.decode()), complaint)


_LITERALS: Mapping[str, Scalar] = {"true": True, "false": False, "null": None}
_KINDS: Mapping[type, Kind] = {
    int: "a number", float: "a number", str: "a text", bool: "true or false", type(None): "null",
}  # fmt: skip
