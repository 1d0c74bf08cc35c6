"""What `tunesmith automl train` and `predict` make of files and options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.automl_inputs import changes, rows, training
from tunesmith.errors import InvalidBody, InvalidData

LINEAR = {"model": {"type": "linear"}, "data": {"train_path": "a.csv"}}


def asked(directory: Path, document: Any, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is asked for with a file that holds the document."""
    file = directory / "asked.json"
    file.write_text(json.dumps(document))
    return training(str(file), changed or {})


def predicted(directory: Path, content: str | bytes, numbers: set[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a CSV file."""
    file = directory / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [dict(row) for row in rows(str(file), None, lambda: numbers or set())]


class TestTraining:
    @pytest.mark.parametrize(
        "request_",
        [
            {"config": LINEAR},
            {"config": {"model": {"type": "linear"}}, "data": {"train_path": "b.csv"}},
            {"config": LINEAR, "data": {"train_path": "b.csv", "target": "y"}},
            {"config_name": "linear"},
            {"config_name": "linear", "config_overrides": {"training": {"seed": 3}}},
            {"config_name": "linear", "config": LINEAR},
            {"config": ["no", "object"]},
        ],
    )
    def test_a_request_goes_on_as_it_is(self, tmp_path: Path, request_: dict[str, Any]) -> None:
        assert asked(tmp_path, request_) == request_

    def test_sections_at_the_top_are_a_configuration(self, tmp_path: Path) -> None:
        own = LINEAR | {"section_of_a_template": {"a": 1}}
        assert asked(tmp_path, own) == {"config": own}

    def test_options_change_the_configuration_of_every_shape(self, tmp_path: Path) -> None:
        changed = changes(["training.seed=4"], "c.csv", "y", 3)
        data = {"train_path": "c.csv", "target": "y"}
        search = {"hyperparameter_search": {"enabled": True, "n_trials": 3, "models": ["auto"]}}
        others = {"training": {"seed": 4}, **search}
        model = {"model": {"type": "linear"}}
        assert asked(tmp_path, LINEAR, changed) == {"config": model | {"data": data} | others}
        assert asked(tmp_path, {"config": LINEAR}, changed) == {"config": model | {"data": data} | others}
        beside = asked(tmp_path, {"config": LINEAR, "data": {"train_path": "b.csv", "table": "t"}}, changed)
        assert beside == {"config": LINEAR | others, "data": data | {"table": "t"}}
        named = asked(tmp_path, {"config_name": "linear", "config_overrides": {"training": {"epochs": 2}}}, changed)
        overrides = {"data": data, **search, "training": {"epochs": 2, "seed": 4}}
        assert named == {"config_name": "linear", "config_overrides": overrides}
        assert training("linear", changed) == {"config_name": "linear", "config_overrides": changed}
        assert training(None, changed) == {"config": changed}

    @pytest.mark.parametrize(
        ("document", "named"),
        [
            ({"config": LINEAR, "dataa": {}}, "'dataa' here .did you mean 'data'"),
            ({"config_name": "linear", "config_override": {}}, "did you mean 'config_overrides'"),
            ({"config": LINEAR, "hyperparameter_search": {"enabled": True}}, "no field 'hyperparameter_search' here"),
            ({"confg": LINEAR, "data": {}}, "did you mean 'config'"),
            ({"config_nam": "linear"}, "did you mean 'config_name'"),
            ([LINEAR], "a list; it should hold a configuration"),
        ],
    )
    def test_other_keys_are_refused_with_the_nearest(self, tmp_path: Path, document: Any, named: str) -> None:
        with pytest.raises(InvalidBody, match=named):
            asked(tmp_path, document)

    def test_what_cannot_be_changed_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidBody, match="config is a list; it should be an object"):
            asked(tmp_path, {"config": ["no", "object"]}, {"training": {"seed": 4}})


class TestRows:
    def test_cells_of_categories_stay_as_they_are_written(self, tmp_path: Path) -> None:
        found = predicted(tmp_path, "zip,flag,day,size\n007, true ,2024-01-02,1e2\n1.50,,,NA\n", {"size"})
        assert found == [
            {"zip": "007", "flag": "true", "day": "2024-01-02", "size": 100.0},
            {"zip": "1.50", "flag": None, "day": None, "size": None},
        ]

    def test_semicolons_go_with_decimal_commas(self, tmp_path: Path) -> None:
        assert predicted(tmp_path, "\ufeffsize;grade\r\n1,5;1,5\r\n-2;\r\n", {"size"}) == [
            {"size": 1.5, "grade": "1,5"},
            {"size": -2.0, "grade": None},
        ]

    @pytest.mark.parametrize(
        ("text", "cell"), [("1_000", "1_000"), ("wide", "wide"), ("1e999", "1e999"), ('"1,5"', "1,5")]
    )
    def test_what_is_no_number_stays_a_text(self, tmp_path: Path, text: str, cell: str) -> None:
        assert predicted(tmp_path, f"size,a\n{text},1\n", {"size"})[0]["size"] == cell

    def test_tabs_quotes_and_blank_lines(self, tmp_path: Path) -> None:
        assert predicted(tmp_path, '\na\tb\n\n"x\ty\nz"\t2\n') == [{"a": "x\ty\nz", "b": "2"}]
        assert predicted(tmp_path, "a,b\n") == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a,b\n1,2\n\n1,2,3\n", "line 4: it has 3 cells, and the header 2"),
            (b"a,b\n1,2\n\xff,2\n", "line 3: it is not UTF-8"),
            ("a,a\n1,2\n", "2 columns have this name"),
            ('a,b\n1,2\n1,"x\n3,4\n', "never closed"),
            (f"a,b\n1,2\n1,{'x' * 17_000_000}\n", "line 3: it cannot be read"),
            (b"a,b\n" + b"1,2\n" * 300_000 + b"\xff,2\n", "line 300,002: it is not UTF-8"),
        ],
        ids=["width", "encoding", "columns", "quote", "cell", "late"],
    )
    def test_what_is_wrong_with_a_file_is_said_with_its_line(
        self, tmp_path: Path, content: str | bytes, message: str
    ) -> None:
        with pytest.raises(InvalidData, match=message):
            predicted(tmp_path, content)
