"""All images of a training in one array, in the form that the network takes them: n x channels x rows x columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow.compute import call_function

from tuners.automl.vision.pixels import DEEP, Shape, compact, decoded, in_words, opened, resized, shape_of
from tunesmith.automl import Origin
from tunesmith.errors import InvalidData

Stack = npt.NDArray[Any]
"""uint8 or float32."""


@dataclass(frozen=True)
class Where:
    """Where images come from."""

    origin: Origin
    """Their table, or folder."""
    column: str | None = None
    """The column that holds them."""

    def __call__(self, number: int) -> str:
        """What people call the image of an index from 0: its file, or its row and column."""
        return self.origin.where(number, self.column)

    def invalid(self, problem: str, number: int) -> InvalidData:
        """An error about it."""
        return self.origin.invalid(problem, self.column, number)


def decoded_stack(encoded: Sequence[bytes], size: int | None, where: Where, memory_bytes: int) -> Stack:
    """Encoded images, in colour where one of them is; `size`: rows and columns that they are resized to.

    Raises InvalidData that names the first one that is no image or has another size, or says how much memory all
    need, where that is more than `memory_bytes`.
    """
    images = [named(where, number, opened, data) for number, data in enumerate(encoded)]
    shapes = [shape_of(image) for image in images]
    if size is None:
        odd = next((number for number, shape in enumerate(shapes) if shape[:2] != shapes[0][:2]), None)
        if odd is not None:
            raise _other_size(where, odd, shapes[odd][:2], shapes[0][:2])
    rows, columns = shapes[0][:2] if size is None else (size, size)
    channels = max(shape[2] for shape in shapes)
    kind = np.float32 if any(image.mode.startswith(DEEP) for image in images) else np.uint8
    needed = len(images) * channels * rows * columns * np.dtype(kind).itemsize
    if needed > memory_bytes:
        raise where.origin.invalid(
            f"{len(images):,} images of {in_words((rows, columns, channels))} need {needed / 1e9:.2g} GB of memory, "
            f"and there are {memory_bytes / 1e9:.2g} GB; set data.image_size to fewer rows and columns, or give it more"
        )
    found = np.empty((len(images), channels, rows, columns), kind)
    for number, image in enumerate(images):
        pixels = named(where, number, decoded, image, channels)
        found[number] = resized(pixels, rows, columns).transpose(2, 0, 1)
    return found


def stack(numbers: npt.NDArray[Any], shape: Shape, size: int | None) -> Stack:
    """Images of this shape, whose numbers come as n x ...; `size`: rows and columns that they are resized to."""
    images = compact(numbers).reshape(len(numbers), *shape)
    if size is not None and shape[:2] != (size, size):
        images = np.stack([resized(image.astype(np.float32), size, size) for image in images])
    found = images.transpose(0, 3, 1, 2)
    return found.ravel().reshape(found.shape)  # strides as usual, by which torch chooses how it computes


def numbers_of(column: pa.ChunkedArray, where: Where) -> npt.NDArray[Any]:
    """A column of lists of numbers, flat or nested, as n x length x ...

    Raises InvalidData that names the first row whose list is missing, has a length of its own, or lacks a number.
    """
    found: list[npt.NDArray[Any]] = []
    lengths: dict[int, int] = {}
    before = 0
    for chunk in column.chunks:
        values, each = chunk, 1
        for depth in range(_depth(column.type) if len(chunk) else 0):
            values, lengths[depth] = _flat(values, lengths.get(depth), before, each, where)
            each *= lengths[depth]
        if len(chunk):
            found.append(compact(_checked(values, before, each, where)).reshape(len(chunk), *lengths.values()))
        before += len(chunk)
    return np.concatenate(found)


def is_listed(kind: pa.DataType) -> bool:
    """Whether it is a type of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _depth(kind: pa.DataType) -> int:
    return 1 + _depth(kind.value_type) if is_listed(kind) else 0


def _flat(values: pa.Array, wanted: int | None, before: int, each: int, where: Where) -> tuple[pa.Array, int]:
    """What is in the lists, and their common length."""
    lengths = call_function("list_value_length", [values]).fill_null(0).to_numpy()
    length = wanted or int(lengths[0])
    odd = np.flatnonzero((lengths != length) | (lengths == 0))
    if odd.size:
        first, own = before + int(odd[0]) // each, int(lengths[odd[0]])
        if own == 0:
            raise where.invalid("the image is missing or empty", first)
        raise _other_size(where, first, [own], [length])
    return values.flatten(), length


def _checked(values: pa.Array, before: int, each: int, where: Where) -> npt.NDArray[Any]:
    """The numbers in the lists."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise where.invalid(f"the image has no numbers, but values of type {values.type}", before)
    bad = np.flatnonzero(~call_function("is_finite", [values]).fill_null(False).to_numpy(zero_copy_only=False))
    if bad.size:
        first = before + int(bad[0]) // each
        raise where.invalid("the image has a number that is missing or not finite", first)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def named(where: Where, number: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function says of an image. Raises InvalidData that names the image, instead of ValueError."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise where.invalid(str(error), number) from error


def _other_size(where: Where, number: int, own: Sequence[int], first: Sequence[int]) -> InvalidData:
    remedy = "set data.image_size to have all resized" if len(own) > 1 else "all lists have to be of the same length"
    return where.invalid(f"the image is {in_words(own)}, but {where(0)} is {in_words(first)}; {remedy}", number)
