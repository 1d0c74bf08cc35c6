"""Constraints between parameters: what holds, how far a point is from it, and which texts are refused and how."""

from __future__ import annotations

import ast
import math
import pickle
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tunesmith.domain.expression import LARGE, MAX_NESTING, Type, parse

TYPES: dict[str, Type] = {
    "a": "float", "b": "float", "lo": "int", "hi": "int", "codec": "categorical", "flag": "categorical",
    "lambda": "float",
}  # fmt: skip
NAMES = st.sampled_from(["a", "b", "lo", "hi"])
FUNCTIONS = {
    name: getattr(math, name) for name in ("log", "log2", "log10", "exp", "sqrt", "floor", "ceil")
} | {"abs": abs, "min": min, "max": max, "round": round}  # fmt: skip


def holds(text: str, **point: Any) -> bool:
    return parse(text, TYPES).holds(point)


def violation(text: str, **point: Any) -> float:
    return parse(text, TYPES).violation(point)


def read(text: str) -> Any:
    """The constraint, or None where it is refused as no constraint can be else: by position and complaint."""
    try:
        return parse(text, TYPES)
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith("constraint ")
    assert ", position " in refusal
    assert len(refusal) < 1000
    return None


NUMBERS = st.integers(0, 9).map(str) | st.floats(0, 100).map(repr) | NAMES


def _terms(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    single = st.sampled_from(["-", "abs", "log", "log2", "log10", "exp", "sqrt", "floor", "ceil", "round"])
    return (
        st.builds("({} {} {})".format, inner, operators, inner)
        | st.builds("{} {} {}".format, inner, operators, inner)
        | st.builds("({}) ** {}".format, inner, st.sampled_from(["2", "3", "0.5", "-1", "-2 ** 2"]))
        | st.builds("{}({})".format, single, inner)
        | st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner)
    )


TERMS = st.recursive(NUMBERS, _terms, max_leaves=6)
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
COMPARISONS = (
    st.builds("{} {} {}".format, TERMS, SIGNS, TERMS)
    | st.builds("{} {} {} {} {}".format, TERMS, SIGNS, TERMS, SIGNS, TERMS)
    | st.builds("{} {} [{}, {}]".format, NAMES, st.sampled_from(["in", "not in"]), *[st.integers(-5, 5)] * 2)
    | st.builds(
        "codec {} '{}'".format, st.sampled_from(["==", "!=", "<", ">="]), st.sampled_from(["gzip", "zstd", "é"])
    )
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=5,
)
VALUES = st.floats(-100, 100)
POINTS = st.fixed_dictionaries(
    {
        "a": VALUES, "b": VALUES, "lo": st.integers(-9, 9), "hi": st.integers(-9, 9),
        "codec": st.sampled_from(["gzip", "zstd", "é"]),
    }
)  # fmt: skip


def by_python(node: ast.expr, point: dict[str, Any]) -> bool | None:
    """Whether a condition holds, each comparison by Python's own eval; None where that has no answer."""
    if isinstance(node, ast.UnaryOp):
        inner = by_python(node.operand, point)
        return None if inner is None else not inner
    if isinstance(node, ast.BoolOp):
        parts = [by_python(part, point) for part in node.values]
        decisive = isinstance(node.op, ast.Or)
        return decisive if decisive in parts else None if None in parts else not decisive
    assert isinstance(node, ast.Compare)
    terms = [node.left, *node.comparators]
    links = [link_by_python(*link, point) for link in zip(terms, node.ops, terms[1:], strict=False)]
    return False if False in links else None if None in links else True


def link_by_python(left: ast.expr, sign: ast.cmpop, right: ast.expr, point: dict[str, Any]) -> bool | None:
    """Whether a comparison holds; None where a part of it raises an error, is complex or beyond all floats."""

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}} | FUNCTIONS, point)

    try:
        for part in [*ast.walk(left), *ast.walk(right)]:
            if isinstance(part, ast.BinOp | ast.Call) and not math.isfinite(value(part)):
                return None
        return bool(value(ast.Compare(left, [sign], [right], lineno=1, col_offset=0)))
    except (ArithmeticError, TypeError, ValueError):
        return None


@settings(max_examples=500)
@given(text=CONDITIONS, point=POINTS)
def test_conditions_hold_as_in_python_and_what_it_cannot_compute_holds_neither_way(
    text: str, point: dict[str, Any]
) -> None:
    expression, inverse = read(text), read(f"not ({text})")
    assume(expression and inverse)
    expected = by_python(ast.parse(text, mode="eval").body, point)
    assert (expression.holds(point), inverse.holds(point)) == (expected is True, expected is False)
    for condition in (expression, inverse):
        assert (condition.violation(point) == 0) == condition.holds(point)
        assert 0 <= condition.violation(point) <= LARGE


@given(text=st.text(max_size=60) | st.text("ab lohi<>=!+-*/%()[]{}'\"#.,:;&|0123456789eandortis\n\\", max_size=60))
@example("(" * 5000)
@example("1+" * 5000)
@example("not " * 3000)
@example("-" * 990 + "a < 1")
@example("~" * 990 + "a < 1")
@example("a" + "()" * 400 + " < 1")
@example("a" + ".b" * 400 + "() < 1")
@example("a" + "[0]" * 300 + " < 1")
@example("(" * 199 + "a < 1" + ")" * 199)
@example("a" + "**a" * 300 + " < 1")
@example("not " * 240 + "a < 1")
@example("\ud800")
@example("a < 1\x00")
@example("'" * 999)
@example("lambda: a < 1")
@example("a < 10_00000000000000000000e9999")
def test_any_text_is_a_constraint_or_refused_with_its_position(text: str) -> None:
    expression = read(text)
    if expression:
        assert expression.names <= set(TYPES)
        assert str(expression) == text.strip()


@given(text=CONDITIONS, point=POINTS)
def test_an_expression_travels(text: str, point: dict[str, Any]) -> None:
    expression = read(text)
    assume(expression)
    there = pickle.loads(pickle.dumps(expression))
    assert (str(there), there.names) == (str(expression), expression.names)
    assert there.violation(point) == expression.violation(point)


def test_a_constraint_names_its_parameters() -> None:
    assert parse("codec == 'lo' or a < max(b, 1)", TYPES).names == {"codec", "a", "b"}


def test_equality_is_that_of_json_scalars() -> None:
    assert holds("flag == 1", flag=1.0)
    assert not holds("flag == 1", flag=True)
    assert holds("flag != 1", flag=True)
    assert holds("flag == true", flag=True)
    assert holds("flag == True and flag in [True, 3] and flag != false", flag=True)
    assert not holds("flag in [1, 0]", flag=True)
    assert holds("flag not in [1, 0]", flag=True)
    assert holds("flag == null", flag=None)
    assert holds("flag == codec", flag="x", codec="x")
    assert not holds("flag == lo", flag=True, lo=1)


@pytest.mark.parametrize(
    "text",
    ["1 / (a - 1) < 9", "log(a - 2) < 9", "sqrt(-a) < 9", "exp(a * 1000) > 9", "(-a) ** 0.5 != 9", "a * 1e308 * 10 > 9",
     "lo % 0 == 0", "lo ** hi ** hi ** hi > 9", "round(a, 100000000000) < 9", "log(a, 1) < 9",
     "codec < 9", "codec * 1 < 9", "flag < 9", "flag + 1 < 9", "flag < flag"],
)  # fmt: skip
def test_what_cannot_be_computed_holds_neither_way(text: str) -> None:
    point = {"a": 1.0, "lo": 99, "hi": 9, "codec": "zstd", "flag": True}
    for condition in (text, f"not {text}"):
        expression = parse(condition, TYPES)
        assert not expression.holds(point)
        assert expression.violation(point) == LARGE
        assert math.isfinite(expression.violation(point))
    assert holds(f"{text} or a == 1", **point)
    assert not holds(f"{text} and a == 1", **point)


def test_a_constraint_on_an_absent_parameter_holds() -> None:
    assert holds("lo < hi", lo=3)
    assert violation("a <= 1 and lo < hi", a=4, lo=3) == 0
    assert not holds("lo < hi", lo=3, hi=1)


@pytest.mark.parametrize(
    ("text", "far"),
    [
        ("a <= 1", 2.5),
        ("a == 1", 2.5),
        ("not a > 1", 2.5),
        ("a + b <= 2 and lo > 4", 6.0),
        ("a + b <= 2 or lo > 4", 1.0),
        ("not (a + b > 2 and lo <= 4)", 1.0),
        ("codec == 'gzip'", 1.0),
        ("not codec == 'zstd'", 1.0),
        ("a != 3.5", 1.0),
        ("lo in [1, 9]", 2.0),
        ("lo not in [3, 9]", 1.0),
        ("9 < lo < 1", 8.0),
        ("not 0 < lo < 4", 1.0),
        ("a * 1e308 <= -1e308", LARGE),
        ("lo > 9 and log(-a) > 1", 6.0),
        ("lambda < 0", 0.5),
    ],
)
def test_a_violation_says_how_far_a_point_is_from_it(text: str, far: float) -> None:
    found = violation(text, **{"a": 3.5, "b": 3.5, "lo": 3, "codec": "zstd", "lambda": 0.5})
    assert found == pytest.approx(far)


def test_a_strict_comparison_of_equals_is_broken_by_the_least() -> None:
    assert 0 < violation("lo < hi", lo=3, hi=3) < sys.float_info.epsilon
    assert violation("a <= b", a=math.inf, b=0.0) == LARGE
    assert violation("a <= b - a", a=math.inf, b=math.inf) == LARGE


def test_long_sums_and_texts_on_several_lines_are_read() -> None:
    many: dict[str, Type] = {f"p{index}": "float" for index in range(120)}
    total = parse(" + ".join(many) + " <= 1", many)
    assert total.holds(dict.fromkeys(many, 1 / 128))
    assert not total.holds(dict.fromkeys(many, 1.0))
    assert holds("a < 1\n  and\tb < 2\n", a=0, b=1)
    assert holds("(" * 40 + "a" + ")" * 40 + " < 1", a=0)


def test_words_of_python_may_be_parameters() -> None:
    types: dict[str, Type] = {"lambda": "float", "class": "categorical", "true": "int", "min": "int", "if": "int"}
    point = {"lambda": 0.5, "class": "lambda", "true": 3, "min": 4, "if": 1}
    for text in (
        "lambda < 1", "class == 'lambda'", 'class == "lambda" and lambda == 0.5', "true == 3",
        "min(min, true) == 3", "if == 1 and -lambda < 0",
    ):  # fmt: skip
        assert parse(text, types).holds(point)
        assert not parse(f"not ({text})", types).holds(point)


REFUSED = [
    ("", "position 1: "),
    ("a + b", "position 1: this is no comparison; write one such as lo < hi"),
    ("a < 1 and b", "position 11: this is no comparison; write one such as b == true"),
    ("1 < 2", "no parameter is named"),
    ("a <= c", "position 6: no parameter is called 'c'; did you mean 'codec'|known: a, b"),
    ("codex == 'é' and Lo < 1", "position 1: no parameter is called 'codex'; did you mean 'codec'?"),
    ("codec == 'é' and Lo < 1", "position 18: no parameter is called 'Lo'; did you mean 'lo'?"),
    ("codec == zstd", "A text stands in quotes: 'zstd'"),
    ("a < 1 && b < 2", "position 7: '&&' is not understood; write `and`"),
    ("a < 1 || b < 2", r"position 7: '\|\|' is not understood; write `or`"),
    ("!(a < 1)", "position 1: '!' is not understood; write `not`"),
    ("codec == '&&' AND a < 1", "position 15: 'AND' is not understood; write it in lower case"),
    ("a = 1", "position 3: '=' is not understood; write `==` to compare"),
    ("a ≤ 1", "write `<=`"),
    ("${a} < 1", "position 1: '\\$' is not understood; write the parameter's bare name"),
    ("a ^ 2 < 1", r"the operator before this is unknown; known: \+ - \* /"),
    ("a < 'x'", "position 5: a number never equals a text"),
    ("lo == true", "position 7: a number never equals true or false"),
    ("'x' == null", "a text never equals null"),
    ("codec < true", "true or false is neither less nor more"),
    ("a + 'x' < 1", "position 5: a text is nothing to compute with"),
    ("lo in ['a']", "position 8: a number never equals a text"),
    ("lo in [hi]", "position 8: a list holds only numbers"),
    ("codec in 'zstd'", "position 10: `in` needs a list"),
    ("codec in []", "position 10: `in` needs a list"),
    ("a < lo in [1]", "`in` stands in no chain"),
    ("a is 1", "write == or !="),
    ("(a < b) < 1", "a comparison has no value"),
    ("math.log(a) < 1", "log is no function here; write its bare name"),
    ("logg(a) < 1", "logg is no function here; did you mean 'log'?"),
    ("__import__('os').system('true') == a", "system is no function here"),
    ("a.__class__ == a", "this is not understood"),
    ("[b for b in a] == a", "this is not understood"),
    ("sqrt(a, b) < 1", "sqrt takes 1 numbers, in parentheses"),
    ("min(a) < 1", "min takes 2 or more numbers"),
    ("log(x=a) < 1", "log takes 1 or 2 numbers"),
    ("1 / 0 < a", r"this cannot be computed \(division by zero\)"),
    ("9**9**9**9 < a", r"this cannot be computed \(too large\)"),
    ("1e999 > a", "the number is too large"),
    ("1j < a", "1j is no value of a parameter"),
    ("a < 1 # because", "position 7: a constraint holds no comment"),
    ("codec == 'a\nb'", "unterminated string"),
    ("(a < 1", "was never closed"),
    ("a < 1" + " " * 990 + "and b < 1", "position 1001: longer than 1,000 characters"),
    ("-" * MAX_NESTING + "a < 1", f"nested more than {MAX_NESTING} deep"),
    ("not " * MAX_NESTING + "a < 1", f"nested more than {MAX_NESTING} deep"),
    ("(" * 51 + "a" + ")" * 51 + " < 1", f"position 51: nested more than {MAX_NESTING} deep"),
]


@pytest.mark.parametrize(("text", "complaint"), REFUSED, ids=lambda value: value[:30])
def test_what_is_no_constraint_is_refused_with_position_and_remedy(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refusal:
        parse(text, TYPES)
    assert repr(text)[1:30] in str(refusal.value) or "…" in str(refusal.value)
