"""The data of trainings: what is read as what, in which order, and what a part of it is."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from automl_sources import Training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuners.automl.data import Table, as_category, as_number, held_out_rows, open_source, split
from tunesmith.automl import Config
from tunesmith.automl.csv_layout import MISSING
from tunesmith.automl.run import FeatureKind
from tunesmith.errors import InvalidData


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


def rows(table: Table) -> list[tuple[Any, ...]]:
    """All cells, None where one is missing."""
    frame = table.features.assign(**{"the target": table.target})
    return [tuple(None if isinstance(c, float) and math.isnan(c) else c for c in row) for row in frame.to_numpy(object)]


class TestCsv:
    def test_numbers_categories_booleans_and_times_are_told_apart(self, training: Training) -> None:
        text = "n,c,b,t,y\n1,red,true,2024-01-02,0\n,,,,1\n 2.5 , blue ,FALSE,2024-01-02T00:00:01,0\n"
        table = training.csv(text).load()
        start = datetime(2024, 1, 2, tzinfo=UTC).timestamp()
        assert rows(table) == [(1, "red", 1, start, 0), (None, None, None, None, 1), (2.5, "blue", 0, start + 1, 0)]
        assert table.kinds == {"n": "number", "c": "category", "b": "boolean", "t": "time"}
        assert [str(kind) for kind in table.features.dtypes] == ["float64", "object", "float64", "float64"]

    @pytest.mark.parametrize(
        ("cells", "kind", "values"),
        [
            ("0,1,2", "int64", [0, 1, 2]),
            ("1.0,2,3", "float64", [1.0, 2.0, 3.0]),
            ("true,false,true", "bool", [True, False, True]),
            ("a,b,a", "object", ["a", "b", "a"]),
            ("9007199254740994,1,2", "float64", [9007199254740994.0, 1.0, 2.0]),
        ],
    )
    def test_the_target_keeps_its_type(self, training: Training, cells: str, kind: str, values: list[Any]) -> None:
        text = "x,y\n" + "".join(f"1,{cell}\n" for cell in cells.split(","))
        target = training.csv(text).load().target
        assert (str(target.dtype), target.name, target.tolist()) == (kind, "y", values)

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_separator_byte_order_mark_and_line_ends(
        self, training: Training, separator: str, mark: str, end: str
    ) -> None:
        lines = ["größe", "y"], ["1", "2"], ["3", "4"]
        table = training.csv(mark + end.join(separator.join(cells) for cells in lines)).load()
        assert (rows(table), list(table.features)) == ([(1, 2), (3, 4)], ["größe"])

    def test_semicolons_go_with_decimal_commas(self, training: Training) -> None:
        assert rows(training.csv("a;y\n1,5;2\n2;3\n").load()) == [(1.5, 2), (2, 3)]

    def test_a_header_over_two_lines_and_blank_lines(self, training: Training) -> None:
        table = training.csv('\n"a\nb",y\n\n1,2\n\n').load()
        assert (rows(table), list(table.features)) == ([(1, 2)], ["a\nb"])

    def test_features_and_target_can_be_chosen_in_any_order(self, training: Training) -> None:
        table = training.csv("a,b,c\n1,2,3\n", target="b", features=["c", "a"]).load()
        assert (rows(table), table.target.name) == ([(3, 1, 2)], "b")

    def test_categories_that_look_like_numbers(self, training: Training) -> None:
        table = training.csv("zip,y\n01,007\n2,1\n,1\n", categorical=["zip", "y"]).load()
        assert rows(table) == [("01", "007"), ("2", "1"), (None, "1")]

    def test_numbers_that_turn_out_to_be_categories_late(self, training: Training) -> None:
        numbers = "".join(f"{i},{'x' * 40},0\n" for i in range(120_000))  # more than is parsed at once
        words = "".join(f"w{i},{'x' * 40},0\n" for i in range(80_000))
        table = training.csv("a,b,y\n" + numbers + words).load()
        assert table.kinds["a"] == "category"
        assert [table.features["a"][row] for row in (0, 119_999, 120_000)] == ["0", "119999", "w0"]

    def test_a_column_that_is_empty_at_first(self, training: Training) -> None:
        empty, full = f",{'x' * 40},0\n" * 120_000, f"red,{'x' * 40},0\n" * 10
        table = training.csv("a,b,y\n" + empty + full).load()
        assert table.features["a"].tolist() == [None] * 120_000 + ["red"] * 10

    def test_a_column_without_any_value_is_one_of_numbers(self, training: Training) -> None:
        table = training.csv("a,y\n,1\n,2\n").load()
        assert table.kinds == {"a": "number"}
        assert rows(table) == [(None, 1), (None, 2)]


cells_of_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(cells_of_text, st.one_of(st.none(), st.floats(-1e300, 1e300))), min_size=1, max_size=30),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.booleans(),
    size=st.integers(1, 7),
)
def test_any_csv_file_comes_in_as_it_was_written(
    training: Training,
    cells: list[tuple[str, float | None]],
    separator: str,
    quoting: Any,
    mark: bool,
    size: int,
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator="\n")
    writer.writerows([("text", "number", "y"), *((text, number, 1) for text, number in cells)])
    source = training.csv(("\ufeff" if mark else "") + stream.getvalue(), categorical=["text"])
    expected = [(None if text.strip() in MISSING else text.strip(), number, 1) for text, number in cells]
    whole = source.load()
    assert rows(whole) == expected
    pieces = list(source.batches(size))
    assert [row for piece in pieces for row in rows(piece)] == expected
    assert {len(piece.target) for piece in pieces[:-1]} <= {size}
    assert [label for piece in pieces for label in piece.features.index] == list(range(len(expected)))


class TestParquet:
    def test_every_type_of_numbers(self, training: Training) -> None:
        columns = {
            "i": pa.array([1, None], pa.int8()),
            "u": pa.array([2**63, 1], pa.uint64()),
            "h": pa.array([0.5, 1], pa.float16()),
            "d": pa.array([Decimal("1.25"), None]),
            "b": pa.array([True, None]),
            "n": pa.nulls(2),
            "y": [1, 2],
        }
        table = training.parquet(columns).load()
        assert rows(table) == [(1, 2.0**63, 0.5, 1.25, 1, None, 1), (None, 1, 1, None, None, None, 2)]
        assert {name for name, kind in table.kinds.items() if kind == "boolean"} == {"b"}
        assert set(table.kinds.values()) == {"number", "boolean"}

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (datetime(1970, 1, 2), 86_400),
            (datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC), 0.5),
            (date(1969, 12, 31), -86_400),
            (timedelta(minutes=1), 60),
        ],
    )
    def test_times_are_seconds(self, training: Training, value: Any, seconds: float) -> None:
        assert rows(training.parquet({"t": [value, None], "y": [1, 2]}).load()) == [(seconds, 1), (None, 2)]

    def test_texts_and_dictionaries_are_categories(self, training: Training) -> None:
        columns = {
            "s": [" a", None],
            "d": pa.array(["x", None]).dictionary_encode(),
            "y": [1, 2],
        }
        assert rows(training.parquet(columns).load()) == [(" a", "x", 1), (None, None, 2)]

    def test_numbers_as_categories_are_written_as_json_has_them(self, training: Training) -> None:
        columns = {"i": [1, None], "f": [1.0, math.nan], "b": [True, None], "y": [1, 2]}
        table = training.parquet(columns, categorical=["i", "f", "b"]).load()
        assert rows(table) == [("1", "1", "true", 1), (None, None, None, 2)]
        assert [as_category(value) for value in (1, 1.0, True, None)] == ["1", "1", "true", None]

    def test_float_classes_stay_floats_and_whole_ones_whole(self, training: Training) -> None:
        for values, kind in (
            ([0.0, 1.0], "float64"),
            ([0, 1], "int64"),
            ([True, False], "bool"),
            (["a", "b"], "object"),
        ):
            assert str(training.parquet({"x": [1, 2], "y": values}).load().target.dtype) == kind

    def test_infinite_numbers_and_lists_that_are_not_used_do_not_matter(self, training: Training) -> None:
        columns = {"x": [1, 2], "l": [[1], [2]], "i": [math.inf, 1], "y": [0, 1]}
        assert rows(training.parquet(columns, features=["x"]).load()) == [(1, 0), (2, 1)]

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(count=st.integers(1, 350), size=st.integers(1, 120))
    def test_batches_are_the_whole_in_pieces(self, training: Training, count: int, size: int) -> None:
        source = training.parquet({"x": range(count), "c": [str(i % 7) for i in range(count)], "y": range(count)})
        whole, pieces = source.load(), list(source.batches(size))
        pd.testing.assert_frame_equal(pd.concat([piece.features for piece in pieces]), whole.features)
        pd.testing.assert_series_equal(pd.concat([piece.target for piece in pieces]), whole.target)
        assert {len(piece.target) for piece in pieces[:-1]} <= {size}


class TestSeveralFiles:
    def test_a_directory_is_one_table_of_its_files_by_name(self, training: Training) -> None:
        training.put("d/b.csv", "y,x\n3,4\n")
        training.put("d/a.csv", "x,y\n2,1\n")
        training.put("d/.hidden.csv", "oops")
        training.put("d/README.md", "oops")
        assert rows(training.source("d").load()) == [(2, 1), (4, 3)]

    def test_files_of_parquet_with_types_that_differ_within_numbers(self, training: Training) -> None:
        training.put("d/1.parquet", {"x": [1], "y": [0]})
        training.put("d/2.parquet", {"x": [0.5], "y": [1]})
        assert rows(training.source("d/").load()) == [(1, 0), (0.5, 1)]

    def test_validation_from_a_table_of_its_own(self, training: Training) -> None:
        training.put("val.csv", "extra,y,c,x\n9,1,blue,2\n")
        table = training.csv("x,c,y\n1,red,0\n", val_path="val.csv").load()
        assert table.validation is not None
        assert rows(table.validation) == [(2, "blue", 1)]
        assert list(table.validation.features) == ["x", "c"]

    def test_batches_for_validation(self, training: Training) -> None:
        training.put("val.csv", "x,y\n5,1\n6,0\n7,1\n")
        source = training.csv("x,y\n1,0\n", val_path="val.csv")
        assert [rows(piece) for piece in source.batches(2, validation=True)] == [[(5, 1), (6, 0)], [(7, 1)]]
        assert [rows(piece) for piece in source.batches(2)] == [[(1, 0)]]


class TestOrigin:
    def test_rows_of_a_directory_are_named_by_their_files(self, training: Training) -> None:
        training.put("many/a.csv", '\nx,y\n"1\n",1\n\n2,2\n')
        training.put("many/b.parquet", {"x": ["3", "4"], "y": ["3", "4"]})
        training.put("val.csv", "x,y\n5,5\n")
        source = training.source("many/", val_path="val.csv", categorical=["x", "y"])
        table = source.load()
        assert table.validation is not None
        assert [table.origin.name, table.validation.origin.name] == ["many/", "val.csv"]
        assert [table.origin.where(row) for row in range(4)] == [
            "many/a.csv, line 3",
            "many/a.csv, line 6",
            "many/b.parquet, row 1",
            "many/b.parquet, row 2",
        ]
        error = table.origin.invalid("it is odd", "x", 3)
        assert error.message == "many/b.parquet, row 2, column 'x': it is odd"
        assert error.details == {"file": "many/b.parquet", "column": "x", "row": 2}
        assert table.origin.invalid("it is odd", "x").message == "many/, column 'x': it is odd"
        assert table.validation.origin.where(0, "y") == "val.csv, line 2, column 'y'"
        last = list(source.batches(3))[-1]
        assert last.origin.where(int(last.target.index[0])) == "many/b.parquet, row 2"


class TestSamples:
    @pytest.mark.parametrize(
        ("name", "shape", "kind"),
        [
            ("breast_cancer", (569, 30), "int64"),
            ("diabetes", (442, 10), "float64"),
            ("digits", (1797, 64), "int64"),
            ("iris", (150, 4), "int64"),
            ("wine", (178, 13), "int64"),
        ],
    )
    def test_the_tables_of_scikit_learn(self, training: Training, name: str, shape: Any, kind: str) -> None:
        table = training.source(f"sample:{name}").load()
        assert (table.features.shape, str(table.target.dtype), table.target.name) == (shape, kind, "target")

    def test_they_need_no_directory(self) -> None:
        config = Config.model_validate({"data": {"train_path": "sample:iris"}})
        assert open_source(config, None, None, "").fits()
        with pytest.raises(InvalidData, match="no such file in the training-data directory"):
            open_source(Config.model_validate({"data": {"train_path": "a.csv"}}), None, None, "").load()


class TestPlainAccess:
    def test_arrow_has_lists_and_bytes_as_they_are(self, training: Training) -> None:
        columns = {"image": [[1, 2], [3, 4]], "raw": [b"a", b"b"], "label": ["x", "y"]}
        source = training.parquet(columns)
        assert source.arrow().to_pydict() == columns
        assert source.schema().field("image").type == pa.list_(pa.int64())

    def test_arrow_refuses_a_missing_target_with_its_row(self, training: Training) -> None:
        with pytest.raises(InvalidData, match="row 2, column 'y': the target is missing") as caught:
            training.parquet({"image": [[1], [2]], "y": ["a", None]}).arrow()
        assert caught.value.details == {"file": "t.parquet", "column": "y", "row": 2}

    def test_paths_of_a_folder_of_images(self, training: Training) -> None:
        for name in ("cat/b.png", "cat/a.PNG", "dog/c.png", "dog/note.txt", "e.png"):
            training.put(f"pets/{name}", b"")
        found = training.source("pets").paths()
        assert [(path.name, label) for path, label in found] == [("a.PNG", "cat"), ("b.png", "cat"), ("c.png", "dog")]
        assert training.csv("x,y\n1,2\n").paths() == []


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "value", "number"),
        [
            ("number", 1, 1),
            ("number", "2.5", 2.5),
            ("number", 0.1, 0.1),
            ("boolean", True, 1),
            ("boolean", "false", 0),
            ("boolean", 1.0, 1),
            ("time", "1970-01-02", 86_400),
            ("time", "1970-01-02T00:00:01Z", 86_401),
            ("time", 86_400, 86_400),
        ],
    )
    def test_values_of_json_as_numbers(self, kind: FeatureKind, value: Any, number: float) -> None:
        assert as_number(value, kind) == number

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("number", "2024-01-01"),
            ("number", True),
            ("number", "true"),
            ("boolean", "2024-01-01"),
            ("boolean", 2),
            ("time", True),
            ("time", "false"),
        ],
    )
    def test_times_and_booleans_belong_to_columns_of_their_kind(self, kind: FeatureKind, value: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"is no|neither"):
            as_number(value, kind)

    def test_what_is_no_number(self) -> None:
        assert math.isnan(as_number(None))
        with pytest.raises(ValueError, match="no number"):
            as_number("red")
        for call in (as_number, as_category):
            with pytest.raises(TypeError, match="list"):
                call([1])


class TestSplit:
    @settings(max_examples=200, deadline=None)
    @given(
        classes=st.lists(st.integers(0, 4), min_size=2, max_size=80),
        share=st.floats(0.05, 0.9),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_every_class_keeps_its_share(self, classes: list[int], share: float, seed: int) -> None:
        target = np.array(classes)
        found = held_out_rows(target, share, seed, stratify=True)
        assert (found == held_out_rows(target, share, seed, stratify=True)).all()
        count = min(len(target) - 1, max(1, round(len(target) * share)))
        assert found.sum() == count
        sizes = np.bincount(target)
        sizes = sizes[sizes > 0]
        if sizes.min() < 2 or len(sizes) > len(target) - count:
            return
        taken = np.bincount(target[found], minlength=5)[np.unique(target)]
        assert (taken < sizes).all()
        free = taken < sizes - 1  # the others gave a row to training, which others hold out for them
        if free.all():
            assert (np.abs(taken - sizes * count / len(target)) < 1).all()

    def test_another_seed_another_part(self) -> None:
        target = np.arange(100)
        assert (held_out_rows(target, 0.2, 0) != held_out_rows(target, 0.2, 1)).any()

    def test_the_parts_are_the_table(self, training: Training) -> None:
        table = training.source("sample:iris").load()
        train, validation = split(table, 0.2, 7, stratify=True)
        assert (len(train.target), len(validation.target)) == (120, 30)
        assert validation.target.value_counts().to_dict() == {0: 10, 1: 10, 2: 10}
        both = pd.concat([train.features, validation.features]).sort_values(list(table.features))
        assert both.to_numpy().tolist() == table.features.sort_values(list(table.features)).to_numpy().tolist()
        assert list(train.features.index) == list(range(120))

    def test_a_table_of_one_row_is_named(self, training: Training) -> None:
        with pytest.raises(InvalidData, match=r"^t.csv: the table has 1 row; at least 2"):
            split(training.csv("x,y\n1,2\n").load(), 0.2, 0)

    def test_one_row_cannot_be_split(self) -> None:
        with pytest.raises(InvalidData, match="at least 2"):
            held_out_rows(np.array([1]), 0.2, 0)
