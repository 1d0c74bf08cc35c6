"""Linear models of data that are larger than the memory: the same as of data that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tabular_training import Watched, load, train

from tuners.automl.tabular import Classification, Linear, survey
from tuners.automl.tabular.compressing import Compressed
from tunesmith.errors import InvalidConfig, InvalidData

TINY = {"memory_bytes": 1_000_000}
PIECES = {"batch_size": 1500, "validation_split": 0}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six thousand rows, in order of their target: the worst order for what learns row by row."""
    root = tmp_path_factory.mktemp("large")
    generator = np.random.default_rng(0)
    rows = 6000
    table = pd.DataFrame({f"x{number}": generator.normal(10 * number, 1 + number, rows) for number in range(6)})
    table["kind"] = generator.choice(["a", "b", "c"], rows)
    level = table.x0 + 2 * table.x1 - table.x2 + 3.0 * (table.kind == "a")
    table["y"] = level + generator.normal(0, 1, rows) + 1e5
    table = table.sort_values("y")
    table.to_csv(root / "numbers.csv", index=False)
    table["y"] = np.where(level + generator.logistic(0, 1, rows) > level.median(), "yes", "no")
    table.sample(frac=1, random_state=0).to_csv(root / "classes.csv", index=False)
    return root


@pytest.mark.parametrize("model", [{}, {"penalty": "l2", "alpha": 50}, {"penalty": "l1", "alpha": 0.2}])
def test_least_squares_by_pieces_are_those_of_all_rows_at_once(model: dict[str, Any], large: Path) -> None:
    run = Watched()
    pieces = train(Linear, "numbers.csv", large, run, model=model, training=PIECES, resources=TINY)
    whole = train(Linear, "numbers.csv", large, model=model, training=PIECES)
    assert run.said == ["the data are larger than the memory: they are read piece by piece"]
    assert (pieces.rows, pieces.target, pieces.features) == (whole.rows, whole.target, tuple(whole.features))
    assert pieces.details["coefficients"] == pytest.approx(whole.details["coefficients"], rel=1e-4 if model else 1e-6)
    assert pieces.details["intercept"] == pytest.approx(whole.details["intercept"], rel=1e-6)
    assert pieces.metrics["r2"] == pytest.approx(whole.metrics["r2"], rel=1e-9)
    rows = [{"x0": 1, "kind": "a"}, {}]
    predicted = [load(Linear, each, large).predict(rows).values for each in (pieces, whole)]
    assert predicted[0] == pytest.approx(predicted[1], rel=1e-3)


def test_logistic_regression_by_pieces_is_as_good_as_of_all_rows_at_once(large: Path) -> None:
    training = {"batch_size": 1500, "epochs": 6}
    run = Watched()
    pieces = train(Linear, "classes.csv", large, run, training=training, resources=TINY)
    whole = train(Linear, "classes.csv", large, training=training)
    assert [step for step, *_ in run.reports] == list(range(1, len(run.reports) + 1))
    assert pieces.metrics["val_loss"] == pytest.approx(whole.metrics["val_loss"], abs=0.03)
    assert pieces.metrics["accuracy"] == pytest.approx(whole.metrics["accuracy"], abs=0.03)
    assert load(Linear, pieces, large).predict([{"x0": 9, "x1": 25, "x2": 10}]).values == ["yes"]


@pytest.mark.parametrize("path", ["numbers.csv", "classes.csv"])
def test_a_killed_one_goes_on_where_it_was(path: str, large: Path) -> None:
    training = {"batch_size": 1500, "epochs": 4}
    whole = Watched()
    expected = train(Linear, path, large, whole, training=training, resources=TINY)
    for saves in (1, 2, len(whole.states)):
        lost = Watched(killed_after=saves)
        with pytest.raises(KeyboardInterrupt):
            train(Linear, path, large, lost, training=training, resources=TINY)
        resumed = Watched(state=lost.states[-1])
        assert train(Linear, path, large, resumed, training=training, resources=TINY).metrics == expected.metrics
        assert len(resumed.states) == len(whole.states) - saves
        assert lost.reports + resumed.reports == whole.reports


@pytest.mark.parametrize(("path", "pieces"), [("numbers.csv", 4), ("classes.csv", 16)])
def test_it_can_go_on_from_every_piece(path: str, pieces: int, large: Path) -> None:
    run = Watched()
    training = {**PIECES, "epochs": 4, "early_stopping": False}
    train(Linear, path, large, run, training=training, resources=TINY)
    assert len(run.states) == pieces


def test_a_pass_ends_when_time_is_over(large: Path) -> None:
    run = Watched(over_after=9)
    training = {**PIECES, "epochs": 4}
    train(Linear, "classes.csv", large, run, training=training, resources=TINY)
    assert (len(run.reports), len(run.states)) == (2, 4)


@pytest.mark.parametrize("path", ["numbers.csv", "classes.csv"])
def test_time_that_is_over_before_anything_is_learnt_is_said(path: str, large: Path) -> None:
    with pytest.raises(InvalidConfig, match="time_limit_s: the time was over before all rows"):
        train(Linear, path, large, Watched(over_after=2), training=PIECES, resources=TINY)


@pytest.mark.parametrize("resources", [{}, TINY])
def test_columns_that_are_nearly_the_same_are_told_apart(resources: dict[str, int], tmp_path: Path) -> None:
    table = nearly_collinear(rows=6000 if resources else 500)
    table.to_csv(tmp_path / "close.csv", index=False)
    table = pd.read_csv(tmp_path / "close.csv")
    trained = train(Linear, "close.csv", tmp_path, training=PIECES, resources=resources)
    features, target = table.drop(columns="y").to_numpy(), table["y"].to_numpy()
    design = np.column_stack([np.ones(len(table)), features])
    expected, *_ = np.linalg.lstsq(design, target, rcond=None)
    residual = target - design @ expected
    found = trained.details["coefficients"]
    assert isinstance(found, dict)
    np.testing.assert_allclose([found[f"x{number}"] for number in range(4)], expected[1:], rtol=1e-6)
    r2 = 1 - residual @ residual / np.sum((target - target.mean()) ** 2)
    assert trained.metrics["r2"] == pytest.approx(r2, abs=1e-10)


def nearly_collinear(rows: int) -> pd.DataFrame:
    """Numbers whose last feature is the first, but for the seventh digit, which says something."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame({f"x{number}": generator.normal(number, 1, rows) for number in range(3)})
    noise = generator.normal(0, 1, rows)
    table["x3"] = table.x0 + 1e-7 * noise
    table["y"] = table.x0 - 2 * table.x1 + 3 * table.x2 + noise + generator.normal(0, 0.1, rows)
    return table


@pytest.mark.parametrize("resources", [{}, TINY])
def test_columns_that_are_the_same_share_their_coefficient(resources: dict[str, int], tmp_path: Path) -> None:
    table = nearly_collinear(6000).assign(x3=lambda each: each.x0)
    table.to_csv(tmp_path / "same.csv", index=False)
    trained = train(Linear, "same.csv", tmp_path, training=PIECES, resources=resources)
    found: Any = trained.details["coefficients"]
    assert [found[f"x{number}"] for number in range(4)] == pytest.approx([0.5, -2, 3, 0.5], abs=0.1)


def test_other_templates_say_how_much_memory_they_need(large: Path) -> None:
    with pytest.raises(InvalidData, match="memory"):
        train(Classification, "classes.csv", large, resources=TINY)


@pytest.mark.parametrize(
    ("train_cells", "own", "message"),
    [
        ("ab", "a" * 8000 + "c", r"^val.csv, line 8,002, column 'y': \"c\" is a class that no row to train on has"),
        ("aa", None, r"^train.csv, column 'y': one class only \(\"a\"\)"),
        ("ab" * 100_000 + "c", "a", r"^train.csv, line 200,002, column 'y': the class \"c\" has one row"),
    ],
)
def test_classes_that_teach_nothing_are_named_wherever_they_are(
    train_cells: str, own: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "ROWS", 200)
    cells = train_cells if len(train_cells) > 2 else train_cells * 40_000
    (tmp_path / "train.csv").write_text("x,y\n" + "".join(f"{n % 7},{c}\n" for n, c in enumerate(cells)))
    data = {}
    if own is not None:
        (tmp_path / "val.csv").write_text("x,y\n" + "".join(f"1,{cell}\n" for cell in own))
        data["val_path"] = "val.csv"
    with pytest.raises(InvalidData, match=message):
        train(Linear, "train.csv", tmp_path, data=data, training={"batch_size": 3000}, resources=TINY)


def test_a_triangle_stands_for_all_rows() -> None:
    generator = np.random.default_rng(1)
    features, target = generator.normal(size=(1000, 4)), generator.normal(5, 1, 1000)
    compressed = Compressed(offset=4.0)
    for start in range(0, 1000, 170):
        compressed.add(features[start : start + 170], target[start : start + 170])
    inside, outside = compressed.centred
    centred = features - features.mean(axis=0)
    np.testing.assert_allclose(inside.T @ inside, centred.T @ centred, rtol=1e-10)
    np.testing.assert_allclose(inside.T @ outside, centred.T @ (target - target.mean()), rtol=1e-9)
    assert compressed.means[1] == pytest.approx(target.mean())
