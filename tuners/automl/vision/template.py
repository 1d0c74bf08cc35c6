"""The template as the platform knows it; torch is imported when it trains, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuners.automl.vision.sections import VisionConfig
from tunesmith.automl import Facts, Predictor, Run, Source, Template, Trained
from tunesmith.domain import Parameter


class Vision(Template):
    """A small convolutional network."""

    name = "vision"
    title = "Tells the class of an image, by a small convolutional network."
    Config = VisionConfig
    metric = "accuracy"
    metrics = ("train_loss", "val_loss", "accuracy", "f1", "roc_auc")
    extra = "vision"
    requires = ("torch", "onnx", "onnxruntime", "PIL")

    def train(self, config: VisionConfig, data: Source, run: Run) -> Trained:
        """See Template. Trials are compared by the validation part: there is no cross-validation."""
        from tuners.automl.vision.training import train

        return train(config, data, run)

    def load(self, file: Path, facts: Facts) -> Predictor:
        """See Template."""
        from tuners.automl.vision.predicting import VisionPredictor

        return VisionPredictor(file, facts)

    @classmethod
    def space(cls, config: VisionConfig) -> Sequence[Parameter]:
        """See Template."""
        return (
            Parameter(name="learning_rate", minimum=1e-3, maximum=5e-2, log=True),
            Parameter(name="channels", type="int", minimum=8, maximum=48, step=8),
            Parameter(name="blocks", type="int", minimum=1, maximum=4),
            Parameter(name="dropout", minimum=0, maximum=0.5),
            Parameter(name="weight_decay", minimum=1e-4, maximum=1e-1, log=True),
            Parameter(name="batch_size", type="categorical", choices=(16, 32, 64, 128)),
        )
