"""Command templates: `${x}` and `$x` of declared parameters become values, and a value does not become a command.

A value of harmless characters stands in the script as it is. Any other one is put there as a reference to an
environment variable, which bash expands after parsing, so that quotes, `;` or `$(...)` inside a value stay text. Around
the reference go the quotes that its place needs: none inside double quotes or a here-document, double quotes outside of
quotes, and single quotes closed and opened again inside single quotes.

Where the command around it would parse the expanded text again (`eval`, a shell, `trap`, `[[ -v`, ...; commands.py has
the list), such a value is refused, and in arithmetic everything but numbers is. Not covered is what a script does later
with a value that it has put into a variable, a function's argument or a file of its own (`v=${x}; eval "$v"`), and what
other programs take for code than those of the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from tuners.tools.commands import dangers, reckons, subscript
from tuners.tools.places import Document, Lexer, Place, escaped, second_dollar
from tunesmith.domain import Scalar

HARMLESS = re.compile(r"[A-Za-z0-9_@%+=:,./-]*\Z")
NUMBERS = re.compile(r"(?:[\s+*/%()<>=!&|^~?:,-]|0[xX][0-9a-fA-F]+|[0-9]+(?:#[0-9a-zA-Z]+)?)*\Z")
"""Text that arithmetic may evaluate: numbers and operators, no names."""
HOLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})


class UnsafeValue(ValueError):
    """A value that cannot be substituted at its place in the script."""


def variable_names(parameters: Sequence[str]) -> dict[str, str]:
    """Parameter -> environment variable: `TUNESMITH_PARAM_<NAME>`; names equal but for their case keep their case."""
    upper = [name.upper() for name in parameters]
    return {name: "TUNESMITH_PARAM_" + (name if upper.count(name.upper()) > 1 else name.upper()) for name in parameters}


def as_text(value: Scalar) -> str:
    """A JSON scalar as a script sees it: text as it is, booleans and null as in JSON, floats in full precision."""
    return value if isinstance(value, str) else json.dumps(value)


def interpreter(template: str) -> list[str]:
    """The command line that runs the script: that of its `#!` line, else bash."""
    first = template.split("\n", 1)[0]
    return (first.startswith("#!") and first[2:].split()) or ["bash"]


def render(template: str, declared: Sequence[str], params: Mapping[str, Scalar]) -> str:
    """The script for one configuration. An inactive parameter, and an empty text outside of quotes, stand for nothing.

    Raises:
        UnsafeValue: the value could become code at its place, and quoting cannot help there.
    """
    shell = is_shell(interpreter(template))
    parsed = _parse(template, tuple(declared), shell)
    variables = variable_names(declared)
    pieces, position = [], 0
    for hole in parsed.holes:
        pieces.append(template[position : hole.start])
        text = as_text(params[hole.name]) if hole.name in params else ""
        fill = _fill if shell else _fill_foreign
        pieces.append(fill(hole, text, variables[hole.name], isinstance(params.get(hole.name), str)))
        position = hole.end
    for document in parsed.documents:
        _check_document(template, parsed, document, params)
    return "".join([*pieces, template[position:]])


def environment(declared: Sequence[str], params: Mapping[str, Scalar]) -> dict[str, str]:
    """The environment variables that hold the configuration."""
    names = variable_names(declared)
    return {names[name]: as_text(value).replace("\0", "") for name, value in params.items() if name in names}


def is_shell(words: Sequence[str]) -> bool:
    """Whether a command line runs a shell of the Bourne family."""
    programs = [PurePath(word).name for word in words if not word.startswith("-")]
    return any(program in SHELLS for program in programs[:2])


@dataclass(frozen=True)
class _Hole:
    start: int
    end: int
    name: str
    place: Place
    subscript: bool
    redirected: bool
    danger: str | None
    """What makes the command around it take a value for code."""


@dataclass(frozen=True)
class _Parsed:
    holes: tuple[_Hole, ...]
    documents: tuple[Document, ...]


@lru_cache(maxsize=16)
def _parse(template: str, declared: tuple[str, ...], shell: bool) -> _Parsed:
    """The holes of a template, found once for all its configurations."""
    names = frozenset(declared)
    found = [match for match in HOLE.finditer(template) if (match[1] or match[2]) in names]
    if not found:
        return _Parsed((), ())
    lexer = Lexer(template) if shell else None
    dangerous = dangers(template, lexer) if lexer else {}
    holes = [
        _hole(template, match, lexer, dangerous)
        for match in found
        if not escaped(template, match.start()) and not second_dollar(template, match.start())
    ]
    documents = lexer.documents if lexer else []
    return _Parsed(tuple(holes), tuple(documents))


def _hole(template: str, match: re.Match[str], lexer: Lexer | None, dangerous: Mapping[int, str]) -> _Hole:
    start, end = match.span()
    place = lexer.places[start] if lexer else Place.WORD
    if place in (Place.WORD, Place.DOUBLE) and reckons(template, start, end):
        place = Place.ARITHMETIC
    return _Hole(
        start,
        end,
        match[1] or match[2],
        place,
        subscript=subscript(template, start),
        redirected=template[end : end + 1] in ("<", ">"),
        danger=dangerous.get(lexer.commands[start]) if lexer else None,
    )


def _fill(hole: _Hole, text: str, variable: str, is_text: bool) -> str:
    reference = "${" + variable + "}"
    if hole.danger is not None and not HARMLESS.match(text) and not _number_in_arithmetic(hole, text):
        raise UnsafeValue(
            f"{hole.name}={text!r} cannot be put into a command that has {hole.danger!r} in it, which may run it as "
            f'code: let what is run there read "${variable}", or use only letters, digits and _ @ % + = : , . / -'
        )
    if hole.place is Place.VERBATIM:
        return text
    if hole.place is Place.ARITHMETIC:
        if is_text and not NUMBERS.match(text):
            raise UnsafeValue(
                f"{hole.name}={text!r} is no number, but the script reckons with it (arithmetic runs code)"
            )
        return f"({text})" if text.startswith("-") else text
    if hole.subscript and is_text and re.search(r"[$`[\]]|TUNESMITH_", text):
        raise UnsafeValue(f"{hole.name}={text!r} cannot be put into an array's subscript: bash may run code in it")
    if hole.place is Place.HEREDOC:
        return reference if is_text else text  # a literal text could be the delimiter
    if HARMLESS.match(text) and not (hole.redirected and text.isdigit()):  # `2>file` means something else
        return text
    single = {Place.SINGLE: f"'\"{reference}\"'", Place.ANSI: f"'\"{reference}\"$'"}
    bare = hole.place in (Place.DOUBLE, Place.COMMENT)
    return reference if bare else single.get(hole.place, f'"{reference}"')


def _number_in_arithmetic(hole: _Hole, text: str) -> bool:
    return hole.place is Place.ARITHMETIC and NUMBERS.match(text) is not None


def _fill_foreign(hole: _Hole, text: str, variable: str, is_text: bool) -> str:
    if HARMLESS.match(text):
        return text
    raise UnsafeValue(
        f"{hole.name}={text!r} cannot be put into a script that is no shell script; "
        f"read it there from the environment variable {variable}"
    )


def _check_document(template: str, parsed: _Parsed, document: Document, params: Mapping[str, Scalar]) -> None:
    """Refuse values that would end a here-document which bash does not expand."""
    inside = [hole for hole in parsed.holes if document.start <= hole.start < document.end]
    texts = {hole.name: as_text(params[hole.name]) if hole.name in params else "" for hole in inside}
    body = template[document.start : document.end]
    filled, position = [], document.start
    for hole in inside:
        filled += [template[position : hole.start], texts[hole.name]]
        position = hole.end
    ends = _delimiters("".join([*filled, template[position : document.end]]), document.delimiter)
    if ends > _delimiters(body, document.delimiter):
        raise UnsafeValue(f"{texts} would end the here-document {document.delimiter!r}; rename the delimiter")
    if document.fragile and not all(HARMLESS.match(text) for text in texts.values()):
        raise UnsafeValue(f"{texts} cannot be put into a here-document that stands inside of quotes")


def _delimiters(body: str, delimiter: str) -> int:
    return sum(line.lstrip("\t").startswith(delimiter) for line in body.split("\n"))
