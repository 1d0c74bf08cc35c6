"""Which trials of many are shown: the best, the newest, and the others evenly spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]


def evenly(count: int, limit: int) -> Positions:
    """At most `limit` of 0, 1, ..., count - 1, evenly spread, the first and the last among them."""
    if count <= limit:
        return np.arange(count)
    if limit < 2:
        return np.arange(count - max(0, limit), count)
    return np.linspace(0, count - 1, limit).round().astype(np.intp)


def choose(count: int, limit: int, best: Sequence[int] | NDArray[Any], room: int | None = None) -> Positions:
    """At most `limit` positions out of `count`, ascending: a quarter the best, a quarter the newest, the rest evenly.

    `best`: positions, the best first; the newest stand last. `room`: for how many of the best, if not for a quarter.
    """
    if count <= limit:
        return np.arange(count)
    kept = np.zeros(count, dtype=bool)
    kept[np.asarray(best[: max(1, limit // 4 if room is None else room)], dtype=np.intp)] = True
    kept[count - limit // 4 :] = True
    others = np.flatnonzero(~kept)
    kept[others[evenly(len(others), limit - int(kept.sum()))]] = True
    return np.flatnonzero(kept)
