"""The images of a training with their classes, from a folder, a column, or one column per pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tuners.automl.data.memory import available
from tuners.automl.data.problems import reading
from tuners.automl.vision.images import Stack, Where, decoded_stack, is_listed, named, numbers_of, stack
from tuners.automl.vision.pixels import Shape, encoded_of, in_words, shape_for
from tuners.automl.vision.sections import VisionConfig
from tunesmith.automl import Feature, Source
from tunesmith.automl.run import Table
from tunesmith.domain import Scalar
from tunesmith.errors import InvalidData
from tunesmith.scenarios.parameters import shown

IMAGE, CLASS = "image", "class"
"""What the image and the class of a file in a folder are called."""


@dataclass(frozen=True)
class Labelled:
    """Images and what they show."""

    images: Stack
    """n x channels x rows x columns."""
    labels: npt.NDArray[np.int64]
    """Numbers of their classes."""

    @property
    def shape(self) -> Shape:
        """Rows, columns and channels of an image."""
        _, channels, rows, columns = self.images.shape
        return rows, columns, channels


@dataclass(frozen=True)
class Images:
    """The images of a training."""

    train: Labelled
    validation: Labelled | None
    """Those that come from a path of their own."""
    classes: tuple[Scalar, ...]
    """In order."""
    features: tuple[Feature, ...]
    """The columns that hold the images."""
    target: str
    """The column that holds the classes."""
    stored_shape: Shape | None
    """Rows, columns and channels of images that come as numbers; None: they are PNGs."""


@dataclass(frozen=True)
class _Part:
    """What was read for training, or for validation."""

    images: Stack
    classes: list[Scalar]
    where: Where
    stored_shape: Shape | None
    features: tuple[Feature, ...]
    target: str


def read(data: Source, config: VisionConfig) -> Images:
    """Read them all. Raises InvalidData that names file and row, also where the configuration wants other ones."""
    train, validation = _parts(data, config)
    classes = tuple(sorted(set(train.classes), key=lambda label: (isinstance(label, str), label)))
    found = _labelled(train, classes)
    _check_classes(found, train, classes)
    _check_dimensions(config, found.shape, len(classes))
    own = None if validation is None else _labelled(validation, classes)
    if own is not None and validation is not None and own.shape != found.shape:
        raise InvalidData(
            f"{validation.where(0)}: the image is {in_words(own.shape)}, but those for training {in_words(found.shape)}"
        )
    return Images(found, own, classes, train.features, train.target, train.stored_shape)


def _parts(data: Source, config: VisionConfig) -> tuple[_Part, _Part | None]:
    section = config.data
    name = section.dataset or section.train_path or ""
    own = section.val_path or section.val_table
    if files := data.paths():
        return _of_files(files, config), None if own is None else _of_files(_validation_files(data, own), config)
    column = _image_column(data.schema(), name)
    if column is not None:
        validation = None if own is None else _of_column(data.arrow(validation=True), column, own, config)
        return _of_column(data.arrow(), column, name, config), validation
    rows = data.load()
    validation = None if rows.validation is None else _of_pixels(rows.validation, str(own), config)
    return _of_pixels(rows, name, config), validation


def _validation_files(data: Source, own: str) -> Sequence[tuple[Path, str]]:
    files = data.paths(validation=True)
    if not files:
        raise InvalidData(f"{own}: it is no folder with a folder of PNG images per class, as data.train_path is")
    return files


def _of_files(files: Sequence[tuple[Path, str]], config: VisionConfig) -> _Part:
    def where(number: int) -> str:
        path, _ = files[number]
        return f"{path.parent.name}/{path.name}"

    images = _decoded([_content(path) for path, _ in files], where, config)
    classes: list[Scalar] = [label for _, label in files]
    return _Part(images, classes, where, None, (Feature(name=IMAGE, kind="image"),), CLASS)


def _image_column(schema: Any, name: str) -> str | None:
    """The column of a table that holds the images; None: it has a column per pixel."""
    kinds: dict[str, Any] = dict(zip(schema.names, schema.types, strict=True))
    *features, target = kinds
    if _may_be_images(kinds[target]):
        raise InvalidData(f"{name}, column {target!r}: it holds images; name the column of the classes in data.target")
    found = [column for column in features if _may_be_images(kinds[column])]
    if len(found) > 1:
        raise InvalidData(f"{name}: the columns {', '.join(found)} hold images; name one of them in data.features")
    if not found and len(features) == 1 and _is_text(kinds[features[0]]):
        return features[0]
    return found[0] if found else None


def _may_be_images(kind: pa.DataType) -> bool:
    encoded = pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return is_listed(kind) or bool(encoded)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_column(table: Any, column: str, name: str, config: VisionConfig) -> _Part:
    def where(number: int) -> str:
        return f"{name}, row {number + 1:,}, column {column!r}"

    target = table.column_names[-1]
    shape = None
    if is_listed(table[column].type):
        numbers = numbers_of(table[column], where)
        shape = _shape(numbers, config, where)
        images = stack(numbers, shape, config.data.image_size)
    else:
        cells = table[column].to_pylist()
        encoded = [named(where, number, _bytes, cell) for number, cell in enumerate(cells)]
        images = _decoded(encoded, where, config)
    features = (Feature(name=column, kind="image"),)
    return _Part(images, _classes(table[target], name, target), where, shape, features, target)


def _classes(cells: Any, name: str, target: str) -> list[Scalar]:
    found: list[Scalar] = cells.to_pylist()
    for number, label in enumerate(found):
        if not isinstance(label, str | int | float):
            where = f"{name}, row {number + 1:,}, column {target!r}"
            problem = f"{shown(label)} is no class, but a {type(label).__name__}"
            raise InvalidData(f"{where}: {problem}", row=number + 1, column=target)
    return found


def _content(path: Path) -> bytes:
    with reading(str(path)):
        return path.read_bytes()


def _decoded(encoded: Sequence[bytes], where: Where, config: VisionConfig) -> Stack:
    return decoded_stack(encoded, config.data.image_size, where, config.resources.memory_bytes or available())


def _bytes(cell: Any) -> bytes:
    found = encoded_of(cell)
    if found is None:
        raise ValueError("the image is missing")
    return found


def _of_pixels(table: Table, name: str, config: VisionConfig) -> _Part:
    def where(number: int) -> str:
        return f"{name}, row {number + 1:,}"

    for column, kind in table.kinds.items():
        if kind != "number":
            raise InvalidData(
                f"{name}, column {column!r}: it holds text; images are numbers, one column per pixel, or one column of "
                "lists of numbers or of PNGs: name the columns in data.features"
            )
    numbers = table.features.to_numpy(dtype=np.float32)
    rows, columns = np.nonzero(np.isnan(numbers))
    if rows.size:
        column, row = table.features.columns[columns[0]], int(rows[0])
        raise InvalidData(f"{where(row)}, column {column!r}: the number is missing", row=row + 1, column=column)
    shape = _shape(numbers, config, where)
    features = tuple(Feature(name=column, kind="number") for column in table.features.columns)
    images = stack(numbers, shape, config.data.image_size)
    return _Part(images, table.target.tolist(), where, shape, features, str(table.target.name))


def _shape(numbers: npt.NDArray[Any], config: VisionConfig, where: Where) -> Shape:
    found: Shape = named(where, 0, shape_for, numbers.shape[1:], config.data.image_shape)
    return found


def _labelled(part: _Part, classes: Sequence[Scalar]) -> Labelled:
    """With the numbers of the classes. Raises InvalidData that names the first image of an unknown one."""
    numbers = {label: number for number, label in enumerate(classes)}
    for number, label in enumerate(part.classes):
        if label not in numbers:
            raise InvalidData(f"{part.where(number)}: no image for training is of its class {label!r}", row=number + 1)
    return Labelled(part.images, np.array([numbers[label] for label in part.classes], dtype=np.int64))


def _check_classes(found: Labelled, part: _Part, classes: Sequence[Scalar]) -> None:
    """Raise InvalidData unless there are two classes, of two images each."""
    if len(classes) < 2:
        problem = f"all images are of the class {part.classes[0]!r}; there have to be two classes or more"
        raise InvalidData(f"{part.where(0)}: {problem}")
    lonely = np.flatnonzero(np.bincount(found.labels) == 1)
    if lonely.size:
        number = int(np.argmax(found.labels == lonely[0]))
        problem = f"no other image is of its class {part.classes[number]!r}; give two or more"
        raise InvalidData(f"{part.where(number)}: {problem}", row=number + 1)


def _check_dimensions(config: VisionConfig, shape: Shape, classes: int) -> None:
    """Raise InvalidData unless images and classes are as the configuration wants them."""
    found = {
        "input_dim": (math.prod(shape), f"an image has {math.prod(shape)} numbers ({in_words(shape)})"),
        "output_dim": (classes, f"there are {classes} classes"),
    }
    for key, (number, words) in found.items():
        wanted = getattr(config.model, key)
        if wanted not in (None, number):
            message = f"model.{key} is {wanted}, but {words}; set it to {number}, or to null"
            raise InvalidData(message, field=f"model.{key}")
