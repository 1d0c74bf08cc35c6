"""How columns become what a family takes: missing cells, categories, scales; fitted to training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.model_selection import KFold  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import (  # type: ignore[import-untyped]
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from tuners.automl.tabular.rows import Rows
from tuners.automl.tabular.spaces import Task
from tunesmith.automl import Feature

Form = Literal["native", "trees", "scaled"]
"""`native`: missing numbers and categories stay what they are; `trees`: missing numbers do; `scaled`: nothing does."""
FEW: dict[Form, int] = {"native": 200, "trees": 50, "scaled": 50}
"""Distinct values up to which categories are told apart; beyond, the target's mean stands for a category."""
REPEATED = 0.5
"""Share of rows whose value others have too, from which on a text with many values is more than a name of its row."""
SMOOTH = 10.0
"""Rows of the mean of all that are mixed into the mean of a category: few rows of its own say little."""
RARE = 2
"""Rows that a category needs to be told from other rare ones."""


def preparation(rows: Rows, features: Sequence[Feature], form: Form, task: Task, seed: int) -> ColumnTransformer:
    """An unfitted preparation for such rows: a table by position to an array of numbers.

    Columns that say nothing (a single value, or another text in nearly every row) are left out; where `form` is
    native, categories come first.
    Raises InvalidData: no column says anything.
    """
    few: list[int] = []
    many: list[int] = []
    numbers: list[int] = []
    for position, feature in enumerate(features):
        distinct = rows.frame[position].nunique(dropna=False)
        if distinct < 2:
            continue
        if feature.kind != "category":
            numbers.append(position)
        elif distinct <= FEW[form]:
            few.append(position)
        elif rows.frame[position].duplicated(keep=False).mean() >= REPEATED:
            many.append(position)
    if not (few or many or numbers):
        problem = "no feature has more than one value in the rows to train on: there is nothing to learn from"
        raise rows.origin.invalid(problem)
    parts = [
        ("categories", _categories(form), few),
        ("means", _means(task, rows.target, form, seed), many),
        ("numbers", "passthrough" if form != "scaled" else _scaled(), numbers),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)


def categorical(prepared: ColumnTransformer) -> list[int]:
    """The columns of a fitted native preparation's output that are categories."""
    found = prepared.output_indices_.get("categories", slice(0, 0))
    return list(range(found.start, found.stop))


def _categories(form: Form) -> Any:
    if form == "native":
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False)


def _means(task: Task, target: NDArray[Any], form: Form, seed: int) -> Any:
    """The target's mean of a category's other rows: a row's own target would tell itself."""
    kind = "continuous" if task == "regression" else "binary" if target.max() < 2 else "multiclass"
    encoder: Any = TargetEncoder
    means = encoder(target_type=kind, smooth=SMOOTH, cv=KFold(5, shuffle=True, random_state=seed))
    return make_pipeline(means, StandardScaler()) if form == "scaled" else means


def _scaled() -> Any:
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
