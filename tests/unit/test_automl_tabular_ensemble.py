"""Ensembles of tables: whom cross-validation gives which weight, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics  # type: ignore[import-untyped]
from tabular_training import Watched, config_of, load, train

from tuners.automl.data import open_source
from tuners.automl.tabular import Classification, Regression
from tuners.automl.tabular.ensemble import scored, weights_of

SMALL = {"epochs": 12, "patience": 4, "validation_split": 0.0}


def folds_of_three(rows: int) -> list[dict[str, Any]]:
    """What two that err differently, and one that says nothing, predict of so many rows in each of two folds."""
    target = np.arange(rows) % 10.0
    error = np.where(np.arange(rows) % 2, 1.0, -1.0)
    predictions = {"mlp": target + error, "svm": np.full(rows, 40.0), "linear": target - error}
    return [{"target": target, "predictions": predictions}] * 2


def test_members_that_err_differently_share_the_weight_and_bad_ones_have_none() -> None:
    assert weights_of("regression", folds_of_three(5000)) == {"mlp": pytest.approx(0.5), "linear": pytest.approx(0.5)}


def test_a_member_that_is_right_alone_is_alone() -> None:
    target = np.arange(5000) % 2
    right, wrong = np.eye(2)[target] * 0.8 + 0.1, np.eye(2)[1 - target]
    folds = [{"target": target, "predictions": {"svm": wrong, "mlp": right}}]
    assert weights_of("classification", folds) == {"mlp": 1.0}


def test_a_fold_is_measured_with_the_weights_that_the_others_found() -> None:
    right = np.linspace(-1, 1, 5000)
    folds = [
        {"target": right, "predictions": {"mlp": right, "svm": -right}},
        {"target": right, "predictions": {"mlp": -right, "svm": right}},
        {"target": right, "predictions": {"mlp": -right, "svm": right, "linear": right}},
    ]
    assert [fold["metrics"]["r2"] > 0.9 for fold in scored("regression", folds)] == [False, False, False]
    assert scored("regression", folds[1:])[1]["metrics"]["r2"] > 0.9
    assert scored("regression", folds[:1])[0]["metrics"]["r2"] > 0.9


def test_few_rows_say_little_of_the_members() -> None:
    few, more = (weights_of("regression", folds_of_three(rows)) for rows in (10, 100))
    assert 0.25 < few["svm"] < 1 / 3
    assert 0.1 < more["svm"] < few["svm"] < few["mlp"] < more["mlp"] < 0.5
    assert sum(few.values()) == pytest.approx(1)


@pytest.mark.parametrize(("template", "path"), [(Regression, "sample:diabetes"), (Classification, "sample:iris")])
def test_what_is_kept_predicts_as_it_was_measured(
    template: type[Regression | Classification], path: str, tmp_path: Path
) -> None:
    run = Watched(folds=3)
    sections = {"model": {"architecture": "ensemble"}, "training": SMALL}
    trained = train(template, path, tmp_path, run, **sections)
    weights = trained.details["weights"]
    assert isinstance(weights, dict)
    assert sum(float(str(weight)) for weight in weights.values()) == pytest.approx(1)
    assert [step for step, _, _ in run.reports] == [1, 2, 3]
    metric = "r2" if template is Regression else "accuracy"
    table = open_source(config_of(template, path, **sections), str(tmp_path), None, "").load()
    rows: Any = table.features.to_dict("records")
    found = load(template, trained, tmp_path).predict(rows)
    score = sklearn_metrics.r2_score if template is Regression else sklearn_metrics.accuracy_score
    assert trained.metrics[metric] == pytest.approx(score(table.target, found.values))


def test_a_class_too_rare_for_a_member_costs_the_member(tmp_path: Path) -> None:
    classes = ["rare"] * 2 + ["a", "b"] * 20
    rows = "".join(f"{number % 7},{len(name) * number % 5},{name}\n" for number, name in enumerate(classes))
    (tmp_path / "rare.csv").write_text("x,z,y\n" + rows)
    run = Watched(folds=2)
    trained = train(Classification, "rare.csv", tmp_path, run, model={"architecture": "ensemble"}, training=SMALL)
    weights = trained.details["weights"]
    assert isinstance(weights, dict)
    assert "svm" not in weights
    assert any("without svm" in said for said in run.said)


def test_it_goes_on_after_the_folds_that_an_earlier_attempt_has_done(tmp_path: Path) -> None:
    sections = {"model": {"architecture": "ensemble"}, "training": SMALL}
    whole = Watched(folds=3)
    expected = train(Regression, "sample:diabetes", tmp_path, whole, **sections)
    again = Watched(folds=3, state=whole.states[1])
    found = train(Regression, "sample:diabetes", tmp_path, again, **sections)
    assert [step for step, _, _ in again.reports] == [3]
    assert found.metrics == pytest.approx(expected.metrics)
