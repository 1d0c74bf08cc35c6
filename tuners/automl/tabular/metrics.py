"""The metrics of a task, as scikit-learn has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics  # type: ignore[import-untyped]

from tuners.automl.tabular.spaces import Task

Array = NDArray[Any]


def loss(task: Task, target: Array, predicted: Array) -> float:
    """Cross-entropy of probabilities (rows, classes) with the classes' numbers, or the mean squared error."""
    if task == "regression":
        return float(np.mean((target - predicted) ** 2))
    least = np.finfo(predicted.dtype).eps
    right = predicted[np.arange(len(target)), target]
    return float(-np.log(right.clip(least, 1 - least)).mean())  # log_loss checks for longer than an epoch takes


def scores(task: Task, target: Array, predicted: Array) -> dict[str, float]:
    """accuracy, f1 and roc_auc, or r2, mae and rmse; without those that have no value for these rows."""
    found = _regression(target, predicted) if task == "regression" else _classification(target, predicted)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _regression(target: Array, predicted: Array) -> dict[str, float]:
    found = {
        "mae": metrics.mean_absolute_error(target, predicted),
        "rmse": metrics.root_mean_squared_error(target, predicted),
    }
    return found if len(target) < 2 else {"r2": metrics.r2_score(target, predicted), **found}


def _classification(target: Array, predicted: Array) -> dict[str, float]:
    """`f1`: the mean over classes; `roc_auc`: of several classes each against the others, weighted by its rows."""
    guess = predicted.argmax(axis=1)
    found = {
        "accuracy": metrics.accuracy_score(target, guess),
        "f1": metrics.f1_score(target, guess, average="macro"),
    }
    classes = predicted.shape[1]
    if len(np.unique(target)) < classes:
        return found
    score = predicted[:, 1] if classes == 2 else predicted
    return {**found, "roc_auc": metrics.roc_auc_score(target, score, multi_class="ovr", average="weighted")}
