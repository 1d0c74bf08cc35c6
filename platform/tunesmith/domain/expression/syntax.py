"""From a constraint's text to Python's syntax tree, and how a text is refused: with its position and a remedy."""

from __future__ import annotations

import ast
import difflib
import itertools
import keyword
import re
from collections.abc import Container, Iterable

MAX_LENGTH = 1000
"""Characters of a constraint's text."""
MAX_NESTING = 50
"""Parentheses, functions, `not`, signs and powers inside one another; a long sum and a long `and` are not deep."""
TOO_DEEP = f"nested more than {MAX_NESTING} deep; split it into several constraints"
"""The complaint about what exceeds that."""


def syntax_tree(text: str, source: str) -> ast.expr:
    """The syntax tree. Raises ValueError, with a hint where the text is written in another language."""
    bare = _unquoted(text)
    if len(text) > MAX_LENGTH:
        raise refusal(text, MAX_LENGTH, f"longer than {MAX_LENGTH:,} characters; split it into several constraints")
    depths = itertools.accumulate((char in "([{") - (char in ")]}") for char in bare)
    for position, (char, depth) in enumerate(zip(bare, depths, strict=True)):
        if depth > MAX_NESTING:
            raise refusal(text, position, TOO_DEEP)
        if char == "#":
            raise refusal(text, position, "a constraint holds no comment; remove it")
    try:
        return ast.parse(source, mode="eval").body
    except (RecursionError, MemoryError) as error:
        raise refusal(text, 0, TOO_DEEP) from error
    except (SyntaxError, ValueError) as error:
        for foreign, remedy in _FOREIGN:
            if match := re.search(foreign, bare):
                raise refusal(text, match.start(), f"{match[0]!r} is not understood; {remedy}") from error
        said = error.msg.split(".")[0] if isinstance(error, SyntaxError) else "a character is not understood"
        raise refusal(text, (getattr(error, "offset", 1) or 1) - 1, f"{said}; write for instance lo < hi") from error


def readable(text: str, parameters: Container[str]) -> str:
    """The text as Python's parser can read it: on one line, parameters called `lambda` or `class` disguised.

    A disguised name begins with a Cyrillic letter, which no parameter's name does; `plain` undoes it.
    """
    letters = list(text)
    for match in _ODD.finditer(_unquoted(text)):
        if match[0].isspace():
            letters[match.start()] = " "
        elif match[0] in parameters:
            letters[match.start()] = chr(ord(match[0][0]) + _DISGUISE)
    return "".join(letters)


def plain(name: str) -> str:
    """The name as the text has it."""
    undisguised = chr(max(ord(name[0]) - _DISGUISE, 0)) + name[1:]
    return undisguised if undisguised in _RESERVED else name


def name_in(node: ast.expr) -> str:
    """The name that the node is, or ends with: `log` of `math.log`."""
    return plain(node.id) if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def refusal(text: str, position: int, complaint: str) -> ValueError:
    """What is raised for a text that is no constraint; the position counts from 0."""
    shown = text if len(text) <= 100 else text[:99] + "…"
    return ValueError(f"constraint {shown!r}, position {position + 1}: {complaint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is not known: the one that was meant, or some that are known."""
    by_fold = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    return f"did you mean {by_fold[near[0]]!r}?" if near else f"known: {listed(by_fold.values())}."


def listed(names: Iterable[str]) -> str:
    """The first dozen of the names, as a sentence has them."""
    first = list(itertools.islice(names, 13))
    return ", ".join([*first[:12], "and others"] if len(first) > 12 else first) or "none"


def _unquoted(text: str) -> str:
    """The text with its quoted parts blanked, at the same length."""
    return _QUOTED.sub(lambda match: "_" * len(match[0]), text)


_DISGUISE = 0x430 - ord("a")
"""From a Latin letter to a Cyrillic one."""
_RESERVED = frozenset(keyword.kwlist) - {"and", "or", "not", "in", "True", "False", "None"}
"""Python's words that may well be parameters here: `lambda` is a common one."""
_ODD = re.compile(r"\s|\b(?:" + "|".join(sorted(_RESERVED)) + r")\b")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_FOREIGN = (
    (r"&&", "write `and`"),
    (r"\|\|", "write `or`"),
    (r"[=!]==", "write `==` or `!=`"),
    (r"=<|≤", "write `<=`"),
    (r"=>|≥", "write `>=`"),
    (r"<>|≠", "write `!=`"),
    (r"!(?!=)", "write `not`"),
    (r"\b(?:AND|OR|NOT|IN)\b", "write it in lower case"),
    (r"\$", "write the parameter's bare name"),
    (r"(?<![<>=!:])=(?!=)", "write `==` to compare"),
)
"""What other languages say, and what to say here; looked for only in texts that Python's parser refuses."""
