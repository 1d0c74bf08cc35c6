"""What is wrong with a file of rows, said with file, column and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunesmith.errors import InvalidData

SHOWN = 80
"""Characters of a name that messages show."""


def invalid(file: str, problem: str, column: str | None = None) -> InvalidData:
    """An error about a file, or a column of it."""
    where = file if column is None else f"{file}, column {quoted(column)}"
    return InvalidData(f"{where}: {problem}", file=file, column=column)


def invalid_line(file: str, line: int, problem: str) -> InvalidData:
    """An error about a whole line of a file."""
    return InvalidData(f"{file}, line {line:,}: {problem}", file=file, column=None, row=line)


def invalid_width(file: str, line: int, cells: int, columns: int, separator: str) -> InvalidData:
    """An error about a line that has more or fewer cells than the header."""
    remedy = f"write all of them, empty ones too, and those that hold {separator!r} in quotes"
    return invalid_line(file, line, f"it has {cells:,} cells, and the header {columns:,}; {remedy}")


def quoted(name: str) -> str:
    """A name as messages show it, shortened."""
    return repr(name if len(name) <= SHOWN else name[: SHOWN - 3] + "...")


def check_columns(name: str, columns: Sequence[str]) -> None:
    """Raise InvalidData unless each column has a name of its own."""
    if not columns:
        raise invalid(name, "it has no columns")
    for number, column in enumerate(columns, 1):
        if not column:
            remedy = "give it one, or write the file without it (pandas: to_csv(index=False))"
            raise invalid(name, f"column {number} has no name; {remedy}")
    column, count = Counter(columns).most_common(1)[0]
    if count > 1:
        raise invalid(name, f"{count} columns have this name; rename all but one", column)
