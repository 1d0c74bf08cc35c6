"""Command templates: `${x}` and `$x` of declared parameters become values, and no value can become a command.

A value of harmless characters stands in the script as it is. Any other one is put there as a reference to an environment
variable, which bash expands after parsing, so that quotes, `;` or `$(...)` inside a value stay text. Around the reference
go the quotes that its place needs: none inside double quotes or a here-document, double quotes outside of quotes, and
single quotes closed and opened again inside single quotes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from tunesmith.domain import Scalar

HARMLESS = re.compile(r"[A-Za-z0-9_@%+=:,./-]*\Z")
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})


class UnsafeValue(ValueError):
    """A value that cannot be substituted into a script of that interpreter."""


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
    words = shlex.split(first[2:]) if first.startswith("#!") else []
    return words or ["bash"]


def render(template: str, declared: Sequence[str], params: Mapping[str, Scalar]) -> str:
    """The script for one configuration. An inactive parameter stands for nothing.

    Raises:
        UnsafeValue: the script is no shell script, and the value has characters that could be code in it.
    """
    if not declared:
        return template
    shell = _is_shell(interpreter(template))
    variables = variable_names(declared)
    names = "|".join(sorted(map(re.escape, declared), key=len, reverse=True))
    hole = re.compile(rf"\$(?:\{{({names})\}}|({names})(?![A-Za-z0-9_]))")
    quoting = _Quoting(template)

    def fill(match: re.Match[str]) -> str:
        if shell and quoting.escaped(match.start()):
            return match.group()
        name = match.group(1) or match.group(2)
        text = as_text(params[name]) if name in params else ""
        if HARMLESS.match(text):
            return text
        if not shell:
            raise UnsafeValue(
                f"{name}={text!r} cannot be put into a script of {interpreter(template)[0]}; "
                f"read it there from the environment variable {variables[name]}"
            )
        return quoting.wrap(match.start(), "${" + variables[name] + "}")

    return hole.sub(fill, template)


def environment(declared: Sequence[str], params: Mapping[str, Scalar]) -> dict[str, str]:
    """The environment variables that hold the configuration."""
    names = variable_names(declared)
    return {names[name]: as_text(value).replace("\0", "") for name, value in params.items() if name in names}


def _is_shell(words: Sequence[str]) -> bool:
    programs = [PurePath(word).name for word in words if not word.startswith("-")]
    return any(program in SHELLS for program in programs[:2])


class _Quoting:
    """Where in a bash script quotes are open; wrong guesses cost a word split, never an execution."""

    def __init__(self, script: str) -> None:
        self.marks: list[str] = []
        stack = [""]
        comment = False
        index = 0
        while index < len(script):
            char, top = script[index], stack[-1]
            self.marks.append("#" if comment else top)
            if comment:
                comment = char != "\n"
            elif char == "\\" and top != "'":
                self.marks.append("\\")
                index += 1
            elif top == "'":
                stack.pop() if char == "'" else None
            elif char == '"':
                stack.pop() if top == '"' else stack.append('"')
            elif char == "'" and top != '"':
                stack.append("'")
            elif script.startswith("$(", index):
                stack.append("(")
            elif char == ")" and top == "(":
                stack.pop()
            elif char == "#" and top != '"' and (index == 0 or script[index - 1] in " \t\n;"):
                comment = True
            index += 1
        self.heredocs = _heredocs(script)

    def escaped(self, position: int) -> bool:
        return self.marks[position] == "\\"

    def wrap(self, position: int, reference: str) -> str:
        for start, end in self.heredocs:
            if start <= position < end:
                return reference
        mark = self.marks[position]
        return {'"': reference, "'": f"'\"{reference}\"'"}.get(mark, f'"{reference}"')


def _heredocs(script: str) -> list[tuple[int, int]]:
    found = []
    for match in re.finditer(r"<<-?\s*(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\1[^\n]*\n", script):
        end = re.compile(rf"^\t*{match.group(2)}$", re.MULTILINE).search(script, match.end())
        found.append((match.end(), end.start() if end else len(script)))
    return found
