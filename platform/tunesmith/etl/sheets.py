"""What every reader gives: sheets, whose rows come in blocks; and what readers have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import compute

from tunesmith.etl.messages import Messages

pc: Any = compute  # its functions come into being when it is imported

ROWS = 20_000
"""Rows in a block, where the reader chooses."""
CELLS = 400_000
"""Cells in a block, at most about, where the reader chooses."""


@dataclass(frozen=True)
class Sheet:
    """One table of a file."""

    table: str
    """What it is called."""
    blocks: Iterator[pa.RecordBatch]
    """Its rows, blank ones left out; may raise Unreadable while they are read."""
    texts: bool = False
    """Whether every cell is a text, whose meaning is to be told from all of them."""
    decimal_comma: bool = False
    """Whether `1,5` is a number there."""
    exact: bool = False
    """Whether its columns have types, the same in every block, which stay as they are."""


def column_names(header: Sequence[object], table: str, messages: Messages) -> list[str]:
    """A name for each column, each another one: what is missing or there twice is made up, and told."""
    names: list[str] = []
    for number, cell in enumerate(header, 1):
        given = "" if cell is None else re.sub(r"\s+", " ", str(cell)).strip()
        name = _free(given or f"column_{number}", names)
        names.append(name)
        if not given:
            messages.add("warning", f"column {number} has no name; it is called {name!r}", table, name, kind="unnamed")
        elif name != given:
            messages.add("warning", f"{given!r} is there twice; this one is called {name!r}", table, name, kind="twice")
    if names and all(re.fullmatch(r"[-+]?[\d.,]+", str(cell).strip()) for cell in header):
        messages.add("warning", "the first row holds only numbers; it was taken as the columns' names", table)
    return names


def _free(name: str, taken: Sequence[str]) -> str:
    known = set(taken)
    if name not in known:
        return name
    return next(free for count in range(2, len(taken) + 3) if (free := f"{name}_{count}") not in known)


def without_blank_rows(block: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that hold something."""
    blank = None
    for column in block.columns:
        if column.null_count == 0:
            return block
        null = pc.is_null(column)
        blank = null if blank is None else pc.and_(blank, null)
        if not pc.any(blank).as_py():
            return block
    return block if blank is None else block.filter(pc.invert(blank))


def blanks_dropped(count: int, table: str, messages: Messages) -> None:
    """Tell of blank rows that were left out, if any were."""
    if count:
        messages.add("info", f"{count:,} blank row{'s were' if count > 1 else ' was'} left out", table)
