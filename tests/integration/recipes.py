"""A plugin with a template of its own: it creeps up on the mean or the median of the target, epoch by epoch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tunesmith
from tunesmith.automl import Config, Facts, Feature, ModelSection, Predictions, Run, Source, Trained, TrainingSection
from tunesmith.domain import Parameter
from tunesmith.errors import InvalidData
from tunesmith.plugins import Plugin


class CreepModel(ModelSection):
    architecture: str = "mean"
    """`mean` or `median`."""
    offset: float = 0.0
    """Added to every prediction: the nearer to 0, the better."""


class CreepTraining(TrainingSection):
    learning_rate: float = 0.5
    """Share of the way that an epoch goes."""
    epoch_s: float = 0.0
    """Seconds that an epoch takes."""
    dies_at: int = 0
    """Epoch after which the first process is killed; 0: none."""
    kills: str = "process"
    """`process`, or `launcher`: the one that started it, and takes it along."""


class CreepConfig(Config):
    model: CreepModel = CreepModel()
    training: CreepTraining = CreepTraining(epochs=5, checkpoint_s=0.001)


@tunesmith.template
class Creep(tunesmith.Template):
    name = "creep"
    title = "The mean or the median of the target."
    Config = CreepConfig
    families = ("mean", "median")
    metric = "mae"
    metrics = ("mae", "train_loss")

    @classmethod
    def space(cls, config: Any) -> Sequence[Parameter]:
        return (
            Parameter(name="offset", minimum=-10, maximum=10),
            Parameter(name="learning_rate", minimum=0.1, maximum=1, when={"architecture": ("mean",)}),
        )

    @classmethod
    def first_points(cls, config: Any) -> Sequence[Mapping[str, Any]]:
        return [{"architecture": name} for name in cls.families]

    def train(self, config: CreepConfig, data: Source, run: Run) -> Trained:
        table = data.load()
        if config.model.architecture == "median" and len(table.target) < 3:
            raise InvalidData("a median wants three rows")
        target = float(getattr(table.target, config.model.architecture)())
        start: dict[str, Any] = {"epoch": 0, "guess": 0.0, "attempts": 0}
        state = start if run.state is None else json.loads(run.state)
        print(f"begins after epoch {state['epoch']}", flush=True)
        for epoch in range(state["epoch"] + 1, config.training.epochs + 1):
            time.sleep(config.training.epoch_s)
            guess = state["guess"] + config.training.learning_rate * (target - state["guess"])
            state = {"epoch": epoch, "guess": guess, "attempts": state["attempts"]}
            mae = float((table.target - guess - config.model.offset).abs().mean())
            over = run.report(epoch, {"mae": mae, "train_loss": mae})
            run.save(partial(_packed, state))
            if epoch == config.training.dies_at and run.state is None:
                os.kill(os.getpid() if config.training.kills == "process" else os.getppid(), 9)
                time.sleep(10)
            if over:
                break
        said = {"value": state["guess"] + config.model.offset}
        return Trained(
            metrics={"mae": mae, "train_loss": mae, "epochs": float(state["epoch"])},
            write=lambda path: path.write_text(json.dumps(said)) and None,
            suffix="guess",
            features=[Feature(name=name, kind=kind) for name, kind in table.kinds.items()],
            target=str(table.target.name),
            rows=len(table.target),
        )

    def load(self, file: Path, facts: Facts) -> Any:
        return Guesser(float(json.loads(file.read_text())["value"]), {feature.name for feature in facts.features})


class Guesser:
    def __init__(self, value: float, known: set[str]) -> None:
        self.value, self.known = value, known

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        for number, row in enumerate(rows, 1):
            for name in row:
                if name not in self.known:
                    raise InvalidData(f"row {number}: there is no column {name!r}", row=number, column=name)
        return Predictions([self.value] * len(rows))


def _packed(state: Mapping[str, Any]) -> bytes:
    return json.dumps(state).encode()


plugin = Plugin(templates=(Creep,))
