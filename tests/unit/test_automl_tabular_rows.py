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


@pytest.mark.parametrize("architecture", [*FAMILIES[:-1], pytest.param("ensemble", marks=pytest.mark.slow)])
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
            "bad.csv, column 'y': one class only (\"a\"); there have to be two or more",
        ),
        ("x,y\n1,1\n2,1\n", Linear, {"task": "classification"}, "bad.csv, column 'y': one class only (1); there have"),
        (
            "x,y\n1,a\n2,a\n3,b\n",
            Classification,
            {},
            "bad.csv, line 4, column 'y': the class \"b\" has one row, and needs",
        ),
        (
            "x,y\n1,a\n2,b\n",
            Regression,
            {},
            "bad.csv, line 2, column 'y': \"a\" is no number; correct it, or for classes",
        ),
        (
            "x,y\n1,1\n2,2\n3,3\n4,oops\n",
            Regression,
            {},
            "bad.csv, line 5, column 'y': \"oops\" is no number; correct it",
        ),
        (
            "x;y\n1;1,5\n2;2\n3;3\n4;oops\n",
            Regression,
            {},
            "bad.csv, line 5, column 'y': \"oops\" is no number; correct it",
        ),
        (
            "x,y\n1,1\n2,2\n",
            Regression,
            {"input_dim": 3},
            "bad.csv: model.input_dim is 3, but the data have 1 features",
        ),
        ("x,y\n1,a\n2,b\n3,a\n4,b\n", Linear, {"output_dim": 3}, "bad.csv, column 'y': model.output_dim is 3, but the"),
        (
            "x,y\n5,1\n5,2\n5,3\n5,9\n",
            Regression,
            {},
            "bad.csv: no feature has more than one value in the rows to train",
        ),
        ("x,y\n5,1\n", Regression, {}, "bad.csv: the table has 1 row; at least 2 are needed"),
    ],
)
def test_data_that_teach_nothing_are_refused(
    table: str, template: type[Template], model: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text(table)
    with pytest.raises(InvalidData) as refusal:
        train(template, "bad.csv", tmp_path, model=model)
    assert refusal.value.message.startswith(message)
    assert refusal.value.details["file"] == "bad.csv"


@pytest.mark.parametrize("memory", [None, 1_000_000])
def test_text_for_a_number_is_named_where_only_the_validation_table_has_it(memory: int | None, tmp_path: Path) -> None:
    rows = "".join(f"{number},{number}\n" for number in range(1, 9 if memory is None else 60_000))
    (tmp_path / "train.csv").write_text("x,y\n" + rows)
    (tmp_path / "val.csv").write_text("x,y\n1,1\n2,oops\n" + "3,?\n" * (len(rows) // 20))
    with pytest.raises(InvalidData, match=r"^val.csv, line 3, column 'y': \"oops\" is (no number|text in a column of)"):
        train(
            Linear,
            "train.csv",
            tmp_path,
            model={"task": "regression"},
            data={"val_path": "val.csv"},
            resources={"memory_bytes": memory},
        )


def test_numbers_that_are_listed_as_categories_are_no_target_of_a_regression(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("x,y\n1,1\n2,2\n")
    with pytest.raises(InvalidData, match=r"^bad.csv, column 'y': it holds categories, by its type or by data.categ"):
        train(Regression, "bad.csv", tmp_path, data={"categorical": ["y"]})


def test_more_folds_than_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("x,y\n1,1\n2,2\n3,3\n4,4\n")
    with pytest.raises(InvalidData, match=r"^few.csv: 5 folds need as many rows to train on; there are 4: lower"):
        train(Regression, "few.csv", tmp_path, Watched(folds=5), training={"validation_split": 0})


def test_times_and_booleans_are_predicted_from_only_where_the_training_had_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"n": generator.normal(size=60), "b": generator.random(60) > 0.5})
    table["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 300, 60), "D")
    table["y"] = table.n + 2 * table.b + (table.t - pd.Timestamp("2024-01-01")).dt.days / 100
    table.to_csv(tmp_path / "kinds.csv", index=False)
    trained = train(Linear, "kinds.csv", tmp_path)
    assert {feature.name: feature.kind for feature in trained.features} == {"n": "number", "b": "boolean", "t": "time"}
    predictor = load(Linear, trained, tmp_path)
    found = predictor.predict([{"n": 1, "b": True, "t": "2024-07-19"}, {"n": 1, "b": 1, "t": 1721347200}]).values
    assert found == pytest.approx([5, 5], abs=1e-6)
    for row, message in (
        ({"n": "2024-07-19"}, "row 1, column 'n': \"2024-07-19\" is not a number"),
        ({"n": True}, "row 1, column 'n': true is not a number"),
        ({"b": "2024-07-19"}, "row 1, column 'b': \"2024-07-19\" is not true or false"),
        ({"b": 3}, "row 1, column 'b': 3 is not true or false"),
        ({"t": False}, "row 1, column 't': false is not a time"),
    ):
        with pytest.raises(InvalidData) as refusal:
            predictor.predict([row])
        assert refusal.value.message.startswith(message)


@pytest.mark.parametrize("template", [Linear, Regression])
def test_what_is_filled_in_and_told_apart_is_learnt_from_the_training_part_alone(
    template: type[Template], tmp_path: Path
) -> None:
    """Other cells in the rows for validation change the validation loss, and nothing of the model."""
    size = [None if number % 5 == 0 else number for number in range(60)]
    good = pd.DataFrame({"size": size, "colour": ["red", "blue", None] * 20, "y": range(60)})
    good.to_csv(tmp_path / "train.csv", index=False)
    good.to_csv(tmp_path / "same.csv", index=False)
    good.assign(size=1e9, colour="green", y=-1e6).to_csv(tmp_path / "other.csv", index=False)
    same, other = (
        train(template, "train.csv", tmp_path, data={"val_path": path}, training={"early_stopping": False})
        for path in ("same.csv", "other.csv")
    )
    assert same.metrics["train_loss"] == other.metrics["train_loss"]
    assert same.metrics["val_loss"] != other.metrics["val_loss"]
    rows = [{"size": 7, "colour": "red"}, {"colour": "green"}, {}]
    assert load(template, same, tmp_path).predict(rows) == load(template, other, tmp_path).predict(rows)


def test_a_class_that_only_the_validation_table_has_is_named_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x,y\n1,a\n2,b\n3,a\n4,b\n")
    (tmp_path / "val.csv").write_text("x,y\n1,a\n2,c\n")
    with pytest.raises(InvalidData, match=r"^val.csv, line 3, column 'y': \"c\" is a class that no row to train on"):
        train(Linear, "train.csv", tmp_path, data={"val_path": "val.csv"})


def test_too_few_rows_of_a_class_for_folds_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("x,y\n" + "".join(f"{number},{'ab'[number > 8]}\n" for number in range(11)))
    with pytest.raises(
        InvalidData, match=r"^few.csv, column 'y': the class \"b\" has 1 rows to train on; cross-validation needs 2"
    ):
        train(Classification, "few.csv", tmp_path, Watched(folds=3), training={"validation_split": 0.5})


def test_a_file_with_other_types_than_ours_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    skops.io.dump({"run": Path("/")}, file)
    assert zipfile.is_zipfile(file)
    with pytest.raises(InvalidData, match="types that no model here is made of"):
        files.read(file)
