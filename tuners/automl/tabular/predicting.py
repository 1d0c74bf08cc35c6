"""Predicts rows of JSON with a model of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuners.automl.data.cells import as_category, as_number
from tuners.automl.tabular import files
from tuners.automl.tabular.rows import as_text
from tunesmith.automl import Facts, Feature, Predictions
from tunesmith.errors import InvalidData
from tunesmith.scenarios.parameters import nearest, shown

WANTED = {"number": "a number", "boolean": "true or false", "time": "a time (ISO 8601)", "category": "a text"}
"""What a cell of a feature has to be."""


class TablePredictor:
    """A trained model of a table. Rows may lack columns, or have null in them: that is a missing cell."""

    def __init__(self, file: Path, facts: Facts) -> None:
        self._model: Any = files.read(file)
        self._features = {feature.name: feature for feature in facts.features}
        self._target, self._classes = facts.target, facts.classes
        self._dtype = float if all(feature.kind != "category" for feature in facts.features) else object

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """See Predictor."""
        if not rows:
            return Predictions([], None if self._classes is None else [])
        cells = np.array([self._row(number, row) for number, row in enumerate(rows, 1)], dtype=self._dtype)
        return self._numbers(cells) if self._classes is None else self._chances(cells)

    def _numbers(self, cells: NDArray[Any]) -> Predictions:
        return Predictions(self._model.predict(cells).tolist())

    def _chances(self, cells: NDArray[Any]) -> Predictions:
        chances = self._model.predict_proba(cells)
        classes = self._classes or ()
        names = [as_text(name) for name in classes]
        values = [classes[best] for best in chances.argmax(axis=1)]
        return Predictions(values, [dict(zip(names, row, strict=True)) for row in chances.tolist()])

    def _row(self, number: int, row: Mapping[str, Any]) -> list[Any]:
        if not row.keys() <= self._features.keys():
            self._refuse_unknown(number, next(name for name in row if name not in self._features))
        return [_cell(number, feature, row.get(name)) for name, feature in self._features.items()]

    def _refuse_unknown(self, number: int, name: str) -> None:
        where = f"row {number:,}: {shown(name)}"
        if name == self._target:
            message = f"{where} is what the model predicts; leave it out"
        else:
            message = f"{where} is no column that the model knows{nearest(name, self._features)}"
        raise InvalidData(message, row=number, column=name)


def _cell(number: int, feature: Feature, value: Any) -> Any:
    """The value as the model's table has it, NaN where it is missing."""
    if value is None:
        return np.nan
    try:
        if feature.kind == "category":
            found = as_category(value)
            return np.nan if found is None else found
        plain = type(value) in (float, int) and feature.kind != "boolean"
        cell = float(value) if plain else as_number(value, feature.kind)
    except (TypeError, ValueError, OverflowError):
        text = f"row {number:,}, column {feature.name!r}: {shown(value)} is not {WANTED[feature.kind]}"
        raise InvalidData(f"{text}; give one, or null where it is missing", row=number, column=feature.name) from None
    if cell in (np.inf, -np.inf):
        text = f"row {number:,}, column {feature.name!r}: the number is infinite"
        raise InvalidData(f"{text}; give a finite one, or null", row=number, column=feature.name)
    return cell
