"""One image as people hand it over (numbers, or a PNG or JPEG), made an array of rows x columns x channels."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

Pixels = npt.NDArray[Any]
"""Rows x columns x channels, uint8 or float32."""
Shape = tuple[int, int, int]
"""Rows, columns, channels."""
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F")
"""What the modes of images with one channel of more than eight bits begin with."""


def opened(data: bytes) -> Image.Image:
    """An encoded image, of which only the size and the colours are read yet. Raises ValueError."""
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError("it is neither a PNG nor a JPEG image") from error


def shape_of(image: Image.Image) -> Shape:
    """Its rows, columns and channels: 1 where it is grey, else 3."""
    grey = image.mode in GREY or image.mode.startswith(DEEP)
    return image.height, image.width, 1 if grey else 3


def decoded(image: Image.Image, channels: int) -> Pixels:
    """Its pixels, in 1 or 3 channels. Raises ValueError."""
    deep = image.mode.startswith(DEEP)
    try:
        found = np.asarray(image if deep else image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"the image is damaged: {error}") from error
    found = found.astype(np.float32) if deep else found
    found = found[:, :, None] if found.ndim == 2 else found
    return np.repeat(found, 3, axis=2) if found.shape[2] < channels == 3 else found


def resized(pixels: Pixels, rows: int, columns: int) -> Pixels:
    """The image in another size."""
    if pixels.shape[:2] == (rows, columns):
        return pixels
    channels = [Image.fromarray(pixels[:, :, number]) for number in range(pixels.shape[2])]
    smooth = Image.Resampling.BILINEAR
    return np.stack([np.asarray(channel.resize((columns, rows), smooth)) for channel in channels], axis=2)


def compact(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers as they are kept: uint8 where whole numbers up to 255 come as such, else float32."""
    small = numbers.dtype.kind in "iu" and (numbers.size == 0 or (numbers.min() >= 0 and numbers.max() <= 255))
    return numbers.astype(np.uint8 if small else np.float32, copy=False)


def shape_for(numbers: Sequence[int], wanted: Sequence[int] | None) -> Shape:
    """The shape of images whose numbers come in this form, flat or nested. Raises ValueError.

    `wanted`: rows, columns and perhaps channels as people set them; a flat list without is a square, grey or in colour.
    """
    count = math.prod(numbers)
    if wanted is not None:
        shape = (*wanted, 1)[:3]
        if math.prod(shape) != count or (len(numbers) > 1 and (*numbers, 1)[:3] != shape):
            raise ValueError(f"an image has {in_words(numbers)} numbers, but data.image_shape is {in_words(wanted)}")
        return shape[0], shape[1], shape[2]
    if len(numbers) in (2, 3):
        return (*numbers, 1)[0], (*numbers, 1)[1], (*numbers, 1)[2]
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side * side * channels == count:
            return side, side, channels
    raise ValueError(
        f"an image has {in_words(numbers)} numbers, which make no square; set data.image_shape to its rows and "
        "columns, and channels where it has several"
    )


def image_from(value: Any, shape: Shape, flat: Shape | None, resize: bool) -> Pixels:
    """An image of a row, in the shape that a network takes: numbers, flat or nested; bytes of a PNG or JPEG, also in
    base64; or an object with such `bytes`. `flat`: the shape of a flat list, unless it is square. Raises ValueError.
    """
    encoded = encoded_of(value)
    if encoded is not None:
        found = decoded(opened(encoded), shape[2])
    else:
        numbers = _numbers(value)
        as_known = flat is not None and numbers.ndim == 1 and numbers.size == math.prod(flat)
        found = numbers.reshape(flat if as_known else shape_for(numbers.shape, None))
    if resize and found.shape[2] == shape[2]:
        found = resized(found, shape[0], shape[1])
    if found.shape != shape:
        raise ValueError(f"it is {in_words(found.shape)}, but the model was trained on images of {in_words(shape)}")
    return found


def encoded_of(value: Any) -> bytes | None:
    """The bytes of an encoded image; None: it is none. Raises ValueError."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, str):
        try:
            return base64.b64decode(value.rpartition(",")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("the text is no base64 of a PNG or JPEG image") from error
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def _numbers(value: Any) -> npt.NDArray[Any]:
    try:
        found = np.asarray(value).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError("it is no image: lists of numbers of the same length, or a PNG or JPEG in base64") from error
    if not 1 <= found.ndim <= 3 or found.size == 0:
        raise ValueError("it is no image: lists of numbers, flat or nested as rows, columns and channels")
    if not np.isfinite(found).all():
        raise ValueError("the image has a number that is missing or not finite")
    return found


def in_words(shape: Sequence[int]) -> str:
    """A shape as people write it."""
    return " x ".join(str(length) for length in shape)
