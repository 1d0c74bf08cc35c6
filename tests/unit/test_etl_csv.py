"""CSV files as people have them: encodings, separators, quotes, blanks, odd rows, and what becomes of their cells."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from etl_runs import etl
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.etl import Column, EtlFactory, Schema, csv_reader

T = pd.Timestamp


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
    def test_every_unicode_encoding_is_recognized(self, encoding: str) -> None:
        run = etl({"a.csv": "größe,name\n1,Zoë\n".encode(encoding)})
        assert run.values("a") == {"größe": [1], "name": ["Zoë"]}
        assert not run.outcome.messages

    def test_windows_1252_is_read_and_told(self) -> None:
        run = etl({"a.csv": "name,price\nZoë,5 €\n".encode("cp1252")})
        assert run.values("a") == {"name": ["Zoë"], "price": ["5 €"]}
        assert "Windows-1252" in run.texts("warning")

    def test_latin_1_with_bytes_that_windows_1252_lacks(self) -> None:
        assert etl({"a.csv": b"a\n\xe9\x81\n"}).values("a") == {"a": ["é\x81"]}

    def test_utf_8_with_a_damaged_byte_stays_utf_8(self) -> None:
        run = etl({"a.csv": "a\nöäüß\nnaïve\n".encode() + b"x\xff\n"})
        assert run.values("a") == {"a": ["öäüß", "naïve", "x\N{REPLACEMENT CHARACTER}"]}
        assert run.texts("warning")

    @pytest.mark.parametrize("contents", [b"a,b\n1,\x002\n" * 3000, b"\x7fELF\0\0\0\1"])
    def test_bytes_that_are_no_text_are_refused(self, contents: bytes) -> None:
        run = etl({"a.csv": contents})
        assert run.kept_nothing
        assert "NUL" in run.texts("critical")

    def test_utf_16_cut_in_the_middle_of_a_character(self) -> None:
        assert etl({"a.csv": "a\nhello".encode("utf-16")[:-1]}).kept_nothing


class TestLayout:
    @pytest.mark.parametrize("separator", list(",;\t|"))
    def test_the_separator_is_found(self, separator: str) -> None:
        text = "\n".join(separator.join(row) for row in (["id", "name"], ["1", "x"], ["2", "y"]))
        assert etl({"a.csv": text}).values("a") == {"id": [1, 2], "name": ["x", "y"]}

    def test_excels_own_mark_names_the_separator(self) -> None:
        assert etl({"a.csv": "sep=;\r\nid;name\r\n1;a,b\r\n"}).values("a") == {"id": [1], "name": ["a,b"]}

    def test_semicolons_win_over_decimal_commas(self) -> None:
        run = etl({"a.csv": "id;price\n1;1,5\n2;2.000,25\n"})
        assert run.values("a") == {"id": [1, 2], "price": [1.5, 2000.25]}

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_line_end(self, end: str) -> None:
        assert etl({"a.csv": end.join(["a,b", "1,x", "2,y"])}).values("a") == {"a": [1, 2], "b": ["x", "y"]}

    def test_quotes_hold_separators_newlines_and_quotes(self) -> None:
        run = etl({"a.csv": 'a,b\n1,"x,\n""y"""\n2,z\n'})
        assert run.values("a") == {"a": [1, 2], "b": ['x,\n"y"', "z"]}

    def test_a_header_with_a_newline(self) -> None:
        assert etl({"a.csv": '"order\nid",b\n1,2\n'}).values("a") == {"order id": [1], "b": [2]}

    def test_blank_lines_before_the_header_and_between_rows(self) -> None:
        run = etl({"a.csv": "\n  \na,b\n1,2\n\n,\n3,4\n,\n"})
        assert run.values("a") == {"a": [1, 3], "b": [2, 4]}
        assert "2 blank rows" in run.texts("info")

    def test_only_a_header_is_a_table_without_rows(self) -> None:
        run = etl({"a.csv": "id,name\n"})
        assert run.outcome.tables[0].rows == 0
        assert run.outcome.tables[0].columns == ("id", "name")
        assert "no rows" in run.texts("warning")

    @pytest.mark.parametrize("contents", ["", " \n\n", "\ufeff"])
    def test_nothing_at_all_is_refused(self, contents: str) -> None:
        assert etl({"a.csv": contents}).kept_nothing

    def test_names_that_are_missing_or_twice_are_made_up_and_told(self) -> None:
        run = etl({"a.csv": "a,,a, b \n1,2,3,4\n"})
        assert run.values("a") == {"a": [1], "column_2": [2], "a_2": [3], "b": [4]}
        assert run.told("warning") == [("a", "column_2", None), ("a", "a_2", None)]

    def test_a_header_of_numbers_is_told(self) -> None:
        assert "only numbers" in etl({"a.csv": "1,2\n3,4\n"}).texts("warning")

    def test_thousands_of_columns(self) -> None:
        names = ",".join(f"c{n}" for n in range(5000))
        run = etl({"a.csv": f"{names}\n" + ",".join("7" for _ in range(5000)) + "\n"})
        assert len(run.outcome.tables[0].columns) == 5000


class TestRaggedRows:
    def test_short_rows_are_filled_up_and_told(self) -> None:
        run = etl({"a.csv": "a,b,c\n1,2,3\n4\n5,6\n"})
        assert run.values("a") == {"a": [1, 4, 5], "b": [2, None, 6], "c": [3, None, None]}
        assert run.told("warning") == [("a", None, 2), ("a", None, 3)]

    def test_long_rows_store_nothing(self) -> None:
        run = etl({"a.csv": "a,b\n1,2\n\n3,4,5\n6,7\n8,9,10\n"})
        assert run.kept_nothing
        assert run.told("critical") == [("a", None, 2), ("a", None, 4)]
        assert "quotes" in run.texts("critical")

    def test_separators_at_the_end_of_rows_are_no_cells(self) -> None:
        assert etl({"a.csv": "a,b\n1,2,\n3,4,,\n"}).values("a") == {"a": [1, 3], "b": [2, 4]}

    @pytest.mark.parametrize("rest", ["3,4\n", "3,4\n" * 2_000_000, ""])
    def test_a_quote_left_open_names_the_line(self, rest: str) -> None:
        run = etl({"a.csv": f'a,b\n1,2\n2,"abc\n{rest}'})
        if rest:
            assert run.kept_nothing
            assert "line 3" in run.texts("critical")
            assert run.told("critical") == [("a", None, 2)]

    def test_rows_before_an_odd_one_are_there_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_reader, "BLOCK", 64)
        rows = [f"{n},x{n}\n" if n % 7 else f"{n},\n\n,\n" for n in range(200)]
        run = etl({"a.csv": "a,b\n" + "".join(rows) + "200\n201,y\n"})
        assert run.values("a")["a"] == list(range(202))
        assert run.told("warning") == [("a", None, 201)]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


class WithoutNulls(EtlFactory):
    text_nulls = frozenset()


class TestAnyText:
    @given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), block=st.sampled_from([64, 1 << 20]))
    @settings(max_examples=60, deadline=None)
    def test_what_a_writer_of_csv_wrote_is_read_again(self, rows: list[tuple[str, str]], block: int) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("first", "second"), *rows])
        schema = Schema("a", [Column("first", "string", nullable=True), Column("second", "string", nullable=True)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_reader, "BLOCK", block)
            found = etl({"a.csv": text.getvalue()}, [schema], WithoutNulls).values("a")
        kept = [tuple(cell if cell.strip(" \t") else None for cell in row) for row in rows if any(row)]
        assert list(zip(found["first"], found["second"], strict=True)) == kept


class TestCells:
    @pytest.mark.parametrize(
        ("cells", "dtype", "values"),
        [
            (["1", "-2", "0"], "int64", [1, -2, 0]),
            (["1", "NA", "3"], "Int64", [1, None, 3]),
            (["1.5", "1e3", "-"], "float64", [1.5, 1000.0, None]),
            ([" 1 ", "2"], "int64", [1, 2]),
            (["007", "008"], "str", ["007", "008"]),
            (["0x10", "0x11"], "str", ["0x10", "0x11"]),
            (["+4912345", "+4912346"], "str", ["+4912345", "+4912346"]),
            (["0", "0.5"], "float64", [0.0, 0.5]),
            (["9007199254740993", "1"], "int64", [9007199254740993, 1]),
            (["9007199254740993", "1.5"], "str", ["9007199254740993", "1.5"]),
            (["18446744073709551616", "1"], "str", ["18446744073709551616", "1"]),
            (["true", "False", "TRUE"], "bool", [True, False, True]),
            (["true", "null"], "boolean", [True, None]),
            (["yes", "no"], "str", ["yes", "no"]),
            (["2026-01-31", "2026-02-28 12:30"], "datetime64[us]", [T("2026-01-31"), T("2026-02-28 12:30")]),
            (["31.12.2026", "1.2.2026"], "datetime64[us]", [T("2026-12-31"), T("2026-02-01")]),
            (["31.02.2026", "01.03.2026"], "str", ["31.02.2026", "01.03.2026"]),
            (["01/02/2026", "02/02/2026"], "str", ["01/02/2026", "02/02/2026"]),
            (["2026-01-31T00:00:00Z"], "datetime64[us, UTC]", [T("2026-01-31", tz="UTC")]),
            (["NA", "x"], "str", ["NA", "x"]),
            (["null", "x"], "str", [None, "x"]),
            (["NA", "-"], "str", ["NA", "-"]),
            (["  ", " x "], "str", [None, " x "]),
            (["nan", "1.5"], "float64", [None, 1.5]),
        ],
    )
    def test_what_cells_become(self, cells: list[str], dtype: str, values: list[object]) -> None:
        run = etl({"a.csv": "key,it\n" + "".join(f"k,{cell}\n" for cell in cells)})
        assert run.values("a")["it"] == values
        assert run.dtypes("a")["it"] == dtype

    def test_commas_are_no_decimal_commas_where_they_separate(self) -> None:
        assert etl({"a.csv": 'a,b\nx,"1,234"\n'}).values("a")["b"] == ["1,234"]


def column(*cells: str, header: str = "k,v", separator: str = ",") -> str:
    """A CSV file with these cells in its second column."""
    return "\n".join([header.replace(",", separator), *(f"k{separator}{cell}" for cell in cells)])


class TestOutliers:
    """Where most values of a column have a type, the first that has not is told."""

    @pytest.mark.parametrize(
        ("cells", "row", "said"),
        [
            (["1"] * 500 + ["abc"] + ["2"] * 499, 501, "'abc' is no number: the column is kept as text"),
            (["1", "", "2.5", "NA", "abc", "xyz"] + ["7"] * 17, 5, "'abc' is no number"),
            (["2", "3", "12 kg"], 3, "'12 kg' is no number"),
            (["x", "2", "3"], 1, "'x' is no number"),
            (["1.5"] * 20 + ["1,5"], 21, "'1,5' is no number"),
            (["2026-01-31"] * 20 + ["soon"], 21, "'soon' is no date like 2026-12-31"),
            (["2026-01-31"] * 20 + ["2026-02-30"], 21, "'2026-02-30' is no date"),
            (["2026-01-31T00:00Z"] * 20 + ["2026-01-31"], 21, "'2026-01-31' is no date with a time zone"),
            (["31.12.2026", "31.02.2026", "1.1.2027"], 2, "'31.02.2026' is no date like 31.12.2026"),
            (["true", "False", "maybe"], 3, "'maybe' is no boolean"),
            (["1"] * 20 + ["x" * 200], 21, "..."),
        ],
    )
    def test_the_first_value_that_is_none_is_named(self, cells: list[str], row: int, said: str) -> None:
        cells = [cell if "," not in cell else f'"{cell}"' for cell in cells]
        run = etl({"a.csv": column(*cells)})
        assert run.dtypes("a")["v"] == "str"
        assert run.told("warning") == [("a", "v", row)]
        assert said in run.texts("warning")

    def test_decimal_commas(self) -> None:
        run = etl({"a.csv": column("1,5", "2.000,25", "3", "n.n.", separator=";")})
        assert run.told("warning") == [("a", "v", 4)]
        assert "'n.n.' is no number" in run.texts("warning")

    @pytest.mark.parametrize(
        "cells",
        [
            ["a", "b", "1"],
            ["2", "", "abc"],
            ["1"] * 80 + ["x"] * 20,
            ["007", "12", "13"],
            ["10115"] * 50 + ["01067"],
            ["+4912345", "030555", "123"],
            ["12a", "12b", "12c", "12"],
            ["2026-01-31 Bonn", "2026-02-01 Rome", "2026-02-02 Oslo"],
            ["yes", "no", "yes"],
            ["", ""],
        ],
    )
    def test_ordinary_texts_and_codes_are_not_told(self, cells: list[str]) -> None:
        assert not etl({"a.csv": column(*cells)}).texts("warning")

    def test_a_column_that_is_declared_is_told_by_its_check_alone(self) -> None:
        for declared, found in ((Column("v", "string"), []), (Column("v", "integer"), [("a", "v", 21)])):
            run = etl({"a.csv": column(*["1"] * 20, "abc")}, [Schema("a", [declared])])
            assert not run.told("warning")
            assert run.told("critical") == found


class TestLaterBlocks:
    """A column is what all of its blocks are."""

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_reader, "BLOCK", 4096)

    @pytest.mark.parametrize(
        ("early", "late", "first", "last"),
        [
            ("1", "2.5", 1.0, 2.5),
            ("1", "x", "1", "x"),
            ("1", "007", "1", "007"),
            ("1.50", "x", "1.50", "x"),
            ("NA", "5", None, 5),
            ("NA", "x", "NA", "x"),
            ("", "true", None, True),
            ("2026-01-01", "soon", "2026-01-01", "soon"),
            ("9007199254740993", "0.5", "9007199254740993", "0.5"),
            ("true", "2", "true", "2"),
        ],
    )
    def test_it_widens_and_nothing_of_the_early_cells_is_lost(
        self, early: str, late: str, first: object, last: object
    ) -> None:
        run = etl({"a.csv": "k,v\n" + f"key,{early}\n" * 5000 + f"key,{late}\n"})
        found = run.values("a")["v"]
        assert (found[0], found[4999], found[5000], len(found)) == (first, first, last, 5001)
        assert isinstance(found[0], type(first))

    def test_the_row_that_made_it_text_is_named(self) -> None:
        run = etl({"a.csv": "k,v\n" + "key,1\n" * 5000 + "key,x\n" + "key,1\n" * 100})
        assert run.told("warning") == [("a", "v", 5001)]
        assert "'x' is no number" in run.texts("warning")

    @pytest.mark.parametrize("late", ["2.5", "9007199254740992", ""])
    def test_what_only_widens_the_column_is_not_named(self, late: str) -> None:
        run = etl({"a.csv": "k,v\n" + "key,1\n" * 5000 + f"key,{late}\nkey,x\nkey,y\n"})
        assert run.told("warning") == [("a", "v", 5002)]

    def test_integers_that_floats_do_not_hold_are_not_called_no_numbers(self) -> None:
        run = etl({"a.csv": "k,v\n" + "key,0.5\n" * 5000 + "key,9007199254740993\n"})
        assert run.told("warning") == [("a", "v", 5001)]
        assert "too long for a number" in run.texts("warning")


class TestNames:
    def test_paths_in_names_are_cut_off(self) -> None:
        run = etl({"../../etc/orders.csv": "a\n1\n", "C:\\data\\products.CSV": "a\n1\n"})
        assert run.names == ["orders", "products"]

    def test_two_files_of_one_stem_are_told_apart_by_nobody(self) -> None:
        run = etl({"a.csv": "a\n1\n", "x/a.json": '[{"a": 1}]'})
        assert run.kept_nothing
        assert run.told("critical") == [("a", None, None)]

    def test_the_contents_of_another_format_are_told(self) -> None:
        run = etl({"a.csv": b"PK\x03\x04rest"})
        assert ".xlsx" in run.texts("critical")
