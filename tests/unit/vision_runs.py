"""Trainings of the template `vision` in this process: what they report, and what they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet
from sklearn.datasets import load_digits

from tuners.automl import artifacts
from tuners.automl.data import Source
from tuners.automl.vision.template import Vision
from tunesmith.automl import Facts, Predictor, Trained

FEW: dict[str, Any] = {
    "model": {"channels": 8},
    "training": {"epochs": 3},
    "data": {"train_path": "digits.parquet", "target": "digit"},
}
"""A training on the table of `write_digits`."""


class Killed(BaseException):
    """The process of a training is gone."""


@dataclass
class Recorder:
    """A run that remembers what is reported; it may run out of time, or be killed, after an epoch."""

    seed: int = 0
    threads: int = 1
    folds: int = 1
    state: bytes | None = None
    ends_after: int | None = None
    killed_after: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    used_threads: set[int] = field(default_factory=set)

    def report(self, step: int, metrics: Mapping[str, float], percent: float | None = None) -> bool:
        self.history.append({"step": step, **metrics})
        self.used_threads.add(torch.get_num_threads())
        return step == self.ends_after

    @property
    def over(self) -> bool:
        return bool(self.history) and self.history[-1]["step"] == self.ends_after

    def save(self, state: Callable[[], bytes]) -> None:
        if self.history[-1]["step"] == self.killed_after:
            self.state = state()
            raise Killed

    def say(self, message: str) -> None:
        pass


def write_digits(root: Path, count: int) -> None:
    """The first of scikit-learn's digits, as a column of lists."""
    images, labels = load_digits(return_X_y=True)
    cells = {"image": images[:count].tolist(), "digit": labels[:count]}
    parquet.write_table(pa.table(cells), root / "digits.parquet")


def trained(config: Mapping[str, Any] = FEW, root: Path | str = "/nowhere", run: Recorder | None = None) -> Trained:
    """Train with this configuration; `root`: the training-data directory."""
    settings = Vision.read(config)
    return Vision().train(settings, Source(settings, Path(root)), run or Recorder(settings.training.seed))


def kept(model: Trained, directory: Path, config: Mapping[str, Any] = FEW) -> tuple[Facts, Predictor]:
    """Write a model as the platform does, and load it again."""
    facts = artifacts.write(directory, Vision, "tuners.automl:plugin", Vision.read(config), model)
    return facts, Vision().load(directory / facts.file, facts)
