"""Predictions by a trained network, by onnxruntime: no torch is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from tuners.automl.data import as_number
from tuners.automl.tabular.rows import as_text
from tuners.automl.vision.pixels import Pixels, Shape, image_from
from tunesmith.automl import Facts, Predictions
from tunesmith.automl.run import FeatureKind
from tunesmith.errors import InvalidData
from tunesmith.scenarios.parameters import shown

IMAGE = "image"
"""What a row may always call its image."""
BATCH = 64
"""Images that go through the network at once: more are not faster, and large ones fill the memory."""


class VisionPredictor:
    """A trained network. See Predictor.

    A row has the columns that it was trained on, or its image as `image`: lists of numbers, flat or nested, or a PNG
    or JPEG in base64.
    """

    def __init__(self, file: Path, facts: Facts) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        (taken,) = self._session.get_inputs()
        _, channels, rows, columns = taken.shape
        self._input, self._shape = taken.name, (rows, columns, channels)
        self._kinds: dict[str, FeatureKind] = {feature.name: feature.kind for feature in facts.features}
        self._columns = list(self._kinds)
        self._pixels = "image" not in self._kinds.values()
        self._plain = "boolean" not in self._kinds.values()
        stored: Any = facts.details["stored_shape"]
        self._stored: Shape | None = None if stored is None else tuple(stored)
        self._resize = bool(facts.details["resized"])
        self._classes = facts.classes or ()
        self._keys = [as_text(label) for label in self._classes]

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """See Predictor."""
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        found = [self._probabilities(batch, number * BATCH) for number, batch in enumerate(batches)]
        if not found:
            return Predictions([], [])
        probabilities = np.concatenate(found)
        values = [self._classes[number] for number in probabilities.argmax(axis=1)]
        return Predictions(values, [dict(zip(self._keys, row, strict=True)) for row in probabilities.tolist()])

    def _probabilities(self, rows: Sequence[Mapping[str, Any]], before: int) -> npt.NDArray[np.float32]:
        images: list[Pixels] = [self._image(row, before + number) for number, row in enumerate(rows, 1)]
        taken = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
        found: Any = self._session.run(None, {self._input: taken})[0]
        return np.asarray(found)

    def _image(self, row: Mapping[str, Any], number: int) -> Pixels:
        """A row's image. Raises InvalidData."""
        value: Any
        if self._pixels and IMAGE not in row:
            column, value = self._columns[0], self._numbers(row, number)
        else:
            column = IMAGE if self._pixels or self._columns[0] not in row else self._columns[0]
            value = row.get(column)
        if value is None:
            raise _invalid(number, column, "is missing")
        try:
            return image_from(value, self._shape, self._stored, self._resize)
        except ValueError as error:
            raise _invalid(number, column, f"cannot be used: {error}") from error

    def _numbers(self, row: Mapping[str, Any], number: int) -> npt.NDArray[np.float64]:
        """The numbers of a row that has a column per pixel."""
        values = [row.get(column) for column in self._columns]
        if (
            self._plain
            and set(map(type, values)) <= {int, float}
            and np.isfinite(found := np.array(values, dtype=np.float64)).all()
        ):
            return found
        for column, value in zip(self._columns, values, strict=True):
            try:
                bad = not np.isfinite(as_number(value, self._kinds[column]))
            except (TypeError, ValueError):
                bad = True
            if bad:
                what = "is missing" if value is None else f"is {shown(value)}, which is no finite number"
                raise _invalid(number, column, what)
        return np.array([as_number(row[column], kind) for column, kind in self._kinds.items()])


def _invalid(row: int, column: str, what: str) -> InvalidData:
    return InvalidData(f"row {row}: column {column!r} {what}", row=row, column=column)
