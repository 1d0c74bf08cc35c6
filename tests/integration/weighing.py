"""A plugin with the smallest template there is: a weighted sum, whose weights are a JSON text."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuners.automl import artifacts
from tunesmith.automl import Config, DataSection, Facts, Feature, Predictions, Template, Trained, template
from tunesmith.errors import InvalidData
from tunesmith.plugins import Plugin

PLUGIN = "weighing:plugin"
WEIGHTS = {"price": 2.0, "size": -1.0}
loads: list[str] = []
"""The SHA-256 of every model that was loaded in this process."""


class Sum:
    """Predicts, and does what a row's third column says."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        return Predictions([self._value(number, row) for number, row in enumerate(rows, 1)])

    def _value(self, number: int, row: Mapping[str, Any]) -> float:
        if row.get("do") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if row.get("do") == "tell":
            return os.getpid()
        if "wait_s" in row:
            time.sleep(row["wait_s"])
        for column in self.weights:
            if not isinstance(row.get(column), int | float):
                found = f"row {number}, column {column!r}: {row.get(column)!r} is no number"
                raise InvalidData(found, row=number, column=column)
        return sum(weight * row[column] for column, weight in self.weights.items())


class WeighingConfig(Config):
    data: DataSection = DataSection(train_path="sample:diabetes")


@template
class Weighing(Template):
    name = "weighing"
    title = "A weighted sum."
    metric = "r2"
    Config = WeighingConfig

    def train(self, config: Any, data: Any, run: Any) -> Trained:
        return trained()

    def load(self, file: Path, facts: Facts) -> Sum:
        time.sleep(float(facts.details.get("loading_s", 0.0)))
        loads.append(facts.sha256)
        return Sum(json.loads(file.read_text()))


def trained(weights: Mapping[str, float] = WEIGHTS, suffix: str = "weights", **details: Any) -> Trained:
    """What such a training gives back."""
    return Trained(
        metrics={"r2": 0.5, "val_loss": float("nan")},
        write=lambda file: Path(file).write_text(json.dumps(weights)),
        suffix=suffix,
        features=[Feature(name=name, kind="number") for name in weights],
        target="cost",
        rows=10,
        details=details,
        libraries=["pyarrow", "no-such-library"],
    )


def keep(directory: Path, weights: Mapping[str, float] = WEIGHTS, **details: Any) -> Facts:
    """Leave a trained model in a directory, as a training does."""
    directory.mkdir(parents=True, exist_ok=True)
    return artifacts.write(directory, Weighing, PLUGIN, Weighing.read({}), trained(weights, **details))


plugin = Plugin(templates=[Weighing])
