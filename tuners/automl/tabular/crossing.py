"""Cross-validation: a model per fold, each compared by the rows that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold  # type: ignore[import-untyped]

from tuners.automl.tabular.rows import Problem, Rows
from tunesmith.scenarios.parameters import shown

Fold = Mapping[str, Any]
"""What a fold found: its `metrics`, and the `epoch` that was best."""


def folds_of(problem: Problem, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows to train on and to compare by, `count` times; every row is once among the latter, every class in proportion.

    Raises InvalidData: there are fewer rows, or a class has fewer than 2.
    """
    train = problem.train
    if len(train) < count:
        text = f"{count} folds need as many rows to train on; there are {len(train)}"
        raise train.origin.invalid(f"{text}: lower hyperparameter_search.folds")
    if problem.classes is not None:
        sizes = np.bincount(train.target, minlength=len(problem.classes))
        if sizes.min() < 2:
            name = shown(problem.classes[int(sizes.argmin())])
            text = f"the class {name} has {sizes.min()} rows to train on"
            raise train.origin.invalid(f"{text}; cross-validation needs 2 of each class", problem.target)
        if sizes.max() < count:
            count = int(sizes.max())
    kind = KFold if problem.classes is None else StratifiedKFold
    for inside, outside in kind(count, shuffle=True, random_state=seed).split(train.target, train.target):
        yield train.take(inside), train.take(outside)


def means(folds: Sequence[Fold]) -> dict[str, float]:
    """`cv_` and each metric's name -> its mean over the folds that have it."""
    names = dict.fromkeys(name for fold in folds for name in fold["metrics"])
    return {f"cv_{name}": float(np.mean(_values(folds, name))) for name in names}


def summary(folds: Sequence[Fold]) -> dict[str, float]:
    """The means, and how sure they are: `cv_<metric>_stderr`."""
    found = means(folds)
    for name in list(found):
        values = _values(folds, name.removeprefix("cv_"))
        if len(values) > 1:
            found[f"{name}_stderr"] = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return found


def best_epoch(folds: Sequence[Fold]) -> int:
    """The epoch that was best on average."""
    return max(1, round(float(np.mean([fold["epoch"] for fold in folds]))))


def epochs_of_others(folds: Sequence[Fold]) -> list[int]:
    """For each fold the epoch that was best in the others on average: its own one flatters it."""
    return [best_epoch([fold for fold in folds if fold is not own]) for own in folds]


def _values(folds: Sequence[Fold], name: str) -> list[float]:
    return [fold["metrics"][name] for fold in folds if name in fold["metrics"]]
