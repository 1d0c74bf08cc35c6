"""What is wrong with the data of a training, said with file, column and row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from tunesmith.automl.problems import invalid, quoted
from tunesmith.errors import InvalidData

if TYPE_CHECKING:
    from tuners.automl.data.part import Part

DENIED = ("ACCESS_DENIED", "Forbidden", "status: 403", "code 403")


def invalid_cell(part: Part, row: int, problem: str, column: str | None = None) -> InvalidData:
    """An error about a row of a part (from 0), which is named as people count it: by line or row number."""
    number = part.locate(row)
    return InvalidData(f"{cell_at(part, number, column)}: {problem}", file=part.name, column=column, row=number)


def cell_at(part: Part, number: int, column: str | None) -> str:
    """What people call a cell, or a whole row, of a line or row number."""
    cell = "" if column is None else f", column {quoted(column)}"
    return f"{part.name}, {part.unit} {number:,}{cell}"


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
