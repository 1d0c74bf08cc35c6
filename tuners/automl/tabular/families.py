"""The families of models, made from a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV  # type: ignore[import-untyped]
from sklearn.compose import TransformedTargetRegressor  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor  # type: ignore[import-untyped]
from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.svm import SVC, SVR  # type: ignore[import-untyped]

from tuners.automl.tabular.learners import Boosting, Forest, Learner, Network, Sample
from tuners.automl.tabular.preparation import Form
from tuners.automl.tabular.spaces import Task
from tunesmith.errors import InvalidData


@dataclass(frozen=True)
class Making:
    """What a model is made from."""

    config: Any
    """The configuration, of the family's template."""
    task: Task
    """What it predicts."""
    train: Sample
    """The rows that it learns from."""
    categorical: list[int]
    """The prepared columns that are categories."""
    seed: int
    """Seed of its random choices."""
    threads: int
    """Threads that it may use."""


@dataclass(frozen=True)
class Family:
    """One family of models."""

    name: str
    """What people call it."""
    form: Form
    """How it takes its columns."""
    learner: type[Learner]
    """How it learns."""
    make: Callable[[Making], Any]
    """Its estimator, unfitted."""
    rows: int | None = None
    """Rows that it learns from at most, as its time grows with their square."""
    weighted: bool = True
    """Whether rows can count more and less."""


def _boosting(given: Making) -> Any:
    model = given.config.model
    kind: Any = HistGradientBoostingClassifier if given.task == "classification" else HistGradientBoostingRegressor
    return kind(
        learning_rate=given.config.training.learning_rate or 0.1,
        max_leaf_nodes=model.max_leaf_nodes,
        min_samples_leaf=model.min_samples_leaf,
        l2_regularization=model.l2_regularization,
        max_features=model.max_features,
        categorical_features=given.categorical or None,
        early_stopping=True,  # measures the losses; `n_iter_no_change` keeps it from stopping by itself
        scoring="loss",
        validation_fraction=None,
        tol=0.0,
        warm_start=True,
        random_state=given.seed,
    )


def _network(given: Making) -> Any:
    model, training = given.config.model, given.config.training
    kind = MLPClassifier if given.task == "classification" else MLPRegressor
    return kind(
        hidden_layer_sizes=(model.hidden_dim,) * model.hidden_layers,
        alpha=model.weight_decay,
        batch_size=min(training.batch_size, len(given.train.target)),
        learning_rate_init=model.network_learning_rate or training.learning_rate or 1e-3,
        random_state=np.random.RandomState(given.seed),  # one that goes on: a number begins anew in every epoch
    )


def _forest(classifier: Any, regressor: Any) -> Callable[[Making], Any]:
    def make(given: Making) -> Any:
        model, columns = given.config.model, given.train.features.shape[1]
        kind = classifier if given.task == "classification" else regressor
        return kind(
            max_features=max(1, int(columns**model.forest_features)),
            min_samples_leaf=model.forest_min_samples_leaf,
            warm_start=True,
            n_jobs=given.threads,
            random_state=given.seed,
        )

    return make


def _linear(given: Making) -> Any:
    alpha = given.config.model.alpha
    return Ridge(alpha) if given.task == "regression" else LogisticRegression(C=1 / alpha, max_iter=1000)


def _kernels(given: Making) -> Any:
    model = given.config.model
    gamma = model.svm_gamma / (given.train.features.shape[1] * (given.train.features.var() or 1.0))
    if given.task == "regression":
        machine = SVR(C=model.svm_c, gamma=gamma, epsilon=model.svm_epsilon)
        return TransformedTargetRegressor(machine, transformer=StandardScaler())
    rarest = int(np.bincount(given.train.target).min())
    if rarest < 2:
        raise InvalidData("svm needs two rows of each class to train on (in each fold): it learns its probabilities")
    calibrated: Any = CalibratedClassifierCV  # by a temperature, which leaves the decisions as they are
    return calibrated(SVC(C=model.svm_c, gamma=gamma), method="temperature", cv=min(5, rarest), ensemble=False)


def _neighbours(given: Making) -> Any:
    model = given.config.model
    kind = KNeighborsClassifier if given.task == "classification" else KNeighborsRegressor
    count = min(model.neighbors, len(given.train.target))
    return kind(count, weights=model.neighbor_weights, p=model.neighbor_power)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("gradient_boosting", "native", Boosting, _boosting),
        Family("mlp", "scaled", Network, _network),
        Family("random_forest", "trees", Forest, _forest(RandomForestClassifier, RandomForestRegressor)),
        Family("extra_trees", "trees", Forest, _forest(ExtraTreesClassifier, ExtraTreesRegressor)),
        Family("linear", "scaled", Learner, _linear),
        Family("svm", "scaled", Learner, _kernels, rows=20_000),
        Family("nearest", "scaled", Learner, _neighbours, weighted=False),
    )
}
"""By the value of `model.architecture`."""
