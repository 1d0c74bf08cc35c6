"""The keys of the tabular templates: what each is, its range and its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunesmith.automl import Config, DataSection, ModelSection, TrainingSection

Architecture = Literal[
    "gradient_boosting", "mlp", "random_forest", "extra_trees", "linear", "svm", "nearest", "ensemble"
]


class LinearModel(ModelSection):
    """A linear model: what kind, and what holds its coefficients small."""

    type: str = "linear"
    """The template's name."""
    task: Literal["auto", "regression", "classification"] = "auto"
    """Least squares or logistic; auto: logistic where the target is text, true and false, or 0 and 1."""
    penalty: Literal["auto", "none", "l1", "l2", "elasticnet"] = "auto"
    """What is added to the loss; auto: nothing in regression (least squares), l2 in classification."""
    alpha: float = Field(default=1.0, gt=0, le=1e9)
    """Strength of the penalty, as scikit-learn's Ridge, Lasso and ElasticNet have it; of a logistic model 1 / C."""
    l1_ratio: float = Field(default=0.5, ge=0, le=1)
    """Share of l1 in the penalty `elasticnet`."""
    class_weight: Literal["balanced"] | None = None
    """`balanced`: rare classes weigh as much as frequent ones; null: every row weighs the same."""


class LinearTraining(TrainingSection):
    """How it is trained; passes, learning rate and batches matter only where the data are larger than the memory."""

    epochs: int = Field(default=20, ge=1, le=1_000_000)
    """Passes of stochastic gradient descent, at most: classification of data larger than the memory."""
    learning_rate: float | None = Field(default=None, gt=0, le=10)
    """Its learning rate, where columns have a variance of 1; null: 1 / columns."""
    batch_size: int = Field(default=50_000, ge=100, le=10_000_000)
    """Rows read at once where the data are larger than the memory."""


class LinearData(DataSection):
    """What it is trained on: `train_path`, or a `dataset` of a session."""

    train_path: str | None = Field(default="sample:diabetes", min_length=1, max_length=2000)
    """CSV or Parquet: a path inside the training-data directory, `s3://bucket/key`, or `sample:NAME`."""


class LinearConfig(Config):
    """A configuration of `linear`."""

    model: LinearModel = LinearModel()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What is trained."""
    training: LinearTraining = LinearTraining()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How it is trained."""
    data: LinearData = LinearData()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it is trained on."""


class TableModel(ModelSection):
    """A model of one of the families; each key says whose it is."""

    architecture: Architecture = "gradient_boosting"
    """The family of models; `ensemble` averages gradient_boosting, mlp, extra_trees, linear and svm."""
    max_leaf_nodes: int = Field(default=31, ge=2, le=10_000)
    """gradient_boosting: leaves of a tree, at most."""
    min_samples_leaf: int = Field(default=20, ge=1, le=1_000_000)
    """gradient_boosting: rows in a leaf, at least."""
    l2_regularization: float = Field(default=0.0, ge=0, le=1e6)
    """gradient_boosting: penalty on the values of leaves."""
    max_features: float = Field(default=1.0, gt=0, le=1)
    """gradient_boosting: share of the features looked at for a split."""
    hidden_dim: int = Field(default=64, ge=1, le=10_000)
    """mlp: units of each hidden layer."""
    hidden_layers: int = Field(default=2, ge=1, le=10)
    """mlp: hidden layers."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1000)
    """mlp: penalty on the squared weights."""
    network_learning_rate: float | None = Field(default=None, gt=0, le=1)
    """mlp: learning rate, where it differs from `learning_rate`, which boosting has too; null: that one."""
    forest_features: float = Field(default=0.5, ge=0, le=1)
    """random_forest, extra_trees: how many of n features a split looks at, as a power of n: 0.5 the root, 1 all."""
    forest_min_samples_leaf: int = Field(default=1, ge=1, le=1_000_000)
    """random_forest, extra_trees: rows in a leaf, at least."""
    alpha: float = Field(default=1.0, gt=0, le=1e9)
    """linear: strength of the l2 penalty; of a logistic model 1 / C."""
    svm_c: float = Field(default=1.0, gt=0, le=1e9)
    """svm: weight of the rows against the width of the margin."""
    svm_gamma: float = Field(default=1.0, gt=0, le=1e6)
    """svm: width of the kernel, as a multiple of 1 / (features * variance)."""
    neighbors: int = Field(default=5, ge=1, le=10_000)
    """nearest: neighbours that vote."""
    neighbor_weights: Literal["uniform", "distance"] = "uniform"
    """nearest: whether near ones count more."""
    neighbor_power: int = Field(default=2, ge=1, le=2)
    """nearest: distance as a sum of differences (1) or of their squares (2)."""


class ClassificationModel(TableModel):
    """A model of one of the families; each key says whose it is."""

    type: str = "classification"
    """The template's name."""
    class_weight: Literal["balanced"] | None = None
    """`balanced`: rare classes weigh as much as frequent ones (not in `nearest`); null: every row weighs the same."""


class RegressionModel(TableModel):
    """A model of one of the families; each key says whose it is."""

    type: str = "regression"
    """The template's name."""
    forest_features: float = Field(default=1.0, ge=0, le=1)
    """random_forest, extra_trees: how many of n features a split looks at, as a power of n: 0.5 the root, 1 all."""
    svm_epsilon: float = Field(default=0.1, ge=0, le=10)
    """svm: errors that cost nothing, in standard deviations of the target."""


class TableTraining(TrainingSection):
    """How it is trained."""

    epochs: int = Field(default=200, ge=1, le=100_000)
    """Trees of gradient_boosting (of each class) and of the forests, passes of mlp: at most; the others have none."""
    early_stopping: bool = True
    """Whether boosting and mlp end when `val_loss` has not improved for `patience` epochs; the best one is kept."""
    patience: int = Field(default=20, ge=1, le=1_000_000)
    """Epochs without improvement until that is so."""
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Of gradient_boosting (null: 0.1) and mlp (null: 0.001)."""
    batch_size: int = Field(default=32, ge=1, le=1_000_000)
    """mlp: rows of one step."""


class ClassificationData(DataSection):
    """What it is trained on: `train_path`, or a `dataset` of a session."""

    train_path: str | None = Field(default="sample:breast_cancer", min_length=1, max_length=2000)
    """CSV or Parquet: a path inside the training-data directory, `s3://bucket/key`, or `sample:NAME`."""


class ClassificationConfig(Config):
    """A configuration of `classification`."""

    model: ClassificationModel = ClassificationModel()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What is trained."""
    training: TableTraining = TableTraining()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How it is trained."""
    data: ClassificationData = ClassificationData()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it is trained on."""


class RegressionData(DataSection):
    """What it is trained on: `train_path`, or a `dataset` of a session."""

    train_path: str | None = Field(default="sample:diabetes", min_length=1, max_length=2000)
    """CSV or Parquet: a path inside the training-data directory, `s3://bucket/key`, or `sample:NAME`."""


class RegressionConfig(Config):
    """A configuration of `regression`."""

    model: RegressionModel = RegressionModel()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What is trained."""
    training: TableTraining = TableTraining()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How it is trained."""
    data: RegressionData = RegressionData()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it is trained on."""
