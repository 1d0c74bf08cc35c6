"""Vectors in the order of non-dominated sorting, kept up to date, so that the place of one among them is cheap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LARGEST = 1e300
"""Differences of larger values could overflow: as far as distances go, they are all equal."""


class Fronts:
    """Vectors, less being better, sorted by their rank (Deb et al. 2002) and within a rank by crowding distance.

    The rank of a vector is 0 when no other one dominates it, and else one more than the highest rank of those that do.
    A new vector moves only what it dominates, front by front (Li et al. 2017, "Efficient nondomination level update"),
    so among n vectors a place costs O(n), and as a rule so does one vector more, instead of a sort of all. What is
    added is ranked when a place is asked for: a thousand vectors that nobody asks about cost nothing.
    """

    def __init__(self) -> None:
        self._columns: Floats = np.empty((0, 8))
        """One row per objective, one column per vector."""
        self._ranks = np.zeros(8, dtype=np.int64)
        self._size = 0
        self._ranked = 0

    def __len__(self) -> int:
        return self._size

    def add(self, vector: Sequence[float]) -> None:
        """Take in a vector without NaN, as long as those before it."""
        if not len(self._columns):
            self._columns = np.empty((len(vector), 8))
        if self._size == self._columns.shape[1]:
            self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], axis=1)
            self._ranks = np.concatenate([self._ranks, np.zeros_like(self._ranks)])
        self._columns[:, self._size] = vector
        self._size += 1

    def place(self, vector: Sequence[float]) -> int:
        """How many of the vectors come before this one, from 0 to their number; it may be one of them itself.

        Before it come those of a lower rank, and in its own rank those with a larger crowding distance. Vectors that
        are equal in both share the better place.
        """
        if not self._size:
            return 0
        self._rank_new()
        point = np.asarray(vector, dtype=float)
        dominating, dominated = _compare(self._columns[:, : self._size], point)
        ranks = self._ranks[: self._size]
        rank = _rank_behind(ranks[dominating])
        rivals = np.flatnonzero((ranks == rank) & ~dominated)
        before = int(np.count_nonzero(ranks < rank))
        if not len(rivals):
            return before
        distances = crowding(np.column_stack([self._columns[:, rivals], point]))
        return before + int(np.count_nonzero(distances[:-1] > distances[-1]))

    def _rank_new(self) -> None:
        if self._size > 2 * self._ranked:
            self._rank_all()
        while self._ranked < self._size:
            self._rank_next()

    def _rank_all(self) -> None:
        """Rank everything at once: in lexicographic order, what dominates a vector comes before it."""
        columns, ranks = self._columns[:, : self._size], self._ranks[: self._size]
        columns[:] = columns[:, np.lexsort(columns[::-1])]
        repeated = np.concatenate([[False], (columns[:, 1:] == columns[:, :-1]).all(axis=0)])
        later = columns[1:]  # in the first objective, those before are no worse anyway
        for index in range(self._size):
            if repeated[index]:
                ranks[index] = ranks[index - 1]
                continue
            dominating = np.ones(index, dtype=bool)
            for row in later:
                dominating &= row[:index] <= row[index]
            ranks[index] = ranks[:index].max(where=dominating, initial=-1) + 1
        self._ranked = self._size

    def _rank_next(self) -> None:
        size = self._ranked
        known, ranks = self._columns[:, :size], self._ranks[:size]
        dominating, dominated = _compare(known, self._columns[:, size])
        rank = _rank_behind(ranks[dominating])
        self._ranks[size] = rank
        self._ranked += 1
        if dominated.any():
            _push_back(known, ranks, dominated, rank)


def crowding(columns: Floats) -> Floats:
    """The crowding distance of each vector (column) of a front: how much room its neighbours leave it.

    The sum over the objectives of the gap between both neighbours, as a share of the front's range there; infinite at
    the ends of the front (Deb et al. 2002). Equal vectors count once and share their distance, so that the order in
    which vectors came does not matter (Fortin and Parizeau 2013).
    """
    order = np.lexsort(columns[::-1])
    lined = np.clip(columns[:, order], -LARGEST, LARGEST)
    new = np.concatenate([[True], (lined[:, 1:] != lined[:, :-1]).any(axis=0)])
    distinct = lined[:, new]
    distances = np.zeros(distinct.shape[1])
    for row in distinct:
        along = np.argsort(row, kind="stable")
        values = row[along]
        extent = values[-1] - values[0]
        if extent > 0:
            distances[along[1:-1]] += (values[2:] - values[:-2]) / extent
            distances[(row == values[0]) | (row == values[-1])] = np.inf
    found = np.empty(len(order))
    found[order] = distances[np.cumsum(new) - 1]
    return found


def _compare(columns: Floats, point: Floats) -> tuple[Mask, Mask]:
    """Which vectors dominate the point, and which it dominates."""
    no_worse = np.ones(columns.shape[1], dtype=bool)
    no_better = no_worse.copy()
    for row, value in zip(columns, point, strict=True):
        no_worse &= row <= value
        no_better &= row >= value
    return no_worse & ~no_better, no_better & ~no_worse


def _rank_behind(dominating: npt.NDArray[np.int64]) -> int:
    return int(dominating.max()) + 1 if len(dominating) else 0


def _push_back(columns: Floats, ranks: npt.NDArray[np.int64], dominated: Mask, rank: int) -> None:
    """Move what a newcomer of this rank dominates there one front back, and what those dominate, and so on."""
    moving = np.flatnonzero(dominated & (ranks == rank))
    members = np.count_nonzero(ranks == rank)
    while len(moving):
        if len(moving) == members:  # nothing of this front stays, so all the fronts behind it move as they are
            ranks[ranks > rank] += 1
            ranks[moving] += 1
            return
        rank += 1
        members = np.count_nonzero(ranks == rank)
        behind = np.flatnonzero(dominated & (ranks == rank))
        ranks[moving] = rank
        pushed, pushing = columns[:, behind], columns[:, moving]
        no_worse = (pushing[:, :, None] <= pushed[:, None, :]).all(axis=0)
        better = (pushing[:, :, None] < pushed[:, None, :]).any(axis=0)
        moving = behind[(no_worse & better).any(axis=0)]
