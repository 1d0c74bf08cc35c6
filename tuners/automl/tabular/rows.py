"""The rows of a training as scikit-learn takes them: checked, the classes numbered, a part held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuners.automl.data.splitting import split
from tuners.automl.tabular.spaces import Task
from tunesmith.automl import Config, Feature, Table
from tunesmith.domain import Scalar
from tunesmith.errors import InvalidData
from tunesmith.scenarios.parameters import shown

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Some rows of a table."""

    frame: pd.DataFrame
    """Features by position; numbers are float64, categories objects, NaN where a cell is missing."""
    target: Array
    """A number per row, of a class its position among the classes."""

    def __len__(self) -> int:
        return len(self.target)

    def take(self, positions: Array) -> Rows:
        """Some of the rows."""
        return Rows(self.frame.iloc[positions], self.target[positions])


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, from which rows."""

    task: Task
    """Whether classes or numbers are predicted."""
    train: Rows
    """What is learnt from."""
    held_out: Rows | None
    """What is validated with; None: nothing is held out."""
    features: tuple[Feature, ...]
    """The columns, in order."""
    target: str
    """The column that is predicted."""
    classes: tuple[Scalar, ...] | None
    """The classes, in order; None: numbers are predicted."""


def problem(config: Config, table: Table, task: Task, seed: int) -> Problem:
    """Split a table and number its classes. Raises InvalidData where nothing could be learnt."""
    features = features_of(table)
    check_dimension("input_dim", config.model.input_dim, len(features), "features")
    classes = classes_of(table.target.value_counts(), str(table.target.name)) if task == "classification" else None
    check_dimension("output_dim", config.model.output_dim, len(classes or (0,)), "classes" if classes else "target")
    if classes is None:
        check_numbers(table.target)
    train, held_out = table, table.validation
    if held_out is None and config.training.validation_split > 0:
        train, held_out = split(table, config.training.validation_split, seed, classes is not None)
    return Problem(
        task,
        rows_of(train, classes),
        None if held_out is None else rows_of(held_out, classes),
        features,
        str(table.target.name),
        classes,
    )


def features_of(table: Table) -> tuple[Feature, ...]:
    """The columns that are predicted from."""
    return tuple(Feature(name=str(name), kind=table.kinds[name]) for name in table.features.columns)


def rows_of(table: Table, classes: Sequence[Scalar] | None) -> Rows:
    """A table's rows. Raises InvalidData: one has a class that is not among `classes`."""
    columns = {}
    for position, (name, cells) in enumerate(table.features.items()):
        category = table.kinds[str(name)] == "category"
        columns[position] = cells.where(cells.notna(), np.nan) if category else cells
    frame = pd.DataFrame(columns, copy=False)
    return Rows(frame, _target(table.target, classes))


def _target(target: pd.Series[Any], classes: Sequence[Scalar] | None) -> Array:
    if classes is None:
        check_numbers(target)
        return target.to_numpy(dtype=np.float64)
    known: Any = target.dtype
    codes: Array = pd.Index(np.array(classes, dtype=known)).get_indexer(pd.Index(target))
    if (unknown := codes < 0).any():
        row = int(np.argmax(unknown))
        problem = f"{shown(_plain(target.iloc[row]))} is a class that no row to train on has"
        raise InvalidData(f"validation, row {row + 1:,}, column {target.name!r}: {problem}", column=target.name)
    return codes


def classes_of(counts: pd.Series[int], target: str) -> tuple[Scalar, ...]:
    """The values of a target, sorted, from how often each is there.

    Raises InvalidData: there is one class only, or a class of one row.
    """
    counts = counts.sort_index()
    column = f"column {target!r}"
    found = tuple(_plain(value) for value in counts.index)
    if len(found) < 2:
        only = ", ".join(shown(value) for value in found)
        raise InvalidData(f"{column}: one class only ({only}); there have to be two or more", column=target)
    if counts.min() < 2:
        lonely = shown(found[int(np.argmin(counts.to_numpy()))])
        remedy = "add rows of it or leave it out; for a target that is a number use the template regression"
        text = f"{column}: the class {lonely} has one row, and needs two or more"
        raise InvalidData(f"{text}; {remedy}", column=target)
    return found


def check_numbers(target: pd.Series[Any]) -> None:
    """Raise InvalidData that names the first row unless the target holds numbers."""
    if pd.api.types.is_numeric_dtype(target):
        return
    text = f"row 1, column {target.name!r}: {shown(_plain(target.iloc[0]))} is no number"
    raise InvalidData(f"{text}; for classes use the template classification", column=target.name, row=1)


def check_dimension(key: str, wanted: int | None, found: int, what: str) -> None:
    """Raise InvalidData unless the data have as many as the configuration says."""
    if wanted is not None and wanted != found:
        remedy = "set it to null to take what the data have, or name the columns in data.features"
        raise InvalidData(f"model.{key} is {wanted}, but the data have {found} {what}; {remedy}", column=None)


def as_text(value: Scalar) -> str:
    """A class as the key of its probability."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Scalar:
    """A cell as JSON has it."""
    found: Scalar = value.item() if isinstance(value, np.generic) else value
    return found
