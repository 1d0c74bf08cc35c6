"""Functions that the benchmarks let the platform run."""

from __future__ import annotations

import time
from collections.abc import Iterator

REPORTS = 2000


def nap(x: float, y: float) -> float:
    """A tenth of a second."""
    time.sleep(0.1)
    return x + y


def busy(x: float, y: float) -> float:
    """A twentieth of a second."""
    time.sleep(0.05)
    return x + y


def talk(x: float, y: float) -> Iterator[dict[str, float]]:
    """Two thousand intermediate values, as fast as it can."""
    for step in range(REPORTS):
        yield {"loss": x + y / (1 + step)}
