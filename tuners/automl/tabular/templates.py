"""The templates for tables as the platform knows them; scikit-learn is imported when they train, and not before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tuners.automl.tabular import spaces
from tuners.automl.tabular.sections import ClassificationConfig, LinearConfig, RegressionConfig
from tunesmith.automl import Facts, Predictor, Run, Source, Template, Trained
from tunesmith.domain import Parameter, Scalar

FAMILIES = ("gradient_boosting", "mlp", "random_forest", "extra_trees", "linear", "svm", "nearest", "ensemble")
"""What `model.architecture` may be."""


LOSSES = ("train_loss", "val_loss")
OF_CLASSES, OF_NUMBERS = ("accuracy", "f1", "roc_auc"), ("r2", "mae", "rmse")
"""The metrics of either task; see metrics.py."""


class _Tabular(Template):
    """What the templates for tables have in common."""

    def load(self, file: Path, facts: Facts) -> Predictor:
        """See Template."""
        from tuners.automl.tabular.predicting import TablePredictor

        return TablePredictor(file, facts)


class Linear(_Tabular):
    """Least squares, or logistic regression."""

    name = "linear"
    title = "Predicts a number by least squares, or a class by logistic regression; also of data larger than memory."
    Config = LinearConfig
    metric = "val_loss"
    metrics = (*LOSSES, *OF_CLASSES, *OF_NUMBERS)
    cross_validates = True

    def train(self, config: LinearConfig, data: Source, run: Run) -> Trained:
        """See Template."""
        from tuners.automl.tabular.linear import train

        return train(config, data, run)

    @classmethod
    def space(cls, config: LinearConfig) -> Sequence[Parameter]:
        """See Template."""
        return (
            Parameter(name="penalty", type="categorical", choices=("l1", "l2", "elasticnet")),
            Parameter(name="alpha", minimum=1e-4, maximum=1e3, log=True),
            Parameter(name="l1_ratio", minimum=0.05, maximum=0.95),
        )

    @classmethod
    def first_points(cls, config: LinearConfig) -> Sequence[Mapping[str, Scalar]]:
        """See Template."""
        return ({"penalty": "l2", "alpha": 1.0, "l1_ratio": 0.5},)


class _OfFamilies(_Tabular):
    """What the templates with a choice of families have in common."""

    families = FAMILIES
    cross_validates = True
    task: ClassVar[spaces.Task]
    """What they predict."""

    def train(self, config: ClassificationConfig | RegressionConfig, data: Source, run: Run) -> Trained:
        """See Template."""
        from tuners.automl.tabular.training import train

        return train(config, data, run, self.task)

    @classmethod
    def space(cls, config: ClassificationConfig | RegressionConfig) -> Sequence[Parameter]:
        """See Template."""
        return spaces.space_of(cls.task)

    @classmethod
    def first_points(cls, config: ClassificationConfig | RegressionConfig) -> Sequence[Mapping[str, Scalar]]:
        """See Template."""
        return spaces.first_points(cls.task)


class Classification(_OfFamilies):
    """Classes from the columns of a table."""

    name = "classification"
    title = "Predicts a class from the columns of a table, by gradient boosting or one of seven other families."
    Config = ClassificationConfig
    task = "classification"
    metric = "accuracy"
    metrics = (*LOSSES, *OF_CLASSES)


class Regression(_OfFamilies):
    """Numbers from the columns of a table."""

    name = "regression"
    title = "Predicts a number from the columns of a table, by gradient boosting or one of seven other families."
    Config = RegressionConfig
    task = "regression"
    metric = "r2"
    metrics = (*LOSSES, *OF_NUMBERS)
