"""The part of a table that is held out for validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuners.automl.data.table import Table
from tunesmith import automl
from tunesmith.errors import InvalidData

TOO_FEW = "the table has 1 row; at least 2 are needed, one to train on and one to validate with"


def split(table: automl.Table, share: float, seed: int, stratify: bool = False) -> tuple[Table, Table]:
    """The rows to train on, and `share` of all (at least one) to validate with; the same for the same seed.

    `stratify`: each class keeps its share, where every class has two rows or more; training then has all classes.
    The rows keep their order. Raises InvalidData: there is one row only.
    """
    if len(table.target) < 2:
        raise table.origin.invalid(TOO_FEW)
    held_out = held_out_rows(table.target.to_numpy(), share, seed, stratify)
    return _taken(table, ~held_out), _taken(table, held_out)


def held_out_rows(target: NDArray[Any], share: float, seed: int, stratify: bool = False) -> NDArray[np.bool_]:
    """Which rows `split` holds out."""
    rows = len(target)
    if rows < 2:
        raise InvalidData(TOO_FEW)
    count = min(rows - 1, max(1, round(rows * share)))
    order = np.random.default_rng(seed).permutation(rows)
    if stratify:
        order = _by_class(target, order, count)
    found = np.zeros(rows, dtype=bool)
    found[order[:count]] = True
    return found


def _taken(table: automl.Table, rows: NDArray[np.bool_]) -> Table:
    """Some rows, numbered from 0."""
    features = table.features.iloc[rows].reset_index(drop=True)
    return Table(features, table.target.iloc[rows].reset_index(drop=True), table.kinds, table.origin)


def _by_class(target: NDArray[Any], order: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """The order such that its first `count` rows have each class in proportion, and the others have every class."""
    _, codes, sizes = np.unique(target[order], return_inverse=True, return_counts=True)
    if sizes.min() < 2 or len(sizes) > len(order) - count:
        return order
    taken = _apportioned(sizes, count)
    grouped = np.argsort(codes, kind="stable")
    ranks = np.empty(len(order), dtype=np.intp)
    ranks[grouped] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    later: NDArray[np.bool_] = ranks >= taken[codes]
    found: NDArray[np.intp] = order[np.argsort(later, kind="stable")]
    return found


def _apportioned(sizes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """How many rows of each class are held out: in proportion by largest remainder, and one of each left at least."""
    exact = sizes * (count / sizes.sum())
    taken: NDArray[np.intp] = np.minimum(exact.astype(np.intp), sizes - 1)
    while (missing := count - int(taken.sum())) > 0:
        open_ = np.flatnonzero(taken < sizes - 1)
        most = open_[np.argsort(taken[open_] - exact[open_], kind="stable")][:missing]
        taken[most] += 1
    return taken
