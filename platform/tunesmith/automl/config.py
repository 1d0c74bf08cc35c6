"""Configurations of trainings: sections of declared keys, merged over a template's defaults and read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import to_json

from tunesmith.domain.experiment import METRIC_NAME
from tunesmith.domain.findings import in_words
from tunesmith.domain.value import Value
from tunesmith.errors import InvalidConfig
from tunesmith.scenarios.parameters import nearest, shown

AUTO = "auto"
"""In `hyperparameter_search.models`: every family that the template has."""
MAX_PATH = 2000


class Section(Value):
    """One section of a configuration; the string under a key describes it, its `Field` gives its range."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ModelSection(Section):
    """What is trained."""

    type: str = Field(default="", max_length=200)
    """The template's name."""
    input_dim: int | None = Field(default=None, ge=1)
    """Features (of images: numbers of each) that the data have to have; null: as many as they have."""
    output_dim: int | None = Field(default=None, ge=1)
    """Classes that the target has to have, or 1 of a number; null: as many as it has."""


class TrainingSection(Section):
    """How it is trained."""

    epochs: int = Field(default=100, ge=1, le=1_000_000)
    """Passes over the data, or iterations (trees per class of a boosted model), at most."""
    early_stopping: bool = True
    """Whether training ends when the validation loss has not improved for `patience` epochs; the best one is kept."""
    patience: int = Field(default=10, ge=1, le=1_000_000)
    """Epochs without improvement until that is so."""
    validation_split: float = Field(default=0.2, ge=0, le=0.9)
    """Share of the rows that are held out for validation where there is no `val_path`; 0: none are."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of every random choice: same seed, same metrics."""
    time_limit_s: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds after which training ends with what it has; null: never."""
    checkpoint_s: float = Field(default=10.0, gt=0, le=86_400)
    """Seconds between two checkpoints, at least: a training goes on from them after its process or node is lost."""


class DataSection(Section):
    """What it is trained on: `train_path`, or a `dataset` of a session."""

    train_path: str | None = Field(default=None, min_length=1, max_length=MAX_PATH)
    """CSV or Parquet: a path inside the training-data directory, `s3://bucket/key`, or `sample:NAME`."""
    val_path: str | None = Field(default=None, min_length=1, max_length=MAX_PATH)
    """The same for validation; null: a part of the rows is held out (`validation_split`)."""
    dataset: str | None = Field(default=None, min_length=1, max_length=200)
    """Key of a session's dataset, instead of `train_path`."""
    session: str | None = Field(default=None, min_length=1, max_length=200)
    """Id or name of the session that has the dataset; null: the first one."""
    table: str | None = Field(default=None, min_length=1, max_length=200)
    """Table of the dataset; null: its only one."""
    val_table: str | None = Field(default=None, min_length=1, max_length=200)
    """Table of the dataset for validation; null: a part of the rows is held out."""
    target: str | None = Field(default=None, min_length=1, max_length=1000)
    """Column that is predicted; null: the last one."""
    features: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=100_000)
    """Columns that it is predicted from; null: all others."""
    categorical: tuple[str, ...] = Field(default=(), max_length=100_000)
    """Columns that are categories although they hold numbers, or hold numbers and text."""


class SearchSection(Section):
    """A search for better values of the other sections' keys."""

    enabled: bool = False
    """Whether to search; the best trial becomes the model."""
    n_trials: int = Field(default=20, ge=1, le=100_000)
    """Trials."""
    sampler: str = Field(default=AUTO, min_length=1, max_length=100)
    """Sampler by name (`/api/v1/samplers`)."""
    metric: str | None = Field(default=None, pattern=METRIC_NAME, max_length=200)
    """Metric that decides; null: the template's own."""
    direction: Literal["minimize", "maximize"] | None = None
    """Which end of it is better; null: as that metric usually has it."""
    folds: int = Field(default=5, ge=1, le=100)
    """Folds of cross-validation by which trials are compared (`cv_` and the metric's name); 1: the validation part."""
    models: tuple[str, ...] = Field(default=(), max_length=100)
    """Families to search over, `["auto"]` for all; none: `model.architecture` alone."""
    space: Mapping[str, JsonValue] = Field(default={}, max_length=1000)
    """Key -> list of choices, or range {"minimum", "maximum", "log", "step"}; none: the template's own space."""
    concurrency: int | None = Field(default=None, ge=1, le=100_000)
    """Trials at once, at most; null: as many as the cluster has room for."""
    time_limit_s: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds after which no new trial begins; null: no limit."""
    prune: bool = True
    """Whether weak trials are ended early."""


class ResourcesSection(Section):
    """What a trial needs of its node."""

    num_cpus: float = Field(default=1, gt=0, le=100_000)
    """CPU cores; training takes as many threads."""
    num_gpus: float = Field(default=0, ge=0, le=1)
    """GPUs: 1, or a part of one."""
    memory_bytes: int | None = Field(default=None, ge=1_000_000)
    """Memory in bytes that is kept free for it, and that its data have to fit into; null: what its node has left."""


class Config(Section):
    """A whole configuration; templates narrow its sections, or add some."""

    model: ModelSection = ModelSection()
    """What is trained."""
    training: TrainingSection = TrainingSection()
    """How it is trained."""
    data: DataSection = DataSection()
    """What it is trained on."""
    hyperparameter_search: SearchSection = SearchSection()
    """A search for better values."""
    resources: ResourcesSection = ResourcesSection()
    """What a trial needs of its node."""

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """The configuration with values of keys of `model` and `training`, by key alone. Raises InvalidConfig."""
        given: dict[str, Any] = {}
        for key, value in values.items():
            section = next(name for name in SEARCHED if key in type(getattr(self, name)).model_fields)
            given.setdefault(section, {})[key] = value
        return read(type(self), merged(self.model_dump(mode="json"), given))


SEARCHED = ("model", "training")
"""Sections whose keys can be searched."""


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid deeply over `base`: objects key by key, everything else replaced."""
    found = dict(base)
    for key, value in over.items():
        below = found.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        found[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return found


def read(kind: type[Config], given: Mapping[str, Any]) -> Config:
    """A configuration of a template's class. Raises InvalidConfig that names the key, the value and the remedy."""
    try:
        return kind.model_validate_json(to_json(given), strict=True)  # JSON knows no tuples, and true is no number
    except ValidationError as error:
        raise _refused(kind, error) from None


def _refused(kind: type[Config], error: ValidationError) -> InvalidConfig:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known(kind, first["loc"][:-1])
        message = f"{path}: there is no such key{nearest(first['loc'][-1], known)}; known here: {', '.join(known)}"
        return InvalidConfig(message, field=path)
    value = shown(first["input"])
    message = f"{path} is {value}: {in_words(first)}"
    return InvalidConfig(message, field=path, value=value)


def _known(kind: type[Any], path: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys of the section that a path leads to."""
    for part in path:
        field = getattr(kind, "model_fields", {}).get(part)
        if field is None or not isinstance(field.annotation, type):
            return ()
        kind = field.annotation
    return tuple(getattr(kind, "model_fields", {}))
