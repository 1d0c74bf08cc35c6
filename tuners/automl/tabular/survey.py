"""Data that are larger than the memory: read once to know them, and then piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuners.automl.data import Table
from tuners.automl.tabular.rows import Rows, first_row, rows_of
from tuners.automl.tabular.sections import LinearConfig
from tunesmith import automl
from tunesmith.automl import Run, Source
from tunesmith.domain import Scalar
from tunesmith.errors import InvalidConfig

T = TypeVar("T")
CELLS = 20_000_000
"""Cells of the rows that are kept in memory: some to learn the preparation from, some to validate with."""
ROWS = 100_000
"""Rows of either, at most."""
VALUES = 1000
"""Values of the target up to which they are counted."""


class Drawn:
    """Rows of all that are shown to it, each with the same chance."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._generator = np.random.default_rng(seed)
        self._keys: NDArray[np.float64] = np.zeros(0)
        self.table: Table | None = None
        """The rows; None: it was shown none."""

    def see(self, table: automl.Table) -> None:
        """Draw from some more rows."""
        keys = np.concatenate([self._keys, self._generator.random(len(table.target))])
        if self.table is not None:
            features = pd.concat([self.table.features, table.features])
            target = pd.concat([self.table.target, table.target])
            table = Table(features, target, self.table.kinds, self.table.origin)
        limit = max(1, min(ROWS, CELLS // table.features.shape[1]))
        kept = np.sort(np.argpartition(keys, limit)[:limit]) if len(keys) > limit else np.arange(len(keys))
        self._keys, self.table = keys[kept], _some(table, kept)


class Survey:
    """What is known of data after they were read once; rows to validate with are drawn on the way.

    Raises InvalidConfig: time is over before.
    """

    def __init__(self, config: LinearConfig, data: Source, run: Run) -> None:
        self._config, self._data, self._run, self._seed = config, data, run, run.seed
        self._own = config.data.val_path is not None or config.data.val_table is not None
        self._share = 0.0 if self._own else config.training.validation_split
        self.rows = 0
        """Rows to train on."""
        self.counts: pd.Series[int] | None = pd.Series(dtype=int)
        """How often each value of their target is there; None: it has too many."""
        self._firsts: dict[Any, int] = {}
        inside, outside = Drawn((run.seed, 1)), Drawn((run.seed, 2))
        for train, held_out in self._in_time(self._split()):
            self._count(train)
            inside.see(train)
            if len(held_out.target):
                self._validate(held_out, outside)
        for table in self._in_time(self._batches(validation=True)) if self._own else ():
            self._validate(table, outside)
        assert inside.table is not None  # a source has rows, and keeps some to train on
        self.sample: Table = inside.table
        """Some of the rows to train on."""
        self.held_out = outside.table
        """Rows to validate with."""

    def batches(self) -> Iterator[automl.Table]:
        """All rows, those of a table for validation last."""
        yield from self._in_time(self._batches())
        if self._own:
            yield from self._in_time(self._batches(validation=True))

    @property
    def unseen(self) -> tuple[Any, int] | None:
        """A value of the target that rows to validate with have and none to train on, and the first such row."""
        values = self._firsts.keys() - set(() if self.counts is None else self.counts.index)
        return min(((value, self._firsts[value]) for value in values), key=lambda found: found[1], default=None)

    def row_of(self, value: Any) -> int:
        """The first row to train on whose target is this value; reads up to there."""
        return next(first_row(train.target, value) for train, _ in self._split() if (train.target == value).any())

    def pieces(self, classes: Sequence[Scalar] | None, after: int = 0) -> Iterator[tuple[int, Rows]]:
        """The rows to train on, piece by piece, each with its number from 1; `after`: the first pieces are left out."""
        for number, (train, _) in enumerate(self._split(), 1):
            if number > after:
                yield number, rows_of(train, classes)

    def _split(self) -> Iterator[tuple[Table, Table]]:
        """The rows to train on and those that are held out of each batch; the same ones every time."""
        for number, table in enumerate(self._batches()):
            chance = np.random.default_rng((self._seed, 0, number)).random(len(table.target))
            yield _some(table, chance >= self._share), _some(table, chance < self._share)

    def _in_time(self, pieces: Iterator[T]) -> Iterator[T]:
        """The pieces of a pass that nothing is learnt in: a model of what was read by then would say little."""
        for piece in pieces:
            if self._run.over:
                text = "training.time_limit_s: the time was over before all rows had been read once; raise it"
                raise InvalidConfig(text, field="training.time_limit_s")
            yield piece

    def _batches(self, validation: bool = False) -> Iterator[automl.Table]:
        return self._data.batches(self._config.training.batch_size, validation)

    def _validate(self, table: automl.Table, drawn: Drawn) -> None:
        drawn.see(table)
        for row, value in table.target.drop_duplicates().items():
            if len(self._firsts) > VALUES:  # more than classes can be: one of them is in no row to train on
                break
            self._firsts.setdefault(value, cast("Any", row))

    def _count(self, train: Table) -> None:
        self.rows += len(train.target)
        if self.counts is not None:
            counts = self.counts.add(train.target.value_counts(), fill_value=0).astype(int)
            self.counts = counts if len(counts) <= VALUES else None


def _some(table: automl.Table, rows: NDArray[Any]) -> Table:
    """Some rows of a table, which keep their numbers."""
    return Table(table.features.iloc[rows], table.target.iloc[rows], table.kinds, table.origin)
