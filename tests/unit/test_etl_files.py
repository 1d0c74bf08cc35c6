"""JSON, workbooks and Parquet: every shape that is read, and every damage that is told."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etl_runs import etl
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import InvalidData
from tunesmith.etl import Upload, json_text, xlsx_archive
from tunesmith.etl.run import run_etl
from tunesmith.storage import Storage


def workbook(**sheets: list[list[Any]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return book


def saved(book: openpyxl.Workbook) -> bytes:
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def repacked(contents: bytes, **parts: bytes) -> bytes:
    """The workbook with parts of its archive replaced: `sheet1=...`."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(contents)) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, parts.get(Path(entry).stem, old.read(entry)))
    return target.getvalue()


class TestExtensions:
    @pytest.mark.parametrize("name", ["a.txt", "a", "a.xls", "a.csv.gz", ".csv", "", "a.exe\0.png"])
    def test_other_extensions_are_refused_before_anything_is_read(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InvalidData):
            run_etl([Upload(tmp_path / "none", name)], "x", (), None, Storage(str(tmp_path)), "f")

    def test_no_file_at_all_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidData):
            run_etl([], "x", (), None, Storage(str(tmp_path)), "f")


class TestJson:
    @pytest.mark.parametrize(
        "text",
        [
            '[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]',
            '\ufeff[{"a": 1, "b": "x"},\r\n{"a": 2, "b": "y"}]\n',
            '{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n',
            '{"a": 1,\n "b": "x"}\n\n{"a": 2, "b": "y"}',
            '{"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}',
            '{"columns": ["a", "b"], "index": [0, 1], "data": [[1, "x"], [2, "y"]]}',
            '{"columns": ["a", "b"], "data": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}',
            '{"a": [1, 2], "b": ["x", "y"]}',
            '{"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": "y"}}',
            '{"records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}',
        ],
    )
    def test_every_shape(self, text: str) -> None:
        run = etl({"t.json": text})
        assert run.values("t") == {"a": [1, 2], "b": ["x", "y"]}
        assert not run.outcome.messages

    def test_an_object_of_tables_is_several(self) -> None:
        run = etl({"t.json": '{"orders": [{"a": 1}], "products": [{"b": 2}]}'})
        assert run.names == ["orders", "products"]

    def test_keys_that_records_lack_are_nulls_and_types_stay(self) -> None:
        run = etl({"t.json": '[{"a": "007"}, {"b": true}, {"a": "1", "b": null, "c": 1.5}]'})
        assert run.values("t") == {"a": ["007", None, "1"], "b": [None, True, None], "c": [None, None, 1.5]}

    def test_what_no_column_holds_becomes_text_and_is_told(self) -> None:
        rows = [{"n": [1, {"x": "ü"}], "m": 1, "big": 10**30}, {"n": None, "m": "x", "big": 1}]
        run = etl({"t.json": json.dumps(rows)})
        assert run.values("t") == {
            "n": ['[1, {"x": "ü"}]', None],
            "m": ["1", "x"],
            "big": ["1000000000000000000000000000000", "1"],
        }
        assert {column for _, column, _ in run.told("warning")} == {"n", "m", "big"}

    @pytest.mark.parametrize(
        ("values", "row", "said"),
        [
            ([1, 2.5, None, "abc", 3], 4, "'abc' is no number: the column is kept as text"),
            ([1, 2, {"x": 1}], 3, "{'x': 1} is no number"),
            ([1, 2, True], 3, "True is no number"),
            ([True, False, "x" * 200], 3, "... is no boolean"),
            (["a", "b", 1, "c"], 3, "values of several types (int, str) are kept as texts"),
            ([1, "a"], 2, "values of several types (int, str)"),
            ([1] * 30_000 + ["abc", "x"] + [1] * 100, 30_001, "'abc' is no number"),
            ([1] * 20_000 + ["abc", "x"], 20_001, "'abc' is no number"),
            ([1] * 10_000 + ["abc"] + [1] * 30_000 + ["x"], 10_001, "'abc' is no number"),
        ],
    )
    def test_the_value_that_makes_texts_of_a_column_is_named_once(self, values: list[Any], row: int, said: str) -> None:
        run = etl({"t.json": json.dumps([{"k": 1, "a": value} for value in values])})
        assert run.dtypes("t")["a"] == "str"
        assert run.told("warning") == [("t", "a", row)]
        assert said in run.texts("warning")

    def test_a_column_that_changes_type_after_many_records(self) -> None:
        rows = [{"a": 1}] * 30_000 + [{"a": 2.5}] + [{"a": "x"}]
        assert etl({"t.json": json.dumps(rows[:-1])}).dtypes("t") == {"a": "float64"}
        found = etl({"t.json": json.dumps(rows)}).values("t")["a"]
        assert (found[0], found[-1]) == ("1", "x")

    @pytest.mark.parametrize(
        ("text", "line", "column"),
        [
            ('[{"a": 1},\n {"a": tru}]', 2, 8),
            ('[{"a": 1}\n {"a": 2}]', 2, 2),
            ('[{"a": 1},\n', 2, 1),
            ('{"a": 1}\n{"a": 2\n', 3, 1),
            ('[{"a": 1}] x', 1, 12),
            ('[{"a": "x', 1, 8),
            ('[\n{"a": "' + "x" * 3_000_000 + '"}\n\n,,', 4, 2),
        ],
    )
    def test_what_is_wrong_is_named_by_line_and_column(self, text: str, line: int, column: int) -> None:
        run = etl({"t.json": text})
        assert run.kept_nothing
        assert f"line {line}, column {column} " in run.texts("critical")

    @pytest.mark.parametrize(
        "text", [" ", "3", '"x"', "[1, 2]", "[[1], [2]]", "[null]", '{"a": [1], "b": [1, 2]}', "[]"]
    )
    def test_what_holds_no_records_is_refused(self, text: str) -> None:
        assert etl({"t.json": text}).kept_nothing

    def test_a_dataset_goes_elsewhere(self) -> None:
        assert "from-json" in etl({"t.json": '{"metadata": {}, "tables": {}}'}).texts("critical")

    def test_values_nested_too_deeply_are_refused(self) -> None:
        assert etl({"t.json": "[" * 200_000}).kept_nothing

    def test_a_value_larger_than_memory_should_hold_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_text, "LARGEST_VALUE", 1000)
        monkeypatch.setattr(json_text, "CHUNK", 100)
        assert "longer than 1,000" in etl({"t.json": '[{"a": "' + "x" * 5000 + '"}]'}).texts("critical")

    @given(rows=st.lists(st.fixed_dictionaries({"a": st.integers(), "b": st.text(), "c": st.booleans()}), min_size=1))
    @settings(max_examples=40, deadline=None)
    def test_any_cut_of_the_stream_gives_the_same_values(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
    ) -> None:
        text = json.dumps(rows, indent=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_text, "CHUNK", 7)
            path = tmp_path_factory.mktemp("json") / "rows.json"
            path.write_text(text)
            reader = json_text.JsonText(path)
            assert reader.take() == "["
            assert list(reader.values(array=True)) == rows
            reader.close()


class TestWorkbooks:
    def test_one_sheet_is_called_as_the_file_several_by_their_names(self) -> None:
        assert etl({"t.xlsx": saved(workbook(Sheet1=[["a"], [1]]))}).names == ["t"]
        run = etl({"t.xlsx": saved(workbook(orders=[["a"], [1]], products=[["b"], [2]], empty=[]))})
        assert run.names == ["orders", "products"]

    def test_values_keep_their_types(self) -> None:
        row = [1, 2.5, "007", True, datetime(2026, 1, 31, 12, 30), date(2026, 2, 1), time(12, 30), None]
        run = etl({"t.xlsx": saved(workbook(s=[list("abcdefgh"), row]))})
        values = run.values("t")
        assert [values[name][0] for name in "abcd"] == [1, 2.5, "007", True]
        assert values["e"] == [pd.Timestamp("2026-01-31 12:30")]
        assert values["f"] == [pd.Timestamp("2026-02-01")]
        assert values["g"] == ["12:30:00"]
        assert values["h"] == [None]

    def test_the_value_that_makes_texts_of_a_column_is_named(self) -> None:
        rows = [["n", "at"], *([n, date(2026, 1, 31)] for n in range(20)), ["abc", "soon"], [1, date(2026, 2, 1)]]
        run = etl({"t.xlsx": saved(workbook(s=rows))})
        assert run.told("warning") == [("t", "n", 21), ("t", "at", 21)]
        assert run.texts("warning").startswith("'abc' is no number: the column is kept as text\n'soon' is no date")

    def test_errors_are_nulls_and_told(self) -> None:
        run = etl({"t.xlsx": saved(workbook(s=[["a", "b"], [1, "#DIV/0!"], ["#N/A", 2]]))})
        assert run.values("t") == {"a": [1, None], "b": [None, 2]}
        assert run.told("warning") == [("t", "b", 1)]

    def test_formulas_without_a_computed_value_store_nothing(self) -> None:
        run = etl({"t.xlsx": saved(workbook(s=[["a", "b"], [1, "=A2*2"]]))})
        assert run.kept_nothing
        assert "B2" in run.texts("critical")

    def test_formulas_with_a_computed_value_count_as_it(self) -> None:
        sheet = zipfile.ZipFile(io.BytesIO(saved(workbook(s=[["a", "b"], [1, "=A2*2"]])))).read(
            "xl/worksheets/sheet1.xml"
        )
        computed = sheet.replace(b"<v />", b"<v>2</v>").replace(b"<v></v>", b"<v>2</v>").replace(b"<v/>", b"<v>2</v>")
        assert computed != sheet
        run = etl({"t.xlsx": repacked(saved(workbook(s=[["a", "b"], [1, "=A2*2"]])), sheet1=computed)})
        assert run.values("t") == {"a": [1], "b": [2]}

    def test_hidden_and_empty_sheets_are_left_out(self) -> None:
        book = workbook(a=[["x"], [1]], secret=[["y"], [2]], empty=[])
        book["secret"].sheet_state = "hidden"
        run = etl({"t.xlsx": saved(book)})
        assert run.names == ["t"]
        assert "'secret' is hidden" in run.texts("info")
        assert etl({"t.xlsx": saved(workbook(a=[], b=[]))}).kept_nothing

    def test_merged_cells_are_told(self) -> None:
        book = workbook(s=[["a", "b"], [1, 2], [3, 4]])
        book["s"].merge_cells("A2:A3")
        run = etl({"t.xlsx": saved(book)})
        assert run.values("t") == {"a": [1, None], "b": [2, 4]}
        assert "merged" in run.texts("warning")

    def test_titles_blank_rows_and_remarks_beside_the_table(self) -> None:
        rows = [["Sales 2026"], [], [None, "a", None, "b"], [None, 1, "x", 2], [], [None, 3, "y", 4, "a remark"], []]
        run = etl({"t.xlsx": saved(workbook(s=rows))})
        assert run.values("t") == {"a": [1, 3], "column_2": ["x", "y"], "b": [2, 4]}
        assert "Sales 2026" in run.texts("warning")
        assert ("t", None, 2) in run.told("warning")
        assert "1 blank row" in run.texts("info")

    def test_only_a_header(self) -> None:
        run = etl({"t.xlsx": saved(workbook(s=[["a", "b"]]))})
        assert (run.outcome.tables[0].columns, run.outcome.tables[0].rows) == (("a", "b"), 0)

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_a_workbook_that_was_cut_off(self, share: float) -> None:
        contents = saved(workbook(s=[["a"], [1]]))
        assert etl({"t.xlsx": contents[: int(len(contents) * share)]}).kept_nothing

    @pytest.mark.parametrize("xml", [b"<worksheet><sheetData><row", b"", b"no xml"])
    def test_a_damaged_sheet(self, xml: bytes) -> None:
        assert etl({"t.xlsx": repacked(saved(workbook(s=[["a"], [1]])), sheet1=xml)}).kept_nothing

    def test_another_archive_or_another_format_is_refused(self) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert "no Excel workbook" in etl({"t.xlsx": target.getvalue()}).texts("critical")
        assert "no Excel workbook" in etl({"t.xlsx": "a,b\n1,2\n"}).texts("critical")
        assert ".xls" in etl({"t.xlsx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}).texts("critical")


class TestBombs:
    def test_a_part_that_unpacks_to_too_much_is_refused_before_it_is_read(self) -> None:
        contents = repacked(saved(workbook(s=[["a"], [1]])), sheet1=b" " * (xlsx_archive.HARMLESS + 1))
        run = etl({"t.xlsx": contents})
        assert run.kept_nothing
        assert "times its size" in run.texts("critical")

    def test_the_sizes_of_all_parts_are_added(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xlsx_archive, "LARGEST_ARCHIVE", 5000)
        assert "would unpack" in etl({"t.xlsx": saved(workbook(s=[["a"], [1]]))}).texts("critical")

    def test_shared_texts_that_memory_should_not_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xlsx_archive, "LARGEST_SHARED", 1000)
        run = etl({"t.xlsx": saved(workbook(s=[["a"], ["x" * 5000]]))})
        assert "allowed" in run.texts("critical")

    def test_an_archive_that_lies_about_its_sizes_gives_no_byte_more(self) -> None:
        packed = repacked(saved(workbook(s=[["a"], [1]])), sheet1=b" " * (64 << 20))
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entry = archive.getinfo("xl/worksheets/sheet1.xml")
        lie = packed.replace(struct.pack("<L", entry.file_size), struct.pack("<L", 1000))
        assert etl({"t.xlsx": lie}).kept_nothing

    def test_a_row_number_beyond_every_sheet_is_refused(self) -> None:
        xml = (
            b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
            b'<row r="1"><c r="A1"><v>1</v></c></row><row r="999999999"><c r="A999999999"><v>1</v></c></row>'
            b"</sheetData></worksheet>"
        )
        assert "1,048,576" in etl({"t.xlsx": repacked(saved(workbook(s=[["a"]])), sheet1=xml)}).texts("critical")

    def test_entities_that_multiply_are_not_expanded(self) -> None:
        layers = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
        xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{layers}]><worksheet>&l11;</worksheet>'.encode()
        assert etl({"t.xlsx": repacked(saved(workbook(s=[["a"], [1]])), sheet1=xml)}).kept_nothing


class TestParquet:
    def parquet(self, table: pa.Table, **options: Any) -> bytes:
        target = io.BytesIO()
        pq.write_table(table, target, **options)
        return target.getvalue()

    def test_types_stay(self) -> None:
        table = pa.table(
            {
                "small": pa.array([1, None], pa.int16()),
                "half": pa.array([1.5, 2.5], pa.float32()),
                "when": pa.array([0, 1], pa.timestamp("ns", "Europe/Vienna")),
                "word": pa.array(["x", "x"]).dictionary_encode(),
                "nothing": pa.nulls(2),
            }
        )
        run = etl({"t.parquet": self.parquet(table)})
        assert run.dtypes("t") == {
            "small": "Int16",
            "half": "float32",
            "when": "datetime64[ns, Europe/Vienna]",
            "word": "str",
            "nothing": "str",
        }
        assert run.values("t")["word"] == ["x", "x"]

    def test_no_rows(self) -> None:
        run = etl({"t.parquet": self.parquet(pa.table({"a": pa.array([], pa.int64())}))})
        assert (run.outcome.tables[0].rows, run.dtypes("t")) == (0, {"a": "int64"})

    def test_several_row_groups(self) -> None:
        run = etl({"t.parquet": self.parquet(pa.table({"a": range(1000)}), row_group_size=100)})
        assert run.values("t")["a"] == list(range(1000))

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
    def test_a_file_that_was_cut_off(self, share: float) -> None:
        contents = self.parquet(pa.table({"a": range(1000)}))
        run = etl({"t.parquet": contents[: int(len(contents) * share)]})
        assert run.kept_nothing
        assert "cut off" in run.texts("critical")

    def test_damage_within(self) -> None:
        contents = bytearray(self.parquet(pa.table({"a": range(1000)}), use_dictionary=False, compression="zstd"))
        contents[100:400] = bytes(300)
        assert etl({"t.parquet": bytes(contents)}).kept_nothing

    def test_other_contents(self) -> None:
        assert etl({"t.parquet": "a,b\n"}).kept_nothing
