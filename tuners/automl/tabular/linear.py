"""Trains a linear model: least squares or logistic regression, with or without a penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import JsonValue
from sklearn.linear_model import (  # type: ignore[import-untyped]
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
)

from tuners.automl.tabular.families import Family, Making
from tuners.automl.tabular.learners import Learner
from tuners.automl.tabular.rows import problem
from tuners.automl.tabular.sections import LinearConfig, LinearModel
from tuners.automl.tabular.spaces import Task
from tuners.automl.tabular.training import Training, quiet
from tunesmith.automl import Run, Source, Trained

TURNS = 10_000
"""Iterations in which a penalized model converges, or ends as it is."""


def train(config: LinearConfig, data: Source, run: Run) -> Trained:
    """Train a linear model, piece by piece where the data are larger than the memory. Raises InvalidData."""
    from tuners.automl.tabular.streaming import train_by_pieces

    with quiet(run.threads):
        if not data.fits():
            return train_by_pieces(config, data, run)
        table = data.load()
        task = task_of(config.model, table.target)
        training = Training(config, LINEAR, problem(config, table, task, run.seed), run)
        trained = training.train()
        return replace(trained, details={**trained.details, **described(training.model, trained)})


def task_of(model: LinearModel, target: pd.Series[Any]) -> Task:
    """What is to be learnt, by the target where the configuration leaves it open."""
    if model.task != "auto":
        return model.task
    numbers = pd.api.types.is_numeric_dtype(target) and not pd.api.types.is_bool_dtype(target)
    return "regression" if numbers and not target.isin((0, 1)).all() else "classification"


def penalty_of(model: LinearModel, task: Task) -> str:
    """The penalty, by the task where the configuration leaves it open."""
    return model.penalty if model.penalty != "auto" else "none" if task == "regression" else "l2"


def least_squares(
    model: LinearModel, penalty: str, alpha: float, shape: tuple[int, ...], fit_intercept: bool = True
) -> Any:
    """The estimator of a regression; `shape`: rows and columns that it is fitted to."""
    match penalty:
        case "none":
            rounding = max(shape) * float(np.finfo(np.float64).eps)  # below it, columns are the same ones
            return LinearRegression(fit_intercept=fit_intercept, tol=rounding)
        case "l2":
            return Ridge(alpha, fit_intercept=fit_intercept)
        case "l1":
            return Lasso(alpha, fit_intercept=fit_intercept, max_iter=TURNS)
        case _:
            return ElasticNet(alpha, l1_ratio=model.l1_ratio, fit_intercept=fit_intercept, max_iter=TURNS)


def _make(given: Making) -> Any:
    model: LinearModel = given.config.model
    penalty = penalty_of(model, given.task)
    if given.task == "regression":
        return least_squares(model, penalty, model.alpha, given.train.features.shape)
    strength = np.inf if penalty == "none" else 1 / model.alpha
    if penalty in ("none", "l2"):
        return LogisticRegression(C=strength, max_iter=TURNS)
    ratio = 1.0 if penalty == "l1" else model.l1_ratio
    return LogisticRegression(C=strength, l1_ratio=ratio, solver="saga", max_iter=TURNS, random_state=given.seed)


LINEAR = Family("linear", "scaled", Learner, _make)


def described(pipeline: Any, trained: Trained) -> dict[str, JsonValue]:
    """`task`, `coefficients` and `intercept` in the units of the data; of several classes, one of each per class.

    A category's coefficient is called `column_category`; that of a number that is missing `missingindicator_column`.
    """
    names, centre, scale = _columns(pipeline["preparation"], [feature.name for feature in trained.features])
    model = pipeline["model"]
    weights = np.atleast_2d(model.coef_) / scale
    intercepts = np.atleast_1d(model.intercept_) - weights @ centre
    silent = {feature.name: 0.0 for feature in trained.features if feature.kind != "category"}
    found: list[dict[str, JsonValue]] = [
        {"coefficients": {**silent, **dict(zip(names, row, strict=True))}, "intercept": intercept}
        for row, intercept in zip(weights.tolist(), intercepts.tolist(), strict=True)
    ]
    task = "regression" if trained.classes is None else "classification"
    if len(found) == 1:
        return {"task": task, **found[0]}
    named: Mapping[str, JsonValue] = {str(name): each for name, each in zip(trained.classes or (), found, strict=True)}
    return {"task": task, "classes": dict(named)}


def _columns(preparation: Any, features: list[str]) -> tuple[list[str], Any, Any]:
    """Of each prepared column: its name, and what was taken from it and what it was divided by."""
    full = list(preparation.get_feature_names_out(features))
    short = [name.partition("__")[2] for name in full]
    names = [whole if short.count(name) > 1 else name for whole, name in zip(full, short, strict=True)]
    centre, scale = np.zeros(len(names)), np.ones(len(names))
    for part, where in preparation.output_indices_.items():
        if part in ("means", "numbers"):
            scaler = preparation.named_transformers_[part][-1]
            centre[where], scale[where] = scaler.mean_, scaler.scale_
    return names, centre, scale
