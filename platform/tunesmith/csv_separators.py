"""Which character separates the cells of a CSV file, and how long a cell may be."""

from __future__ import annotations

import csv
from collections.abc import Sequence

LARGEST_CELL = 16 << 20
"""Characters of a cell, at most."""


def separator_of(lines: Sequence[str], candidates: str) -> str:
    """The candidate that cuts the most rows into as many cells as the header has: of several the widest."""
    return max(candidates, key=lambda candidate: _fit(lines, candidate))


def _fit(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """How well a separator fits: the share of rows as wide as the header, and the width."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        return 0, 0
    width = len(rows[0]) if rows else 0
    return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0, 0)
