"""The rows of a training as scikit-learn takes them: checked, the classes numbered, a part held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tuners.automl.data.cells import are_numbers
from tuners.automl.data.splitting import split
from tuners.automl.tabular.spaces import Task
from tunesmith.automl import Config, Feature, Origin, Table
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
    origin: Origin
    """Where they come from, to say what is wrong with them."""

    def __len__(self) -> int:
        return len(self.target)

    def take(self, positions: Array) -> Rows:
        """Some of the rows."""
        return Rows(self.frame.iloc[positions], self.target[positions], self.origin)


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
    features, target, classes = features_of(table), table.target, None
    if task == "classification":
        counts = target.value_counts()
        classes = classes_of(counts, str(target.name), table.origin, lambda value: first_row(target, value))
    check_dimensions(config, features, classes, str(target.name), table.origin)
    if classes is None:
        check_numbers(each for each in (table, table.validation) if each is not None)
    train, held_out = table, table.validation
    if held_out is None and config.training.validation_split > 0:
        train, held_out = split(table, config.training.validation_split, seed, classes is not None)
    return Problem(
        task,
        rows_of(train, classes),
        None if held_out is None else rows_of(held_out, classes),
        features,
        str(target.name),
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
    return Rows(frame, _target(table.target, table.origin, classes), table.origin)


def _target(target: pd.Series[Any], origin: Origin, classes: Sequence[Scalar] | None) -> Array:
    if classes is None:
        return target.to_numpy(dtype=np.float64)
    known: Any = target.dtype
    codes: Array = pd.Index(np.array(classes, dtype=known)).get_indexer(pd.Index(target))
    if (unknown := codes < 0).any():
        row = int(np.argmax(unknown))
        raise unknown_class(target.iloc[row], str(target.name), origin, _label(target, row))
    return codes


def unknown_class(value: Any, target: str, origin: Origin, row: int) -> InvalidData:
    """The error that a row to validate with has a class that none to train on has."""
    return origin.invalid(f"{shown(_plain(value))} is a class that no row to train on has", target, row)


def classes_of(counts: pd.Series[int], target: str, origin: Origin, row_of: Callable[[Any], int]) -> tuple[Scalar, ...]:
    """The values of a target, sorted, from how often each is there; `row_of`: the first row that has a value.

    Raises InvalidData: there is one class only, or a class of one row.
    """
    counts = counts.sort_index()
    found = tuple(_plain(value) for value in counts.index)
    if len(found) < 2:
        only = ", ".join(shown(value) for value in found)
        raise origin.invalid(f"one class only ({only}); there have to be two or more", target)
    if counts.min() < 2:
        lonely = int(np.argmin(counts.to_numpy()))
        remedy = "add rows of it or leave it out; for a target that is a number use the template regression"
        text = f"the class {shown(found[lonely])} has one row, and needs two or more"
        raise origin.invalid(f"{text}; {remedy}", target, row_of(counts.index[lonely]))
    return found


def first_row(target: pd.Series[Any], value: Any) -> int:
    """The label of the first row that has a value."""
    return _label(target, int(np.argmax(target == value)))


def check_numbers(pieces: Iterable[Table]) -> None:
    """Raise InvalidData that names the first row that has none, unless the target of a table holds numbers."""
    first: Table | None = None
    for table in pieces:
        first, target = first or table, table.target
        if pd.api.types.is_numeric_dtype(target):
            return
        words = pa.array(target, pa.string())
        for decimal_comma in (True, False):  # what is a number by neither is the more likely mistake
            odd = ~are_numbers(words, decimal_comma)
            if odd.any():
                row = int(np.argmax(odd))
                text = f"{shown(_plain(target.iloc[row]))} is no number; correct it"
                remedy = "or for classes use the template classification"
                raise table.origin.invalid(f"{text}, {remedy}", str(target.name), _label(target, row))
    if first is not None:
        text = "it holds categories, by its type or by data.categorical; store numbers and take it out there"
        raise first.origin.invalid(f"{text}, or use the template classification", str(first.target.name))


def check_dimensions(
    config: Config, features: Sequence[Feature], classes: Sequence[Scalar] | None, target: str, origin: Origin
) -> None:
    """Raise InvalidData unless the data have as many features and classes as the configuration says."""
    wanted = config.model.input_dim
    if wanted is not None and wanted != len(features):
        remedy = "set it to null to take what the data have, or name the columns in data.features"
        raise origin.invalid(f"model.input_dim is {wanted}, but the data have {len(features)} features; {remedy}")
    wanted, found = config.model.output_dim, len(classes or (0,))
    if wanted is not None and wanted != found:
        what = "target" if classes is None else "classes"
        text = f"model.output_dim is {wanted}, but the data have {found} {what}"
        raise origin.invalid(f"{text}; set it to null to take what the data have", target)


def as_text(value: Scalar) -> str:
    """A class as the key of its probability."""
    return value if isinstance(value, str) else json.dumps(value)


def _label(target: pd.Series[Any], row: int) -> int:
    """The number of a row in all of the table."""
    return int(cast("Any", target.index[row]))


def _plain(value: Any) -> Scalar:
    """A cell as JSON has it."""
    found: Scalar = value.item() if isinstance(value, np.generic) else value
    return found
