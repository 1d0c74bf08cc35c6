"""Templates for tables: closed forms, scikit-learn's metrics, seeds, resuming, cross-validation, search spaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics  # type: ignore[import-untyped]
from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from tabular_training import Watched, config_of, load, train

from tuners.automl.data import open_source, split
from tuners.automl.tabular import Classification, Linear, Regression, files
from tunesmith.automl import Table, Template
from tunesmith.domain import Space

FAMILIES = Classification.families
SMALL = {"epochs": 12, "patience": 4}


def table_of(template: type[Template], path: str, root: Path) -> Table:
    return open_source(config_of(template, path), str(root), None, "").load()


def test_the_platform_knows_the_templates_without_importing_what_trains_them() -> None:
    code = "import sys, tuners.automl; sys.exit(any(name in sys.modules for name in ('sklearn', 'pandas', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_linear_is_least_squares_in_the_units_of_the_data(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    slopes = np.array([3.0, -0.002, 1e4])
    features = generator.normal([1.0, 5e6, 1e-3], [2.0, 1e4, 1e-4], (60, 3))
    target = features @ slopes + 17.0 + generator.normal(0, 2, 60)
    pd.DataFrame(features, columns=["a", "b", "c"]).assign(y=target).to_csv(tmp_path / "plain.csv", index=False)
    trained = train(Linear, "plain.csv", tmp_path, training={"validation_split": 0})
    design = np.column_stack([np.ones(60), features - features.mean(axis=0)])
    expected, *_ = np.linalg.lstsq(design, target, rcond=None)
    residual = target - design @ expected
    found = trained.details["coefficients"]
    assert isinstance(found, dict)
    np.testing.assert_allclose([found[name] for name in "abc"], expected[1:], rtol=1e-6)
    assert trained.details["intercept"] == pytest.approx(expected[0] - features.mean(axis=0) @ expected[1:], rel=1e-6)
    assert trained.metrics["r2"] == pytest.approx(1 - residual @ residual / np.sum((target - target.mean()) ** 2))


def test_a_line_through_four_points(tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_text("x,y\n0,1\n1,3\n2,5\n3,7\n")
    trained = train(Linear, "line.csv", tmp_path, training={"validation_split": 0})
    assert trained.details["coefficients"] == {"x": pytest.approx(2, abs=1e-9)}
    assert trained.details["intercept"] == pytest.approx(1, abs=1e-9)
    assert trained.metrics["r2"] == pytest.approx(1)


def test_the_linear_task_follows_the_target(tmp_path: Path) -> None:
    assert train(Linear, "sample:diabetes", tmp_path).classes is None
    assert train(Linear, "sample:breast_cancer", tmp_path).classes == (0, 1)
    assert train(Linear, "sample:wine", tmp_path, model={"task": "classification"}).classes == (0, 1, 2)


@pytest.mark.parametrize("penalty", ["none", "l1", "l2", "elasticnet"])
@pytest.mark.parametrize("path", ["sample:diabetes", "sample:breast_cancer"])
def test_every_penalty_learns(penalty: str, path: str, tmp_path: Path) -> None:
    trained = train(Linear, path, tmp_path, model={"penalty": penalty, "alpha": 0.5})
    assert trained.metrics.get("r2", 1) > 0.4
    assert trained.metrics.get("accuracy", 1) > 0.9


def test_logistic_metrics_are_those_of_scikit_learn_on_the_same_split(tmp_path: Path) -> None:
    trained = train(Linear, "sample:breast_cancer", tmp_path, training={"seed": 3})
    inside, outside = split(table_of(Linear, "sample:breast_cancer", tmp_path), 0.2, 3, stratify=True)
    scaler = StandardScaler().fit(inside.features)
    model = LogisticRegression(max_iter=10_000).fit(scaler.transform(inside.features), inside.target)
    chances = model.predict_proba(scaler.transform(outside.features))
    expected = {
        "val_loss": sklearn_metrics.log_loss(outside.target, chances),
        "accuracy": sklearn_metrics.accuracy_score(outside.target, chances.argmax(axis=1)),
        "f1": sklearn_metrics.f1_score(outside.target, chances.argmax(axis=1), average="macro"),
        "roc_auc": sklearn_metrics.roc_auc_score(outside.target, chances[:, 1]),
    }
    assert {name: trained.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_boosting_in_steps_is_boosting_in_one_go(tmp_path: Path) -> None:
    trained = train(Regression, "sample:diabetes", tmp_path, training={"epochs": 60})
    inside, outside = split(table_of(Regression, "sample:diabetes", tmp_path), 0.2, 0)
    kept = int(trained.metrics["epochs"])
    assert kept < 60
    model = HistGradientBoostingRegressor(max_iter=kept, early_stopping=False, random_state=0)
    predicted = model.fit(inside.features.to_numpy(), inside.target).predict(outside.features.to_numpy())
    assert trained.metrics["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(outside.target, predicted))
    assert trained.metrics["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(outside.target, predicted))
    assert trained.metrics["r2"] == pytest.approx(sklearn_metrics.r2_score(outside.target, predicted))
    assert trained.metrics["val_loss"] == pytest.approx(sklearn_metrics.mean_squared_error(outside.target, predicted))


@pytest.mark.parametrize("architecture", ["gradient_boosting", "mlp"])
def test_the_epoch_with_the_lowest_validation_loss_is_kept(architecture: str, tmp_path: Path) -> None:
    run = Watched()
    training = {"epochs": 300, "patience": 5, "learning_rate": 0.1 if architecture == "gradient_boosting" else 0.02}
    trained = train(
        Regression, "sample:diabetes", tmp_path, run, model={"architecture": architecture}, training=training
    )
    losses = {step: found["val_loss"] for step, found, _ in run.reports}
    best = min(losses, key=lambda step: losses[step])
    assert trained.metrics["epochs"] == best
    assert trained.metrics["val_loss"] == pytest.approx(losses[best])
    assert best + 5 <= max(losses) < 300


def test_without_early_stopping_every_epoch_is_learnt(tmp_path: Path) -> None:
    training = {"epochs": 40, "early_stopping": False}
    assert train(Regression, "sample:diabetes", tmp_path, training=training).metrics["epochs"] == 40


def test_with_nothing_held_out_all_rows_are_learnt_from(tmp_path: Path) -> None:
    trained = train(Regression, "sample:diabetes", tmp_path, training={"epochs": 5, "validation_split": 0})
    assert trained.rows == 442
    assert "val_loss" not in trained.metrics
    assert trained.metrics["r2"] > 0


@pytest.mark.parametrize("architecture", [*FAMILIES[:-1], pytest.param("ensemble", marks=pytest.mark.slow)])
@pytest.mark.parametrize("template", [Classification, Regression])
def test_the_same_seed_gives_the_same_metrics(template: type[Template], architecture: str, tmp_path: Path) -> None:
    path = "sample:iris" if template is Classification else "sample:diabetes"
    model = {"architecture": architecture}
    first = train(template, path, tmp_path, model=model, training=SMALL)
    again = train(template, path, tmp_path, model=model, training=SMALL)
    other = train(template, path, tmp_path, model=model, training={**SMALL, "seed": 1})
    assert first.metrics == again.metrics != other.metrics


@pytest.mark.parametrize("architecture", ["gradient_boosting", "mlp", "random_forest", "extra_trees"])
@pytest.mark.parametrize("template", [Classification, Regression])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    template: type[Template], architecture: str, tmp_path: Path
) -> None:
    path = "sample:iris" if template is Classification else "sample:diabetes"
    sections: dict[str, Any] = {"model": {"architecture": architecture}, "training": {"epochs": 12}}
    undisturbed = Watched()
    expected = train(template, path, tmp_path, undisturbed, **sections)
    for saves in (1, len(undisturbed.states) // 2, len(undisturbed.states)):
        lost = Watched(killed_after=saves)
        with pytest.raises(KeyboardInterrupt):
            train(template, path, tmp_path, lost, **sections)
        resumed = Watched(state=lost.states[-1])
        assert train(template, path, tmp_path, resumed, **sections).metrics == expected.metrics
        assert lost.reports + resumed.reports == undisturbed.reports


@pytest.mark.slow
def test_cross_validation_reports_the_mean_so_far_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    training = {"epochs": 10, "early_stopping": False}
    sections: dict[str, Any] = {"training": training, "model": {"max_leaf_nodes": 4}}
    run = Watched(folds=4)
    trained = train(Classification, "sample:wine", tmp_path, run, **sections)
    folds = trained.details["folds"]
    assert isinstance(folds, list)
    accuracy = [fold["accuracy"] for fold in folds if isinstance(fold, dict)]
    for number in range(1, 5):
        step, metrics, _ = run.reports[number - 1]
        assert step == number
        assert metrics["cv_accuracy"] == pytest.approx(np.mean(accuracy[:number]))
    assert trained.metrics["cv_accuracy"] == pytest.approx(np.mean(accuracy))
    assert trained.metrics["cv_accuracy_stderr"] == pytest.approx(np.std(accuracy, ddof=1) / 2)
    percents = [percent for *_, percent in run.reports]
    assert percents == sorted(percents, key=float)
    assert {files.from_bytes(state).get("fold") for state in run.states} >= {1, 2, 3, 4}
    for saves in range(1, len(run.states) + 1, 3):
        lost = Watched(folds=4, killed_after=saves)
        with pytest.raises(KeyboardInterrupt):
            train(Classification, "sample:wine", tmp_path, lost, **sections)
        resumed = Watched(folds=4, state=lost.states[-1])
        assert train(Classification, "sample:wine", tmp_path, resumed, **sections).metrics == trained.metrics
        assert lost.reports + resumed.reports == run.reports
        assert len(resumed.states) == len(run.states) - saves


def test_a_fold_is_measured_after_the_epochs_that_the_others_found_best(tmp_path: Path) -> None:
    run = Watched(folds=4)
    model = {"architecture": "mlp", "network_learning_rate": 0.02}
    trained = train(Regression, "sample:diabetes", tmp_path, run, model=model)
    own = next(found for step, found, _ in run.reports if step == 4)
    assert trained.metrics["epochs"] == round(trained.metrics["cv_epochs"])
    assert trained.metrics["cv_epochs"] == own["cv_epochs"]
    assert trained.metrics["cv_val_loss"] > own["cv_val_loss"]  # each at its own best epoch: that flatters
    resumed = Watched(folds=4, state=run.states[3])
    assert train(Regression, "sample:diabetes", tmp_path, resumed, model=model).metrics == trained.metrics


def test_when_time_is_over_what_was_learnt_is_kept(tmp_path: Path) -> None:
    run = Watched(ends_after=3)
    model = {"architecture": "mlp"}
    trained = train(Classification, "sample:digits", tmp_path, run, model=model, training={"early_stopping": False})
    assert trained.metrics["epochs"] == 3
    run = Watched(folds=5, ends_after=2)
    trained = train(Regression, "sample:diabetes", tmp_path, run, training={"epochs": 5})
    assert [step for step, found, _ in run.reports if "cv_r2" in found] == [1, 2]
    assert len(trained.details["folds"]) == 2  # type: ignore[arg-type]


def test_rare_classes_weigh_more_when_they_are_asked_to(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rare = np.arange(400) % 10 == 0
    table = pd.DataFrame({"x": generator.normal(0, 1, 400) + 1.2 * rare, "y": np.where(rare, "rare", "usual")})
    table.to_csv(tmp_path / "rare.csv", index=False)
    for architecture in ("gradient_boosting", "mlp", "random_forest", "linear", "svm"):
        sections: dict[str, Any] = {"training": {"epochs": 10}}
        model = {"architecture": architecture, "forest_min_samples_leaf": 20}
        plain = train(Classification, "rare.csv", tmp_path, model=model, **sections)
        weighted = train(Classification, "rare.csv", tmp_path, model={**model, "class_weight": "balanced"}, **sections)
        rows = [{"x": 1.2}]
        chance = [load(Classification, each, tmp_path).predict(rows).probabilities for each in (plain, weighted)]
        assert chance[0] is not None
        assert chance[1] is not None
        assert chance[1][0]["rare"] > chance[0][0]["rare"] + 0.1


@pytest.mark.parametrize("template", [Classification, Regression])
def test_the_first_points_of_every_family_lie_in_the_space_and_make_a_configuration(template: type[Template]) -> None:
    config = template.read({"hyperparameter_search": {"enabled": True, "models": ["auto"]}})
    space = Space(parameters=template.dimensions(config))
    points = template.first_points(config)
    assert [point["architecture"] for point in points[:1]] == ["gradient_boosting"]
    assert {point["architecture"] for point in points} == set(template.families)
    for point in points:
        assert space.problems(point) == []
        config.with_values(point)


def test_linear_searches_its_penalty() -> None:
    config = Linear.read({"hyperparameter_search": {"enabled": True}})
    space = Space(parameters=Linear.dimensions(config))
    assert [space.problems(point) for point in Linear.first_points(config)] == [[]]


def test_boosting_beats_the_mean_by_far_on_every_bundled_table(tmp_path: Path) -> None:
    assert load_diabetes().target.shape == (442,)
    for name, least in (("breast_cancer", 0.93), ("wine", 0.9), ("iris", 0.85)):
        trained = train(Classification, f"sample:{name}", tmp_path, training={"epochs": 50})
        assert trained.metrics["accuracy"] >= least
    assert train(Regression, "sample:diabetes", tmp_path).metrics["r2"] > 0.3
