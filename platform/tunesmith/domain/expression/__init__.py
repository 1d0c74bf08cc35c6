"""Constraints between parameters: texts such as `lo < hi`, read once, then evaluated without Python's `eval`.

    condition    comparison | condition and condition | condition or condition | not condition | (condition)
    comparison   term < term, and <=, >, >=, ==, !=, also in chains: 0 < a < b; term in [literal, ...], not in
    term         number | 'text' | true | false | null | parameter | -term | term + term, and - * / // % **
                 | abs(t) min(t, t, ...) max(t, t, ...) log(t) log(t, base) log2(t) log10(t) exp(t) sqrt(t)
                 floor(t) ceil(t) round(t) round(t, digits)

Python's parser gives the syntax tree and nothing else of Python is used: what the tree may hold is listed here, and
becomes closures. Numbers compare exactly, as in Python: for a sum of floats write `abs(a + b - 1) <= 1e-9`.
"""

from __future__ import annotations

from tunesmith.domain.expression.condition import Expression, parse
from tunesmith.domain.expression.evaluation import LARGE
from tunesmith.domain.expression.reader import Type
from tunesmith.domain.expression.syntax import MAX_LENGTH, MAX_NESTING

__all__ = ["LARGE", "MAX_LENGTH", "MAX_NESTING", "Expression", "Type", "parse"]
