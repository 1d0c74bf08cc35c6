"""`{param}` in the arguments of a command: the values of declared parameters, with no shell in between."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence

from tuners.tools.templates import as_text
from tunesmith.domain import Scalar

HOLE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
ALIKE = 0.6
"""How similar a name must be to a parameter's to be taken for a slip of it (difflib's ratio)."""


def fill(arguments: Sequence[str], declared: Collection[str], params: Mapping[str, Scalar]) -> list[str]:
    """The arguments with `{param}` replaced; an inactive parameter is empty text, and `{{param}}` says `{param}`.

    All other braces stay as they are, so that JSON needs no escapes.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in declared:
            return match[0]
        if match[1]:
            return f"{{{name}}}"
        return as_text(params[name]).replace("\0", "") if name in params else ""  # no argument can hold a NUL

    return [HOLE.sub(value, argument) for argument in arguments]


def slips(arguments: Sequence[str], declared: Collection[str]) -> list[str]:
    """What looks like a slip: `{name}` that is nearly a parameter."""
    found = []
    for name in dict.fromkeys(match[2] for argument in arguments for match in HOLE.finditer(argument)):
        if name and name not in declared and (near := difflib.get_close_matches(name, declared, n=1, cutoff=ALIKE)):
            found.append(f"{{{name}}} is no parameter and stays as it is; did you mean {{{near[0]}}}?")
    return found
