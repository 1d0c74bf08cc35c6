"""What is wrong with the data of a training: refused with file, column, row, and what to do."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from automl_sources import Training

from tuners.automl.data import Source, memory
from tunesmith.automl import Config
from tunesmith.automl.places import check_place
from tunesmith.errors import InvalidConfig, InvalidData

OWN = "s3://own/prefix"
"""Where the platform keeps its own files."""


@pytest.fixture
def training(tmp_path: Path) -> Training:
    root = tmp_path / "training"
    root.mkdir()
    return Training(root)


def refused(source: Any) -> InvalidData:
    """What `load` says; `batches` has to say the same."""
    with pytest.raises(InvalidData) as caught:
        source.load()
    with pytest.raises(InvalidData) as again:
        next(source.batches(2))
    assert str(again.value) == str(caught.value)
    return caught.value


NUMBERS = "1,2\n" * 20


class TestCsv:
    @pytest.mark.parametrize(
        ("text", "column", "row", "words"),
        [
            ("", None, None, "the file is empty"),
            ("\n \n", None, None, "only blank lines"),
            ("a,b\n", None, None, "the columns' names, and no rows"),
            ("a,b\n\n\n", None, None, "the columns' names, and no rows"),
            ("a,b\n1,2\n3\n", None, 3, "line 3: it has 1 cells, and the header 2; write all of them"),
            ('a,b\n\n"1\n",2\n\n1,2,3\n', None, 6, "line 6: it has 3 cells"),
            ("a,a,b\n1,2,3\n", "a", None, "2 columns have this name; rename"),
            (",a,b\n1,2,3\n", None, None, "column 1 has no name; give it one"),
            (f"a,b\n{NUMBERS}?,1\n?,1\n", "a", 22, '"?" is text in a column of numbers (2 cells are text, 20'),
            (f"a,b\n{NUMBERS}1,x\n", "b", 22, "list the column under data.categorical"),
            (f"a,b\ntrue,1\n{NUMBERS}", "a", 2, '"true" is text in a column of numbers (1 cell is text, 20'),
            (f"a,b\n{NUMBERS}{'y' * 500},1\n", "a", 22, '..." is text'.replace('..."', "...")),
            ("a,b\n1,2\n1,\n", "b", 3, "the target is missing (NaN or empty); fill it in"),
            ("a,b\n1,x\n1,NA\n", "b", 3, "the target is missing"),
            ("a,b\n1,2\n1,nan\n", "b", 3, "the target is missing"),
            ("a,b\n1,2\n1,-inf\n", "b", 3, "the value is infinite"),
            ("a,b\n1,2\n1e999,2\n", "a", 3, "the value is infinite, or too large for a number"),
            ('a,b\n1,2\n1,"x\n2,3\n', None, 3, "is never closed; close it"),
            ("a\n1\n", "a", None, "the target is its only column"),
            ("a,b\n1,2\né,3\n".encode("latin-1"), None, 3, "it is not UTF-8 text; save the file as UTF-8"),
            ("a,b\n1,2\n".encode("utf-16"), None, 1, "it is not UTF-8 text"),
            (b"a,b\n1,\0\n", None, 2, "line 2: it holds a NUL byte"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, training: Training, text: str | bytes, column: str | None, row: int | None, words: str
    ) -> None:
        error = refused(training.csv(text))
        assert words in error.message
        assert error.message.startswith("t.csv")
        assert (error.details["file"], error.details["column"], error.details.get("row")) == ("t.csv", column, row)
        if row is not None:
            assert f"line {row}" in error.message

    def test_text_late_in_a_long_column_is_found_in_its_line(self, training: Training) -> None:
        error = refused(training.csv("a,b,y\n" + f"1,{'x' * 40},0\n" * 120_000 + "oops,x,0\n" + "2,x,0\n" * 9))
        assert error.details == {"file": "t.csv", "column": "a", "row": 120_002}
        assert '"oops" is text in a column of numbers (1 cell is text, 120,009 are numbers)' in error.message

    def test_bytes_beyond_the_beginning_that_are_no_utf_8(self, training: Training) -> None:
        text = b"a,b\n" + b"1,2\n" * 300_000 + b"\xff,2\n"
        assert refused(training.csv(text)).details["row"] == 300_002

    def test_nine_numbers_and_a_word_are_categories(self, training: Training) -> None:
        assert training.csv("a,b\n" + "1,2\n" * 9 + "x,1\n").load().kinds == {"a": "category"}

    def test_as_many_words_as_numbers_are_categories(self, training: Training) -> None:
        assert training.csv("a,b\n" + "1,2\n" * 30 + "x,1\n" * 30).load().kinds == {"a": "category"}

    @pytest.mark.parametrize("size", [10_000_000, 20_000_000])
    def test_a_row_that_is_too_long(self, training: Training, size: int) -> None:
        error = refused(training.csv("a,b\n1,2\n" + f'"{"x" * size}",1\n3,4\n'))
        assert "line 3: the row that begins here is longer than 4,194,304 bytes" in error.message


class TestColumns:
    @pytest.mark.parametrize(
        ("section", "column", "words"),
        [
            ({"target": "prise"}, "prise", "as data.target wants (did you mean 'price'?); it has age, price"),
            ({"features": ["ages"]}, "ages", "as data.features wants (did you mean 'age'?)"),
            ({"categorical": ["Age"]}, "Age", "as data.categorical wants (did you mean 'age'?)"),
            ({"features": ["age", "price"]}, "price", "the target and a feature at once"),
            ({"features": ["age", "age"]}, "age", "data.features names it twice"),
        ],
    )
    def test_a_column_that_is_not_there_names_the_nearest(
        self, training: Training, section: dict[str, Any], column: str, words: str
    ) -> None:
        error = refused(training.csv("age,price\n1,2\n", **section))
        assert words in error.message
        assert error.details["column"] == column

    def test_the_table_for_validation_needs_the_same_columns(self, training: Training) -> None:
        training.put("val.csv", "ages,y\n1,2\n")
        error = refused(training.csv("age,y\n1,2\n", val_path="val.csv"))
        assert error.message.startswith("val.csv, column 'age': there is no such column (did you mean 'ages'?)")

    def test_an_empty_table_for_validation(self, training: Training) -> None:
        training.put("val.csv", "age,y\n")
        assert (
            "val.csv: the file holds the columns' names"
            in refused(training.csv("age,y\n1,2\n", val_path="val.csv")).message
        )

    def test_files_of_a_directory_need_the_same_columns(self, training: Training) -> None:
        training.put("d/1.csv", "a,y\n1,2\n")
        training.put("d/2.csv", "b,y\n1,2\n")
        assert "d/2.csv, column 'a': there is no such column, as in d/1.csv" in refused(training.source("d")).message

    def test_files_of_a_directory_need_the_same_kind_of_cells(self, training: Training) -> None:
        training.put("d/1.parquet", {"a": [1], "y": [2]})
        training.put("d/2.parquet", {"a": ["x"], "y": [2]})
        assert "it holds string, and d/1.parquet has int64 there" in refused(training.source("d")).message


class TestParquet:
    @pytest.mark.parametrize(
        ("columns", "column", "row", "words"),
        [
            ({"x": [1, 2], "y": [1, None]}, "y", 2, "row 2, column 'y': the target is missing"),
            ({"x": [1, 2], "y": ["a", None]}, "y", 2, "the target is missing"),
            ({"x": [1, 2], "y": [math.nan, 1.0]}, "y", 1, "the target is missing"),
            ({"x": [1.0, math.inf], "y": [1, 2]}, "x", 2, "the value is infinite"),
            ({"x": [[1], [2]], "y": [1, 2]}, "x", None, "it holds list<element: int64>, which is nothing to train on"),
            ({"x": [b"a", b"b"], "y": [1, 2]}, "x", None, "it holds binary"),
            ({"x": [{"a": 1}], "y": [1]}, "x", None, "leave it out with data.features"),
            ({"x": [], "y": []}, None, None, "and no rows"),
            (pa.table([[1], [2]], ["x", "x"]), "x", None, "2 columns have this name"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, training: Training, columns: Any, column: str | None, row: int | None, words: str
    ) -> None:
        error = refused(training.parquet(columns))
        assert words in error.message
        assert (error.details["file"], error.details["column"], error.details.get("row")) == ("t.parquet", column, row)

    @pytest.mark.parametrize("contents", [b"a,b\n1,2\n", b"PAR1 and what else", b"PAR1"])
    def test_a_damaged_file(self, training: Training, contents: bytes) -> None:
        error = refused(training.source(training.put("t.parquet", contents)))
        assert "damaged" in error.message or "no Parquet file" in error.message


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("../t.csv", "leads out of the training-data directory; copy the file there"),
            ("a/../../t.csv", "leads out"),
            ("/etc/passwd", "leads out"),
            ("link/passwd", "leads out"),
            ("a\0b", "NUL character"),
            ("https://example.com/t.csv", "name a file of the training-data directory, s3://bucket/key"),
            ("file:///etc/passwd", "name a file"),
            ("S3://bucket/key", "name a file"),
            ("sample:irsi", "there is no sample \"irsi\" (did you mean 'iris'?); there are breast_cancer"),
            ("sample:", "there is no sample"),
            ("s3://bucket", "write s3://bucket/key"),
            ("s3:///key", "write s3://bucket/key"),
            ("s3://own/prefix/x.csv", "the platform keeps its own files there; copy the data"),
            ("s3://key:secret@bucket/key", "credentials, region and endpoint are those of the workers"),
            ("s3://bucket/key?endpoint_override=example.com", "credentials, region and endpoint"),
        ],
    )
    def test_other_places_are_refused_with_their_key(self, training: Training, path: str, words: str) -> None:
        (training.root / "link").symlink_to("/etc")
        with pytest.raises(InvalidConfig) as caught:
            check_place(path, training.root, OWN, "data.val_path")
        assert caught.value.message.startswith("data.val_path is ")
        assert words in caught.value.message
        assert caught.value.details["field"] == "data.val_path"
        assert "secret" not in str(caught.value.body())

    @pytest.mark.parametrize("path", ["circle", "x" * 300 + "/t.csv"])
    def test_what_cannot_be_there_is_refused_at_the_latest_when_it_is_read(self, training: Training, path: str) -> None:
        (training.root / "circle").symlink_to(training.root / "circle")
        with pytest.raises((InvalidConfig, InvalidData)):
            training.source(path).load()

    @pytest.mark.parametrize(
        "path", ["t.csv", "not/there.csv", "a/../t.csv", ".", "s3://b/k", "s3://b-1.x/a b/c", "sample:iris"]
    )
    def test_what_lies_inside_is_taken_whether_it_is_there_or_not(self, training: Training, path: str) -> None:
        check_place(path, training.root, OWN)

    def test_an_absolute_path_and_a_link_inside_are_taken(self, training: Training) -> None:
        training.put("t.csv", "a,b\n1,2\n")
        (training.root / "latest.csv").symlink_to("t.csv")
        for path in (str(training.root / "t.csv"), "latest.csv"):
            check_place(path, training.root, OWN)
            assert training.source(path).load().target.tolist() == [2]

    def test_the_source_itself_goes_nowhere_else(self, training: Training) -> None:
        (training.root / "link").symlink_to("/etc")
        with pytest.raises(InvalidConfig, match=r"data.train_path is .*leads out"):
            training.source("link/passwd").load()
        with pytest.raises(InvalidConfig, match=r"data.val_path is .*leads out"):
            training.csv("a,b\n1,2\n", val_path="../x.csv").load()

    def test_nor_into_the_platforms_own_storage(self, training: Training) -> None:
        config = Config.model_validate({"data": {"train_path": f"{OWN}/x.csv"}})
        with pytest.raises(InvalidConfig, match="its own files there"):
            Source(config, training.root, OWN).load()
        with pytest.raises(InvalidConfig, match="its own files there"):
            Source(config, training.root, OWN).paths()

    def test_a_link_among_the_files_of_a_directory(self, training: Training, tmp_path: Path) -> None:
        outside = tmp_path / "secret.csv"
        outside.write_text("a,b\n1,2\n")
        training.put("d/1.csv", "a,b\n1,2\n")
        (training.root / "d" / "2.csv").symlink_to(outside)
        assert "d/2.csv: it is a link that leads out" in refused(training.source("d")).message
        (training.root / "d" / "class").mkdir()
        (training.root / "d" / "class" / "x.png").symlink_to(outside)
        with pytest.raises(InvalidData, match="leads out"):
            training.source("d").paths()

    def test_a_missing_file_says_what_is_there(self, training: Training) -> None:
        training.put("cars.csv", "a,b\n1,2\n")
        error = refused(training.source("Cars.csv"))
        assert error.message == (
            "Cars.csv: there is no such file in the training-data directory; what is there: cars.csv"
        )

    def test_a_directory_without_tables(self, training: Training) -> None:
        training.put("d/c/x.png", b"")
        assert "images for the template vision lie in d/CLASS/NAME.png" in refused(training.source("d")).message

    def test_other_formats(self, training: Training) -> None:
        error = refused(training.source(training.put("t.csv.gz", b"\x1f\x8b")))
        assert "only CSV and Parquet are read" in error.message

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read(self, training: Training) -> None:
        training.put("t.csv", "a,b\n1,2\n")
        (training.root / "t.csv").chmod(0)
        assert "the workers may not read it" in refused(training.source("t.csv")).message


class TestMemory:
    def test_what_does_not_fit_says_how_much_is_needed(self, training: Training) -> None:
        source = training.csv("a,b,y\n" + "1.5,red,0\n" * 50_000, memory_bytes=1_000_000)
        assert not source.fits()
        with pytest.raises(InvalidData) as caught:
            source.load()
        assert "about 50,000 rows of 3 columns needs about 0.00" in caught.value.message
        assert "and there are 0.001 GB; name fewer columns" in caught.value.message
        assert sum(len(piece.target) for piece in source.batches(1000)) == 50_000

    def test_arrow_refuses_too(self, training: Training) -> None:
        source = training.parquet({"x": [float(i) for i in range(50_000)], "y": range(50_000)}, memory_bytes=1_000_000)
        with pytest.raises(InvalidData, match="needs about"):
            source.arrow()

    def test_the_estimate_is_near_what_the_table_takes(self, training: Training) -> None:
        text = "".join(f"{i * 1.7},{'red' if i % 3 else 'a longer word'},{i}\n" for i in range(60_000))
        source = training.csv("a,b,y\n" + text)
        table = source.load()
        real = table.features.memory_usage(index=False).sum() + table.target.memory_usage(index=False)
        assert source._needed / 3 == pytest.approx(real, rel=0.2)

    @pytest.mark.parametrize(
        ("files", "left"),
        [
            ({}, 1000 * 1024),
            ({"memory.max": "max"}, 1000 * 1024),
            ({"memory.max": "500000", "memory.current": "200000", "memory.stat": "inactive_file 50000"}, 350_000),
            ({"memory.max": "500000", "memory.current": "600000", "memory.stat": ""}, 0),
        ],
    )
    def test_the_limits_of_control_groups_count(self, tmp_path: Path, files: dict[str, str], left: int) -> None:
        written = {"proc/meminfo": "MemTotal: 1 kB\nMemAvailable: 1000 kB\n", "proc/self/cgroup": "0::/a/b\n"}
        written |= {f"sys/fs/cgroup/a/{name}": text for name, text in files.items()}
        self._write(tmp_path, written)
        assert memory.available(tmp_path) == int(0.9 * left)

    def test_control_groups_of_version_1(self, tmp_path: Path) -> None:
        group = "sys/fs/cgroup/memory"
        written = {
            "proc/meminfo": "MemAvailable: 1000 kB\n",
            "proc/self/cgroup": "4:cpu,cpuacct:/x\n3:memory:/docker/1\n",
            f"{group}/memory.limit_in_bytes": "700000",  # a container sees its own group at the mount
            f"{group}/memory.usage_in_bytes": "100000",
            f"{group}/memory.stat": "total_inactive_file 0\n",
        }
        self._write(tmp_path, written)
        assert memory.available(tmp_path) == 540_000

    def test_this_machine_has_some(self) -> None:
        assert memory.available() > 10_000_000

    def _write(self, root: Path, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
