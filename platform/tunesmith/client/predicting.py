"""Rows to predict, sent in requests that the platform takes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from tunesmith.client.connection import Connection
from tunesmith.errors import InvalidBody, InvalidData, PayloadTooLarge


def predictions(connection: Connection, path: str, rows: Any) -> dict[str, Any]:
    """`predictions` and `probabilities` for rows in any number: dicts, or a data frame. Raises TunesmithError.

    The answer to rows of another kind is InvalidBody; a row that is refused is told by its number among all.
    """
    values: list[Any] = []
    probabilities: list[Any] = []
    for batch in _batches(_dicts(rows)):
        for answer in _ask(connection, path, batch, len(values)):
            values += answer["predictions"]
            probabilities += answer.get("probabilities") or ()
    return {"predictions": values, "probabilities": probabilities if probabilities or not values else None}


def _ask(connection: Connection, path: str, batch: Sequence[Any], first: int) -> Iterator[dict[str, Any]]:
    """Ask for a batch, in halves where it is too large for the platform."""
    try:
        body = connection.post(path, {"rows": batch})
    except PayloadTooLarge:
        if len(batch) == 1:
            raise
        middle = len(batch) // 2
        yield from _ask(connection, path, batch[:middle], first)
        yield from _ask(connection, path, batch[middle:], first + middle)
    except InvalidData as error:
        raise _among_all(error, first) from None
    else:
        if not isinstance(body, dict) or not isinstance(body.get("predictions"), list):
            raise connection.not_ours(f"no predictions at {path}")
        yield body


def _among_all(error: InvalidData, first: int) -> InvalidData:
    """The error, with the row's number among all rows and not among those of a request."""
    row = error.details.get("row")
    if first and isinstance(row, int):
        error.details["row"] = first + row
        error.message = re.sub(rf"\brow ({row}|{row:,})\b", f"row {first + row:,}", error.message, count=1)
        error.args = (error.message,)
    return error


def _dicts(rows: Any) -> Iterator[dict[str, Any]]:
    if hasattr(rows, "to_dict"):  # a data frame, by its method: pandas need not be there
        rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
    if not isinstance(rows, Iterable) or isinstance(rows, Mapping | str | bytes):
        raise InvalidBody(f"Rows are a list of dicts, or a data frame, and not a {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InvalidBody(f"Row {number} is no dict of features but a {type(row).__name__}")
        yield {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's; what is missing as None."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    from tunesmith.schemas.automl import MAX_ROWS  # the schemas take a moment, and most clients never predict

    while batch := list(islice(rows, MAX_ROWS)):
        yield batch
