"""What is wrong with the data of a training, said with file, column and row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from tunesmith.errors import InvalidData

if TYPE_CHECKING:
    from tuners.automl.data.part import Part

SHOWN = 80
"""Characters of a name that messages show."""
DENIED = ("ACCESS_DENIED", "Forbidden", "status: 403", "code 403")


def invalid(file: str, problem: str, column: str | None = None) -> InvalidData:
    """An error about a file, or a column of it."""
    where = file if column is None else f"{file}, column {quoted(column)}"
    return InvalidData(f"{where}: {problem}", file=file, column=column)


def invalid_cell(part: Part, row: int, problem: str, column: str | None = None) -> InvalidData:
    """An error about a row of a part (from 0), which is named as people count it: by line or row number."""
    number = part.locate(row)
    cell = "" if column is None else f", column {quoted(column)}"
    message = f"{part.name}, {part.unit} {number:,}{cell}: {problem}"
    return InvalidData(message, file=part.name, column=column, row=number)


def invalid_line(file: str, line: int, problem: str) -> InvalidData:
    """An error about a whole line of a file."""
    return InvalidData(f"{file}, line {line:,}: {problem}", file=file, column=None, row=line)


def quoted(name: str) -> str:
    """A name as messages show it, shortened."""
    return repr(name if len(name) <= SHOWN else name[: SHOWN - 3] + "...")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What fails in the block because of the file is InvalidData that says so; `name`: the file's."""
    try:
        yield
    except FileNotFoundError as error:
        raise invalid(name, "there is no such file; check the path (upper and lower case count)") from error
    except PermissionError as error:
        raise invalid(name, "the workers may not read it; give their user the right to") from error
    except (OSError, pa.ArrowException) as error:
        text = str(error).strip()
        if any(word in text for word in DENIED):
            remedy = "give the workers' credentials s3:GetObject and s3:ListBucket on the bucket"
            raise invalid(name, f"access is denied; {remedy}") from error
        first = text.splitlines()[0][:300] if text else type(error).__name__
        raise invalid(name, f"it cannot be read: {first}") from error
