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
from tunesmith.automl import Feature, Origin, Source
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
    origin: Origin
    """Where those to train on come from."""


@dataclass(frozen=True)
class _Folder:
    """A folder of images as the origin of what is learnt. See tunesmith.automl.Origin."""

    name: str
    files: Sequence[tuple[Path, str]]

    def where(self, row: int, column: str | None = None) -> str:
        """The file of an image."""
        path, label = self.files[row]
        return f"{self.name.rstrip('/')}/{label}/{path.name}"

    def invalid(self, problem: str, column: str | None = None, row: int | None = None) -> InvalidData:
        """An error about the folder, or an image."""
        file = self.name if row is None else self.where(row)
        return InvalidData(f"{file}: {problem}", file=file, column=column)


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
    origin = train.where.origin
    classes = tuple(sorted(set(train.classes), key=lambda label: (isinstance(label, str), label)))
    found = _labelled(train, classes)
    _check_classes(found, train, classes)
    _check_dimensions(config, found.shape, len(classes), origin)
    own = None if validation is None else _labelled(validation, classes)
    if own is not None and validation is not None and own.shape != found.shape:
        problem = f"the image is {in_words(own.shape)}, but those for training {in_words(found.shape)}"
        raise validation.where.invalid(problem, 0)
    return Images(found, own, classes, train.features, train.target, train.stored_shape, origin)


def _parts(data: Source, config: VisionConfig) -> tuple[_Part, _Part | None]:
    section = config.data
    own = section.val_path or section.val_table
    if files := data.paths():
        train = _of_files(_Folder(section.train_path or "", files), config)
        return train, None if own is None else _of_files(_validation_folder(data, own), config)
    column = _image_column(data.schema(), data.origin())
    if column is not None:
        return _of_column(data, column, config), None if own is None else _of_column(data, column, config, True)
    rows = data.load()
    return _of_pixels(rows, config), None if rows.validation is None else _of_pixels(rows.validation, config)


def _validation_folder(data: Source, own: str) -> _Folder:
    files = data.paths(validation=True)
    if not files:
        problem = "it is no folder with a folder of PNG images per class, as data.train_path is"
        raise InvalidData(f"{own}: {problem}", file=own)
    return _Folder(own, files)


def _of_files(folder: _Folder, config: VisionConfig) -> _Part:
    where, files = Where(folder), folder.files
    images = _decoded([_content(path, where(number)) for number, (path, _) in enumerate(files)], where, config)
    classes: list[Scalar] = [label for _, label in files]
    return _Part(images, classes, where, None, (Feature(name=IMAGE, kind="image"),), CLASS)


def _image_column(schema: Any, origin: Origin) -> str | None:
    """The column of a table that holds the images; None: it has a column per pixel."""
    kinds: dict[str, Any] = dict(zip(schema.names, schema.types, strict=True))
    *features, target = kinds
    if _may_be_images(kinds[target]):
        raise origin.invalid("it holds images; name the column of the classes in data.target", target)
    found = [column for column in features if _may_be_images(kinds[column])]
    if len(found) > 1:
        raise origin.invalid(f"the columns {', '.join(found)} hold images; name one of them in data.features")
    if not found and len(features) == 1 and _is_text(kinds[features[0]]):
        return features[0]
    return found[0] if found else None


def _may_be_images(kind: pa.DataType) -> bool:
    encoded = pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return is_listed(kind) or bool(encoded)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_column(data: Source, column: str, config: VisionConfig, validation: bool = False) -> _Part:
    table = data.arrow(validation)
    where = Where(data.origin(validation), column)
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
    return _Part(images, _classes(table[target], where.origin, target), where, shape, features, target)


def _classes(cells: Any, origin: Origin, target: str) -> list[Scalar]:
    found: list[Scalar] = cells.to_pylist()
    for number, label in enumerate(found):
        if not isinstance(label, str | int | float):
            raise origin.invalid(f"{shown(label)} is no class, but a {type(label).__name__}", target, number)
    return found


def _content(path: Path, name: str) -> bytes:
    with reading(name):
        return path.read_bytes()


def _decoded(encoded: Sequence[bytes], where: Where, config: VisionConfig) -> Stack:
    return decoded_stack(encoded, config.data.image_size, where, config.resources.memory_bytes or available())


def _bytes(cell: Any) -> bytes:
    found = encoded_of(cell)
    if found is None:
        raise ValueError("the image is missing")
    return found


def _of_pixels(table: Table, config: VisionConfig) -> _Part:
    where = Where(table.origin)
    for column, kind in table.kinds.items():
        if kind == "category":
            raise table.origin.invalid(
                "it holds text; images are numbers, one column per pixel, or one column of lists of numbers or of "
                "PNGs: name the columns in data.features",
                column,
            )
    numbers = table.features.to_numpy(dtype=np.float32)
    rows, columns = np.nonzero(np.isnan(numbers))
    if rows.size:
        column, row = table.features.columns[columns[0]], int(rows[0])
        raise table.origin.invalid("the number is missing", str(column), row)
    shape = _shape(numbers, config, where)
    features = tuple(Feature(name=column, kind=table.kinds[column]) for column in table.features.columns)
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
            raise part.where.invalid(f"no image for training is of its class {label!r}", number)
    return Labelled(part.images, np.array([numbers[label] for label in part.classes], dtype=np.int64))


def _check_classes(found: Labelled, part: _Part, classes: Sequence[Scalar]) -> None:
    """Raise InvalidData unless there are two classes, of two images each."""
    if len(classes) < 2:
        problem = f"all images are of the class {part.classes[0]!r}; there have to be two classes or more"
        raise part.where.invalid(problem, 0)
    lonely = np.flatnonzero(np.bincount(found.labels) == 1)
    if lonely.size:
        number = int(np.argmax(found.labels == lonely[0]))
        problem = f"no other image is of its class {part.classes[number]!r}; give two or more"
        raise part.where.invalid(problem, number)


def _check_dimensions(config: VisionConfig, shape: Shape, classes: int, origin: Origin) -> None:
    """Raise InvalidData unless images and classes are as the configuration wants them."""
    found = {
        "input_dim": (math.prod(shape), f"an image has {math.prod(shape)} numbers ({in_words(shape)})"),
        "output_dim": (classes, f"there are {classes} classes"),
    }
    for key, (number, words) in found.items():
        wanted = getattr(config.model, key)
        if wanted not in (None, number):
            raise origin.invalid(f"model.{key} is {wanted}, but {words}; set it to {number}, or to null")
