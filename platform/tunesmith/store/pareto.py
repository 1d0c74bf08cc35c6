"""The Pareto front, kept up to date with every write instead of computed with every read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def front_of(vectors: Mapping[int, Sequence[float]]) -> set[int]:
    """The keys whose vectors no other one dominates; all components are minimized, equal vectors all stay.

    O(n * f) for n vectors and a front of f: in lexicographic order, a vector can only be dominated by one before it.
    """
    if not vectors:
        return set()
    keys = list(vectors)
    table = np.asarray([vectors[key] for key in keys], dtype=float)
    order = np.lexsort(table.T[::-1])
    front = np.empty_like(table)
    size, kept = 0, set()
    for index in order:
        candidate = table[index]
        members = front[:size]
        dominated = (members <= candidate).all(axis=1) & (members < candidate).any(axis=1)
        if not dominated.any():
            front[size] = candidate
            size += 1
            kept.add(keys[index])
    return kept


def changes_of(
    front: Mapping[int, Sequence[float]], newcomers: Mapping[int, Sequence[float]]
) -> tuple[set[int], set[int]]:
    """(keys that enter a front, keys that leave it) when newcomers arrive, in O(newcomers * front)."""
    keys, entered = list(front), set()
    members = np.asarray([front[key] for key in keys], dtype=float)
    leaving = np.zeros(len(keys), dtype=bool)
    for key in front_of(newcomers):
        candidate = np.asarray(newcomers[key], dtype=float)
        if keys and ((members <= candidate).all(axis=1) & (members < candidate).any(axis=1)).any():
            continue
        entered.add(key)
        if keys:
            leaving |= (candidate <= members).all(axis=1) & (candidate < members).any(axis=1)
    return entered, {keys[index] for index in np.flatnonzero(leaving)}
