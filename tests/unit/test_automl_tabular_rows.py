"""What tables may hold: missing cells, categories, bad data; and predictions from the written file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io  # type: ignore[import-untyped]
from tabular_training import Watched, load, train

from tuners.automl.tabular import Classification, Linear, Regression, files
from tunesmith.automl import Template
from tunesmith.errors import InvalidData

FAMILIES = Classification.families


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Numbers and categories with missing cells, a constant, an empty column, and a text of its own in every row."""
    generator = np.random.default_rng(0)
    rows = 160
    size = generator.normal(10, 3, rows)
    colour = generator.choice(["red", "green", "blue"], rows)
    table = pd.DataFrame(
        {
            "size": np.where(np.arange(rows) % 9 == 0, np.nan, size),
            "colour": pd.Series(colour, dtype=object).where(np.arange(rows) % 7 != 0, None),
            "constant": 4,
            "empty": np.nan,
            "note": [f"note {number}" for number in range(rows)],
            "price": size * 2 + (colour == "red") * 5 + generator.normal(0, 0.5, rows),
        }
    )
    table.to_csv(tmp_path / "mixed.csv", index=False)
    table.assign(price=np.where(table.price > 20, "high", "low")).to_csv(tmp_path / "classes.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize(("template", "path"), [(Classification, "classes.csv"), (Regression, "mixed.csv")])
def test_every_family_learns_from_mixed_columns_and_predicts_from_its_file(
    template: type[Template], path: str, architecture: str, mixed: Path
) -> None:
    trained = train(
        template, path, mixed, model={"architecture": architecture}, training={"epochs": 20, "batch_size": 8}
    )
    assert trained.metrics.get("r2", 1) > 0.3
    assert trained.metrics.get("accuracy", 1) > 0.7
    predictor = load(template, trained, mixed)
    rows: list[dict[str, Any]] = [
        {"size": 16, "colour": "red", "constant": 4, "note": "note 3"},
        {"size": 3.5, "colour": "a colour that nobody has seen"},
        {"size": None, "colour": None, "empty": 1.0, "note": None},
        {},
    ]
    found = predictor.predict(rows)
    assert predictor.predict(rows[:1]).values == found.values[:1]
    if template is Classification:
        assert found.values[:2] == ["high", "low"]
        assert found.probabilities is not None
        assert [set(each) for each in found.probabilities] == [{"high", "low"}] * 4
        assert [sum(each.values()) for each in found.probabilities] == pytest.approx([1] * 4)
    else:
        assert found.values[0] > found.values[1] + 5
        assert found.probabilities is None


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_file_predicts_what_the_metrics_were_measured_by(architecture: str, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    training = {"epochs": 8, "validation_split": 0}
    trained = train(Classification, "sample:digits", tmp_path, model={"architecture": architecture}, training=training)
    data = load_digits(as_frame=True)
    found = load(Classification, trained, tmp_path).predict(data.data.to_dict("records"))
    assert np.mean(np.array(found.values) == data.target) == pytest.approx(trained.metrics["accuracy"])
    assert trained.classes == tuple(range(10))


def test_true_and_false_are_classes_as_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": range(40), "y": [number > 20 for number in range(40)]})
    table.to_parquet(tmp_path / "flags.parquet")
    found = load(Linear, train(Linear, "flags.parquet", tmp_path), tmp_path).predict([{"x": 0}, {"x": 39}])
    assert found.values == [False, True]
    assert found.probabilities is not None
    assert set(found.probabilities[0]) == {"false", "true"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sise": 3}, "row 2: \"sise\" is no column that the model knows (did you mean 'size'?)"),
        ({"price": 3}, 'row 2: "price" is what the model predicts; leave it out'),
        ({"size": "big"}, "row 2, column 'size': \"big\" is not a number; give one, or null where it is missing"),
        ({"size": [1]}, "row 2, column 'size': [1] is not a number; give one, or null where it is missing"),
        ({"size": float("inf")}, "row 2, column 'size': the number is infinite; give a finite one, or null"),
        ({"colour": ["red"]}, "row 2, column 'colour': [\"red\"] is not a text; give one, or null where it is missing"),
    ],
)
def test_rows_that_no_model_can_take_are_refused(row: dict[str, Any], message: str, mixed: Path) -> None:
    predictor = load(Linear, train(Linear, "mixed.csv", mixed), mixed)
    with pytest.raises(InvalidData) as refusal:
        predictor.predict([{"size": 1}, row])
    assert refusal.value.message == message
    assert refusal.value.details["row"] == 2


@pytest.mark.parametrize(
    ("table", "template", "model", "message"),
    [
        (
            "x,y\n1,a\n2,a\n3,a\n",
            Classification,
            {},
            "column 'y': one class only (\"a\"); there have to be two or more",
        ),
        ("x,y\n1,a\n2,a\n3,b\n", Classification, {}, "column 'y': the class \"b\" has one row, and needs two or more"),
        ("x,y\n1,a\n2,b\n", Regression, {}, "row 1, column 'y': \"a\" is no number; for classes use the template"),
        ("x,y\n1,1\n2,2\n", Regression, {"input_dim": 3}, "model.input_dim is 3, but the data have 1 features"),
        ("x,y\n1,a\n2,b\n3,a\n4,b\n", Linear, {"output_dim": 3}, "model.output_dim is 3, but the data have 2 classes"),
        ("x,y\n5,1\n5,2\n5,3\n5,9\n", Regression, {}, "no feature has more than one value in the rows to train on"),
    ],
)
def test_data_that_teach_nothing_are_refused(
    table: str, template: type[Template], model: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text(table)
    with pytest.raises(InvalidData) as refusal:
        train(template, "bad.csv", tmp_path, model=model)
    assert message in refusal.value.message


def test_a_class_that_only_the_validation_table_has_is_named_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x,y\n1,a\n2,b\n3,a\n4,b\n")
    (tmp_path / "val.csv").write_text("x,y\n1,a\n2,c\n")
    with pytest.raises(InvalidData, match=r"validation, row 2, column 'y': \"c\" is a class that no row to train on"):
        train(Linear, "train.csv", tmp_path, data={"val_path": "val.csv"})


def test_too_few_rows_of_a_class_for_folds_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("x,y\n" + "".join(f"{number},{'ab'[number > 8]}\n" for number in range(11)))
    with pytest.raises(InvalidData, match=r"the class \"b\" has 1 rows to train on; cross-validation needs 2"):
        train(Classification, "few.csv", tmp_path, Watched(folds=3), training={"validation_split": 0.5})


def test_a_file_with_other_types_than_ours_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    skops.io.dump({"run": Path("/")}, file)
    assert zipfile.is_zipfile(file)
    with pytest.raises(InvalidData, match="types that no model here is made of"):
        files.read(file)
