"""How each kind of model learns: epoch by epoch, and back to its best one; or all at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor  # type: ignore[import-untyped]

from tuners.automl.tabular.metrics import Array, loss
from tuners.automl.tabular.spaces import Task

TREE = ("nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets")
"""The arrays that a tree of boosting is made of."""


@dataclass(frozen=True)
class Sample:
    """Prepared rows."""

    features: Array
    """Rows by prepared columns, float64."""
    target: Array
    """Numbers, or the classes' positions."""
    weights: Array | None = None
    """How much each row counts; None: all the same."""


@dataclass(frozen=True)
class Losses:
    """The losses after an epoch."""

    epoch: int
    """Counted from 1."""
    train: float
    """Of the rows that it learns from."""
    held_out: float | None
    """Of those that it is validated with."""

    def beats(self, other: Losses) -> bool:
        """Whether the validation loss is lower, or the training loss where none is measured."""
        if self.held_out is None or other.held_out is None:
            return self.train < other.train
        return self.held_out < other.held_out


class Learner:
    """A model that learns from a sample: all at once, unless a subclass has it learn in epochs."""

    iterative: ClassVar[bool] = False
    """Whether it learns in epochs; else the first one is all."""
    overfits: ClassVar[bool] = False
    """Whether more epochs can be worse, so that it is worth stopping early."""

    def __init__(self, estimator: Any, task: Task, train: Sample, held_out: Sample | None) -> None:
        self.estimator, self.train, self.held_out = estimator, train, held_out
        self.task: Task = task

    def advance(self, epoch: int) -> list[Losses]:
        """Learn until so many epochs are done; the losses of the new ones, or of the last."""
        weighted = {} if self.train.weights is None else {"sample_weight": self.train.weights}
        self.estimator.fit(self.train.features, self.train.target, **weighted)
        return [self.losses(epoch)]

    def rewind(self, epoch: int) -> None:
        """Make the model what it was after an epoch: its best one."""

    def mark(self) -> None:
        """Remember the model as it is now, as its best one so far."""

    def stride(self, epochs: int, done: int) -> int:
        """Epochs that are best learnt in one go after so many are done, so that looking at the model costs little."""
        return 1

    def predict(self, features: Array) -> Array:
        """Probabilities (rows, classes), or values."""
        found: Array
        found = (
            self.estimator.predict(features) if self.task == "regression" else self.estimator.predict_proba(features)
        )
        return found

    def finished(self) -> Any:
        """The estimator that predicts by itself."""
        return self.estimator

    @property
    def state(self) -> dict[str, Any]:
        """All that it takes to go on with the same samples."""
        return {"estimator": self.estimator}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what another one's `state` was."""
        for name, value in state.items():
            setattr(self, name, value)

    def losses(self, epoch: int) -> Losses:
        """Those of the model as it is."""
        held_out = None if self.held_out is None else self._loss(self.held_out)
        return Losses(epoch, self._loss(self.train), held_out)

    def _loss(self, sample: Sample) -> float:
        return loss(self.task, sample.target, self.predict(sample.features))


class Boosting(Learner):
    """Gradient boosting by histograms, a tree (of each class) per epoch; it measures its losses while it grows."""

    iterative = True
    overfits = True

    def stride(self, epochs: int, done: int) -> int:
        """Each time that it goes on, it begins by sorting the rows into bins and through all trees again."""
        return max(1, min(epochs // 20, max(25, done // 8)))

    def advance(self, epoch: int) -> list[Losses]:
        """Grow more trees."""
        before = max(0, len(getattr(self.estimator, "train_score_", ())) - 1)
        self.estimator.set_params(max_iter=epoch, n_iter_no_change=epoch + 1)
        validation = {}
        if self.held_out is not None:
            validation = {"X_val": self.held_out.features, "y_val": self.held_out.target}
        self.estimator.fit(self.train.features, self.train.target, sample_weight=self.train.weights, **validation)
        unit = -1.0 if self.task == "classification" else -2.0  # its squared error is half of one
        train, held_out = unit * self.estimator.train_score_, unit * self.estimator.validation_score_
        return [
            Losses(done, float(train[done]), None if self.held_out is None else float(held_out[done]))
            for done in range(before + 1, len(train))
        ]

    def rewind(self, epoch: int) -> None:
        """Cut the later trees off."""
        self.estimator._predictors = self.estimator._predictors[:epoch]
        self.estimator.set_params(max_iter=epoch)

    @property
    def state(self) -> dict[str, Any]:
        """See Learner. The arrays of all trees are one behind the other, as many small ones take long to write."""
        bare = copy.copy(self.estimator)
        trees = [tree for each in bare._predictors for tree in each]
        bare._predictors = []
        arrays = {name: [getattr(tree, name) for tree in trees] for name in TREE}
        return {
            "estimator": bare,
            "trees": {name: np.concatenate(each) for name, each in arrays.items()},
            "lengths": {name: np.array([len(array) for array in each]) for name, each in arrays.items()},
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """See Learner."""
        self.estimator = state["estimator"]
        arrays = [np.split(state["trees"][name], np.cumsum(state["lengths"][name])[:-1]) for name in TREE]
        trees = [TreePredictor(*each) for each in zip(*arrays, strict=True)]
        size = self.estimator.n_trees_per_iteration_
        self.estimator._predictors = [trees[first : first + size] for first in range(0, len(trees), size)]


class Forest(Learner):
    """Independent trees, one per epoch: more are never worse."""

    iterative = True

    def stride(self, epochs: int, done: int) -> int:
        """All trees are asked whenever it is looked at."""
        return max(1, min(epochs // 10, max(25, done // 4)))

    def advance(self, epoch: int) -> list[Losses]:
        """Grow more trees."""
        self.estimator.set_params(n_estimators=epoch)
        self.estimator.fit(self.train.features, self.train.target, sample_weight=self.train.weights)
        return [self.losses(epoch)]

    def finished(self) -> Any:
        """It, in one thread: a row is not worth more."""
        return self.estimator.set_params(n_jobs=None)


class Network(Learner):
    """A neural network, a pass over the rows per epoch; targets that are numbers are standardized inside."""

    iterative = True
    overfits = True
    best: tuple[list[Array], list[Array]] | None = None
    """Weights and biases of the best epoch so far."""

    def __init__(self, estimator: Any, task: Task, train: Sample, held_out: Sample | None) -> None:
        super().__init__(estimator, task, train, held_out)
        numbers = task == "regression"
        self._centre = float(train.target.mean()) if numbers else 0.0
        self._scale = (float(train.target.std()) or 1.0) if numbers else 1.0
        self._target = (train.target - self._centre) / self._scale if numbers else train.target
        self._classes = None if numbers else np.unique(train.target)

    def advance(self, epoch: int) -> list[Losses]:
        """Pass over the rows until so many passes are done."""
        first = {} if self._classes is None else {"classes": self._classes}
        done = len(getattr(self.estimator, "loss_curve_", ()))
        for _ in range(done, epoch):
            self.estimator.partial_fit(self.train.features, self._target, self.train.weights, **first)
        return [self.losses(epoch)]

    def predict(self, features: Array) -> Array:
        """See Learner."""
        found = super().predict(features)
        return found * self._scale + self._centre if self.task == "regression" else found

    def mark(self) -> None:
        """Copy the weights."""
        model = self.estimator
        self.best = ([each.copy() for each in model.coefs_], [each.copy() for each in model.intercepts_])

    def rewind(self, epoch: int) -> None:
        """Take the best epoch's weights."""
        if self.best is not None:
            self.estimator.coefs_, self.estimator.intercepts_ = self.best

    def finished(self) -> Any:
        """It with the target's scale in its last layer."""
        self.estimator.coefs_[-1] = self.estimator.coefs_[-1] * self._scale
        self.estimator.intercepts_[-1] = self.estimator.intercepts_[-1] * self._scale + self._centre
        return self.estimator

    @property
    def state(self) -> dict[str, Any]:
        """See Learner."""
        return {"estimator": self.estimator, "best": self.best}
