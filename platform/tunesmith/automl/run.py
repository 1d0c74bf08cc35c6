"""What a template is given while it trains, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import JsonValue

from tunesmith.domain.value import Scalar, Time, Value

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame, Series

    from tunesmith.errors import InvalidData

FeatureKind = Literal["number", "boolean", "time", "category", "image"]
"""Booleans and times are numbers to a model: 0 and 1, and seconds since 1970-01-01 UTC."""


class Run(Protocol):
    """A training that is under way."""

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        ...

    @property
    def threads(self) -> int:
        """Threads that it may use."""
        ...

    @property
    def folds(self) -> int:
        """Folds of cross-validation that it is compared by; 1: none, the validation part alone."""
        ...

    @property
    def state(self) -> bytes | None:
        """What an earlier attempt saved last, to go on from; None: begin."""
        ...

    @property
    def over(self) -> bool:
        """Whether its time is over, as `report` says it: where there is nothing to tell for long, look here."""
        ...

    def report(self, step: int, metrics: Mapping[str, float], percent: float | None = None) -> bool:
        """Tell the metrics after an epoch or a fold, `step` counting from 1; those that are not finite are left out.

        `percent`: how far the whole training is, 0 to 100; None: `step` of `training.epochs`. True: its time is over,
        and it is to end with what it has.
        """
        ...

    def save(self, state: Callable[[], bytes]) -> None:
        """Offer a state to go on from; call it after every epoch: `state` is asked for only when one is due."""
        ...

    def say(self, message: str) -> None:
        """Tell people what it does, in a few words."""
        ...


class Origin(Protocol):
    """Where the rows of a table come from."""

    @property
    def name(self) -> str:
        """What people call it: the path that they wrote, or the dataset and its table."""
        ...

    def where(self, row: int, column: str | None = None) -> str:
        """What people call a row, or a cell of it: file, line or row there, column. `row`: its label in the index."""
        ...

    def invalid(self, problem: str, column: str | None = None, row: int | None = None) -> InvalidData:
        """The error to raise for what is wrong with the table, a column, or a row, which it names as `where` does."""
        ...


class Table(Protocol):
    """The data of a training in memory."""

    @property
    def features(self) -> DataFrame:
        """Rows by features; categories are objects with None, all others float64 with NaN where one is missing."""
        ...

    @property
    def target(self) -> Series[Any]:
        """What is predicted, a value per row, none missing."""
        ...

    @property
    def kinds(self) -> Mapping[str, FeatureKind]:
        """What each feature holds."""
        ...

    @property
    def origin(self) -> Origin:
        """Where the rows come from, to say what is wrong with them."""
        ...

    @property
    def validation(self) -> Table | None:
        """The rows for validation, where they come from a table of their own."""
        ...


class Source(Protocol):
    """The data of a training, read when they are asked for. Every method may raise InvalidData."""

    def load(self) -> Table:
        """All of them; InvalidData says how much memory is needed where there is less."""
        ...

    def fits(self) -> bool:
        """Whether the memory that the training may use holds them."""
        ...

    def batches(self, rows: int, validation: bool = False) -> Iterator[Table]:
        """The rows to train on (or those of the table for validation) piece by piece, in a fixed order."""
        ...

    def schema(self, validation: bool = False) -> pyarrow.Schema:
        """The columns of `arrow`, without reading the rows."""
        ...

    def arrow(self, validation: bool = False) -> pyarrow.Table:
        """Features and target as they are stored, for templates that read them in their own way."""
        ...

    def origin(self, validation: bool = False) -> Origin:
        """Where the rows of `arrow` come from, counted from 0; those that `paths` has are no rows."""
        ...

    def paths(self, validation: bool = False) -> list[tuple[Path, str]]:
        """The files of a folder `CLASS/NAME.png`, each with its class; none where the path is no such folder."""
        ...


class Feature(Value):
    """A column that a model predicts from."""

    name: str
    """The column."""
    kind: FeatureKind
    """What it holds."""


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    metrics: Mapping[str, float]
    """The final ones: `train_loss`, `val_loss`, and the task's own, of the validation part."""
    write: Callable[[Path], None]
    """Writes the model to a file."""
    suffix: str
    """What the file's name ends with, and its format: `skops`, `onnx`, ..."""
    features: Sequence[Feature]
    """What it predicts from, in order."""
    target: str
    """The column that it predicts."""
    rows: int
    """Rows that it was fitted on."""
    classes: Sequence[Scalar] | None = None
    """The classes, in the order of the probabilities; None: it predicts a number."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """What else is known of it, for instance coefficients."""
    libraries: Sequence[str] = ()
    """Distributions whose versions are kept with it, for instance `scikit-learn`."""


class Facts(Value):
    """What is kept beside a trained model's file."""

    format: str
    """Its format: `skops`, `onnx`, ..."""
    file: str
    """The file's name."""
    sha256: str
    """Of the file, in hexadecimal."""
    bytes: int
    """The file's size."""
    template: str
    """The template that trained it."""
    plugin: str
    """Where that template is found."""
    config: Mapping[str, JsonValue]
    """The exact configuration."""
    metrics: Mapping[str, float]
    """The final metrics."""
    versions: Mapping[str, str]
    """Distribution -> version, `python` among them."""
    features: tuple[Feature, ...]
    """What it predicts from, in order."""
    target: str
    """The column that it predicts."""
    classes: tuple[Scalar, ...] | None
    """The classes, in the order of the probabilities; null: it predicts a number."""
    rows: int
    """Rows that it was fitted on."""
    seed: int
    """Seed of its random choices."""
    trained_at: Time
    """When it was written."""
    details: Mapping[str, JsonValue]
    """What else is known of it, for instance coefficients."""


@dataclass(frozen=True)
class Predictions:
    """What a model says of rows."""

    values: list[Any]
    """One JSON scalar per row."""
    probabilities: list[dict[str, float]] | None = None
    """Per row: class, as text -> probability; None: it predicts a number."""


class Predictor(Protocol):
    """A trained model that was loaded. Safe to use from several threads."""

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """What it says of rows, each column -> value. Raises InvalidData that names the row (from 1) and column."""
        ...
