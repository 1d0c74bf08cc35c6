"""The data of a training: found, checked and read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tuners.automl.data import memory
from tuners.automl.data.columns import Column, check_alike, check_validation, select
from tuners.automl.data.files import images_at, parts_at
from tuners.automl.data.origin import Origin
from tuners.automl.data.part import Part
from tuners.automl.data.session import session_table
from tuners.automl.data.table import Gathered, Table
from tunesmith.automl.config import Config
from tunesmith.automl.problems import invalid
from tunesmith.errors import InvalidConfig, InvalidData

COPIES = 3
"""How many times the table's size a training needs: for the table, its parts, and what preprocessing makes of them."""
CELL, TEXT = 8, 60
"""Bytes of a cell in memory, and of a text besides its characters."""
NO_ROWS = "the file holds the columns' names, and no rows"


NOWHERE = Path(os.devnull)
"""No directory: nothing lies in it."""


def open_source(config: Config, root: str | None, files: str | None, artifacts: str) -> Source:
    """The data of a training; `root`: the training-data directory, `files`: key prefix of `data.dataset`."""
    return Source(config, NOWHERE if root is None else Path(root), artifacts, files)


class Source:
    """The data of one training. Nothing is read before it is asked for.

    Every method may raise InvalidData naming file, column and row, InvalidConfig for a path that leads where
    trainings may not read, and StorageUnavailable.
    """

    def __init__(self, config: Config, root: Path, artifacts: str = "", files: str | None = None) -> None:
        """`root`: the training-data directory; `files`: key prefix of `data.dataset` in the storage at `artifacts`."""
        self._data, self._memory_bytes = config.data, config.resources.memory_bytes
        self._root, self._artifacts, self._files = root, artifacts, files
        self._settled = False
        self._lengths: dict[Part, int] = {}

    def load(self) -> Table:
        """All rows in memory. InvalidData says how much memory is needed where there is less."""
        if not self.fits():
            raise self._too_large(self._needed)
        train, validation = self._gathered()
        if self._settle():
            train, validation = self._gathered()
        own = validation.table(self.origin(validation=True)) if self._validation else None
        return train.table(self.origin(), validation=own)

    def fits(self) -> bool:
        """Whether the memory that the training may use is enough to train on all rows, as far as a sample tells."""
        return self._needed <= self._allowed()

    def batches(self, rows: int, validation: bool = False) -> Iterator[Table]:
        """The rows to train on (or those of the table for validation), `rows` at a time, in a fixed order.

        Their index counts on from batch to batch. All rows are read and checked before the first batch comes.
        """
        if not self._settled:
            self._begin()
            for _ in chain(self._read(self._train), self._read(self._validation)):
                pass
            self._settle()
        gathered, start, origin = Gathered(*self._columns, expected=rows), 0, self.origin(validation)
        for read in self._read(self._validation if validation else self._train):
            for piece in _pieces(read, rows, gathered.rows):
                if gathered.rows == rows:
                    yield gathered.table(origin, start)
                    gathered, start = Gathered(*self._columns, expected=rows), start + rows
                gathered.add(piece)
        yield gathered.table(origin, start)

    def origin(self, validation: bool = False) -> Origin:
        """Where the rows to train on (or those of the table for validation) come from."""
        parts = self._validation if validation else self._train
        path = self._data.val_path if validation else self._data.train_path
        return Origin(path or parts[0].name, parts, self._lengths)

    def arrow(self, validation: bool = False) -> Any:
        """Features and target as a pyarrow.Table in the types of the files (CSV: text), lists and bytes included."""
        parts, names = self._validation if validation else self._train, self.schema(validation).names
        if (needed := COPIES * sum(part.stored_bytes for part in parts)) > self._allowed():
            raise self._too_large(needed)
        tables = [self._whole(part, names) for part in parts]
        try:
            found = pa.concat_tables(tables)
        except pa.ArrowInvalid as error:
            raise invalid(parts[0].name, "its columns have other types than those of the files beside it") from error
        if not found.num_rows:
            raise invalid(parts[0].name, NO_ROWS)
        return found

    def schema(self, validation: bool = False) -> Any:
        """Features and target as a pyarrow.Schema in the types of the files; no rows are read."""
        part = (self._validation if validation else self._train)[0]
        return pa.schema([part.schema.field(column.name) for column in self._all_columns])

    def paths(self, validation: bool = False) -> list[tuple[Path, str]]:
        """The files of a folder of images, `folder/<class>/<file>.png`, each with its class; none: it is no such."""
        key = "val_path" if validation else "train_path"
        path = getattr(self._data, key)
        return [] if path is None else images_at(path, self._root, self._artifacts, f"data.{key}")

    @cached_property
    def _train(self) -> list[Part]:
        if self._files is not None:
            return [session_table(self._artifacts, self._files, self._data.table)]
        if self._data.train_path is None:
            raise InvalidConfig("data.train_path is missing; name a file, or a dataset", field="data.train_path")
        return self._parts(self._data.train_path, "data.train_path")

    @cached_property
    def _validation(self) -> list[Part]:
        """Nothing: there is no table for validation."""
        if self._data.val_path is not None:
            return self._parts(self._data.val_path, "data.val_path")
        if self._files is not None and self._data.val_table is not None:
            return [session_table(self._artifacts, self._files, self._data.val_table)]
        return []

    @cached_property
    def _columns(self) -> tuple[list[Column], Column]:
        """Features and target."""
        features, target = select(self._train[0], self._data)
        if self._validation:
            check_validation(self._validation[0], self._train[0], [*features, target])
        return features, target

    @property
    def _all_columns(self) -> list[Column]:
        features, target = self._columns
        return [*features, target]

    @cached_property
    def _needed(self) -> int:
        """Bytes that the training needs, about, by the first rows."""
        rows = sum(part.rows for part in (*self._train, *self._validation))
        first = self._train[0]
        features, target = select(first, self._data)  # of their own: a sample settles nothing
        names = [column.name for column in (*features, target)]
        for batch in first.batches(names):
            if batch.num_rows:
                read = [column.read(batch.column(column.name), first, 0) for column in (*features, target)]
                return round(COPIES * rows * sum(map(_cell_bytes, read)))
        return 0

    def _whole(self, part: Part, names: Sequence[str]) -> Any:
        """All rows of a file as they are stored, none without a target."""
        _, target = select(self._train[0], self._data)
        batches, row = [], 0
        for batch in part.batches(names):
            target.read(batch.column(target.name), part, row)
            row += batch.num_rows
            batches.append(batch.select(names))
        self._lengths[part] = row
        return pa.Table.from_batches(batches) if batches else pa.schema(map(part.schema.field, names)).empty_table()

    def _parts(self, path: str, key: str) -> list[Part]:
        parts = parts_at(path, self._root, self._artifacts, key)
        check_alike(parts)
        return parts

    def _gathered(self) -> tuple[Gathered, Gathered]:
        """All rows: to train on, and for validation."""
        self._begin()
        return self._gather(self._train), self._gather(self._validation)

    def _gather(self, parts: Sequence[Part]) -> Gathered:
        gathered = Gathered(*self._columns, expected=sum(part.rows for part in parts))
        for read in self._read(parts):
            gathered.add(read)
        return gathered

    def _read(self, parts: Sequence[Part]) -> Iterator[list[Any]]:
        """The cells of each column, batch by batch, checked."""
        columns, rows = self._all_columns, 0
        names = [column.name for column in columns]
        for part in parts:
            row = 0
            for batch in part.batches(names):
                yield [column.read(batch.column(column.name), part, row) for column in columns]
                row += batch.num_rows
            self._lengths[part] = row
            rows += row
        if parts and not rows:
            raise invalid(parts[0].name, NO_ROWS)

    def _begin(self) -> None:
        """All rows are about to be read; what was counted when that failed before does not count any more."""
        if not self._settled:
            vars(self).pop("_columns", None)

    def _settle(self) -> bool:
        """All rows were read; whether they have to be read again, as it showed late what a column holds."""
        for column in self._all_columns:
            column.settle()
        self._settled = True
        return any(column.restart() for column in self._all_columns)

    def _allowed(self) -> int:
        return self._memory_bytes or memory.available()

    def _too_large(self, needed: int) -> InvalidData:
        rows = sum(part.rows for part in (*self._train, *self._validation))
        columns = len(self._all_columns)
        return invalid(
            self._train[0].name,
            f"training on about {rows:,} rows of {columns:,} columns needs about {_gigabytes(needed)} of memory, and "
            f"there are {_gigabytes(self._allowed())}; name fewer columns in data.features, use fewer rows, give it "
            "more memory (resources.memory_bytes, or a larger node), or train the template linear, which reads data "
            "piece by piece",
        )


def _pieces(read: Sequence[Any], rows: int, begun: int) -> Iterator[list[Any]]:
    """A batch cut such that, `begun` rows being there already, no piece goes beyond a multiple of `rows`."""
    length, start = len(read[0]), 0
    while start < length:
        taken = min(length - start, rows - (begun + start) % rows)
        yield [found[start : start + taken] for found in read]
        start += taken


def _cell_bytes(read: Any) -> float:
    """Bytes that a cell of the column takes in memory, on average."""
    if isinstance(read, np.ndarray) or not len(read):
        return CELL
    return CELL + float(TEXT * len(read.dictionary) + read.dictionary.nbytes) / len(read)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
