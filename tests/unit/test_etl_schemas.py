"""Schemas, keys, the factory's methods, and how messages are kept short."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pytest
from etl_runs import FILES, etl

from tunesmith.errors import InvalidData, InvalidSettings
from tunesmith.etl import Column, EtlFactory, Message, Schema, Upload, csv_reader
from tunesmith.etl.run import run_etl
from tunesmith.etl.tables import Tables
from tunesmith.storage import Storage


def orders(*columns: Column, **options: Any) -> list[Schema]:
    return [Schema("orders", columns, **options)]


class TestDeclarations:
    @pytest.mark.parametrize(
        "declare",
        [
            lambda: Column("a", "complex"),  # type: ignore[arg-type]
            lambda: Column("a", foreign_key="nodot"),
            lambda: Column("a", checks=["x"]),
            lambda: Column("a", severity="bad"),  # type: ignore[arg-type]
            lambda: Schema("t", [Column("a"), Column("A")]),
            lambda: Schema("t", [Column("a")], unique=[("b",)]),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, declare: Any) -> None:
        with pytest.raises(InvalidSettings):
            declare()

    def test_python_types_stand_for_ours(self) -> None:
        assert [Column("a", kind).type for kind in (str, int, float, bool)] == ["string", "integer", "float", "boolean"]

    def test_declaring_costs_no_heavy_import(self) -> None:
        code = "import sys; from tunesmith.etl import Schema, Column, EtlFactory; Schema('t', [Column('a')]);"
        code += "print({'pandas', 'pyarrow', 'pandera', 'duckdb', 'openpyxl'} & set(sys.modules))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "set()"


class TestTypes:
    @pytest.mark.parametrize(
        ("kind", "cells", "values"),
        [
            ("string", ["007", "1.50", "NA"], ["007", "1.50", "NA"]),
            ("integer", ["007", "1.0", "+5"], [7, 1, 5]),
            ("float", ["1", "2.5", "007.5"], [1.0, 2.5, 7.5]),
            ("boolean", ["yes", "0", "Nein"], [True, False, False]),
            ("boolean", ["1", "0", "1"], [True, False, True]),
            ("date", ["2026-01-31", "1.2.2026", "2026-03-01"], ["2026-01-31", "2026-02-01", "2026-03-01"]),
            ("datetime", ["2026-01-31T10:00:00+02:00"] * 3, ["2026-01-31 08:00"] * 3),
        ],
    )
    def test_values_become_the_declared_type(self, kind: Any, cells: list[str], values: list[Any]) -> None:
        run = etl({"orders.csv": "v\n" + "\n".join(cells) + "\n"}, orders(Column("v", kind)))
        found = run.values("orders")["v"]
        if kind in ("date", "datetime"):
            assert [value.tz_localize(None) if value.tz else value for value in found] == list(
                map(pd.Timestamp, values)
            )
        else:
            assert found == values
            assert [type(value) for value in found] == [type(value) for value in values]

    @pytest.mark.parametrize(
        ("kind", "bad"),
        [
            ("integer", "x"),
            ("integer", "1.5"),
            ("integer", "99999999999999999999"),
            ("float", "x"),
            ("boolean", "maybe"),
            ("date", "2026-02-30"),
            ("date", "2026-02-01 10:00"),
            ("datetime", "soon"),
        ],
    )
    def test_the_row_of_a_wrong_value_is_named(self, kind: Any, bad: str) -> None:
        good = {"integer": "1", "float": "1", "boolean": "true"}.get(kind, "2026-01-01")
        text = "k,v\n" + f"a,{good}\n" * 2 + f"\na,{bad}\na,{good}\n"
        run = etl({"orders.csv": text}, orders(Column("v", kind)))
        assert run.kept_nothing
        assert run.told("critical") == [("orders", "v", 3)]
        assert f"'{bad}'" in run.texts("critical") or bad in run.texts("critical")

    def test_numbers_of_other_formats_are_no_dates(self) -> None:
        assert etl({"orders.json": '[{"v": 5}]'}, orders(Column("v", "date"))).kept_nothing

    def test_a_format_says_which_is_the_day(self) -> None:
        schema = orders(Column("v", "date", format="%d/%m/%Y"))
        assert etl({"orders.csv": "v\n01/02/2026\n"}, schema).values("orders")["v"] == [pd.Timestamp("2026-02-01")]
        assert etl({"orders.csv": "v\n31/02/2026\n"}, schema).told("critical") == [("orders", "v", 1)]

    def test_decimal_commas_beside_a_wrong_value(self) -> None:
        schema = orders(Column("v", "float", severity="error", nullable=True))
        run = etl({"orders.csv": "k;v\na;1,5\na;x\n"}, schema)
        assert run.values("orders")["v"] == [1.5, None]
        assert run.told("error") == [("orders", "v", 2)]


class TestColumns:
    def test_names_are_found_whatever_their_case(self) -> None:
        run = etl({"Orders.csv": " ID ,Qty\n1,2\n"}, orders(Column("id", int), Column("qty", int)))
        assert run.values("orders") == {"id": [1], "qty": [2]}
        assert {column for _, column, _ in run.told("info")} == {"id", "qty"}

    def test_missing_ones_are_told_or_made(self) -> None:
        run = etl({"orders.csv": "a\n1\n"}, orders(Column("a", int), Column("b"), Column("c", required=False)))
        assert run.told("critical") == [("orders", "b", None)]
        run = etl({"orders.csv": "a\n1\n\n"}, orders(Column("b", float, default=2), Column("a", int)))
        assert run.values("orders") == {"b": [2.0], "a": [1]}
        assert run.told("info") == [("orders", "b", None)]

    def test_defaults_fill_nulls(self) -> None:
        run = etl({"orders.csv": "a,b\n1,x\nNA,y\n"}, orders(Column("a", int, default=7)))
        assert run.values("orders")["a"] == [1, 7]
        assert "1 cells" in run.texts("info")

    def test_a_default_of_another_type_is_told(self) -> None:
        assert etl({"orders.csv": "a\n1\n"}, orders(Column("a", int, default="x"))).told("critical")

    @pytest.mark.parametrize(("others", "columns"), [("keep", ["a", "b"]), ("drop", ["a"])])
    def test_others_are_kept_or_dropped(self, others: Any, columns: list[str]) -> None:
        run = etl({"orders.csv": "b,a\n1,2\n"}, orders(Column("a"), others=others))
        assert list(run.values("orders")) == columns

    def test_others_are_refused(self) -> None:
        run = etl({"orders.csv": "b,a\n1,2\n"}, orders(Column("a"), others="refuse"))
        assert run.told("critical") == [("orders", "b", None)]

    def test_a_missing_table_is_told_unless_it_is_optional(self) -> None:
        assert etl({"other.csv": "a\n1\n"}, orders(Column("a"))).told("critical") == [("orders", None, None)]
        assert etl({"other.csv": "a\n1\n"}, orders(Column("a"), required=False)).outcome.success

    def test_no_records_are_a_table_of_the_declared_columns(self) -> None:
        run = etl({"orders.json": "[]"}, orders(Column("a", int), Column("b", "date")))
        assert run.dtypes("orders") == {"a": "int64", "b": "datetime64[us]"}


class TestChecks:
    def test_nulls_and_checks_name_their_rows(self) -> None:
        def even(values: pd.Series[Any]) -> Any:
            return values % 2 == 0

        schema = orders(Column("a", int, checks=[pandera.Check.ge(0), even]), Column("b"))
        run = etl({"orders.csv": "a,b\n-2,x\n3,y\n4,\n"}, schema)
        assert sorted(run.told("critical"), key=str) == [("orders", "a", 1), ("orders", "a", 2), ("orders", "b", 3)]
        assert "-2 breaks the check greater_than_or_equal_to(0)" in run.texts("critical")
        assert "even" in run.texts("critical")

    def test_a_check_that_raises_is_told(self) -> None:
        def odd(values: Any) -> Any:
            raise RuntimeError("boo")

        assert "boo" in etl({"orders.csv": "a\n1\n"}, orders(Column("a", checks=[odd]))).texts("critical")

    def test_checks_over_several_columns(self) -> None:
        def in_order(frame: pd.DataFrame) -> Any:
            return frame["a"] <= frame["b"]

        run = etl({"orders.csv": "a,b\n1,2\n2,1\n"}, orders(Column("a"), Column("b"), checks=[in_order]))
        assert run.told("critical") == [("orders", None, 2)]

    def test_a_milder_severity_stores_all_the_same(self) -> None:
        run = etl({"orders.csv": "a,b\n1,x\n,y\n"}, orders(Column("a", int, severity="warning")))
        assert run.values("orders")["a"] == [1, None]
        assert run.told("warning") == [("orders", "a", 2)]

    def test_the_rows_of_later_blocks_go_on_counting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_reader, "BLOCK", 1024)
        run = etl(
            {"orders.csv": "a,b\n" + "1,x\n" * 3000 + "-1,x\n"}, orders(Column("a", checks=[pandera.Check.ge(0)]))
        )
        assert run.told("critical") == [("orders", "a", 3001)]


class TestKeys:
    def test_primary_keys_stand_there_once_and_are_never_null(self) -> None:
        run = etl(
            {"orders.csv": "id,b\n1,x\n2,x\n1,x\n,x\n"}, orders(Column("id", int, primary_key=True, nullable=True))
        )
        assert run.kept_nothing
        assert sorted(run.told("critical"), key=str) == [("orders", "id", 3), ("orders", "id", 4)]
        assert "row 1" in run.texts("critical")

    def test_primary_keys_of_several_columns(self) -> None:
        schema = orders(Column("a", primary_key=True), Column("b", primary_key=True))
        assert etl({"orders.csv": "a,b\n1,1\n1,2\n"}, schema).outcome.success
        assert etl({"orders.csv": "a,b\n1,1\n1,1\n"}, schema).told("critical") == [("orders", None, 2)]

    def test_unique_values_may_be_null(self) -> None:
        schema = orders(Column("a", unique=True, nullable=True))
        assert etl({"orders.csv": "a,b\n1,x\n,x\n,x\n"}, schema).outcome.success
        assert etl({"orders.csv": "a,b\n1,x\n1,x\n1,x\n"}, schema).told("critical") == [
            ("orders", "a", 2),
            ("orders", "a", 3),
        ]

    def test_foreign_keys_across_files(self) -> None:
        schemas = [
            Schema("orders", [Column("product", foreign_key="products.id", nullable=True)]),
            Schema("products", [Column("id", primary_key=True)]),
        ]
        products = "id\na\nb\n"
        assert etl({"orders.csv": "product,n\na,1\n,2\n", "products.csv": products}, schemas).outcome.success
        run = etl({"orders.csv": "product,n\na,1\nc,2\n", "products.csv": products}, schemas)
        assert run.told("critical") == [("orders", "product", 2)]
        assert "'c' is not among the values of products.id" in run.texts("critical")

    def test_foreign_keys_compare_texts_and_numbers_as_they_are_written(self) -> None:
        schemas = [
            Schema("orders", [Column("p", "string", foreign_key="products.id")]),
            Schema("products", [Column("id")]),
        ]
        assert etl({"orders.csv": "p\n7\n", "products.csv": "id\n7\n"}, schemas).outcome.success

    def test_a_parent_that_is_not_there(self) -> None:
        run = etl({"orders.csv": "p\n7\n"}, orders(Column("p", foreign_key="products.id")))
        assert run.told("critical") == [("orders", "p", None)]

    def test_names_that_sql_would_trip_over(self) -> None:
        schema = [Schema('or"ders; --', [Column('the "id"', primary_key=True)])]
        run = etl({'or"ders; --.csv': '"the ""id"""\n1\n1\n'}, schema)
        assert run.told("critical") == [('or"ders; --', 'the "id"', 2)]


class TestFlood:
    def test_twenty_of_a_sort_are_given_and_the_rest_counted(self) -> None:
        run = etl({"orders.csv": "a,b\n" + "x,1\n" * 500}, orders(Column("a", int)))
        found = [m for m in run.outcome.messages if m.column == "a"]
        assert len(found) == 21
        assert [m.row for m in found] == [*range(1, 21), None]
        assert "480 more" in found[-1].message

    def test_a_hopeless_table_is_given_up(self) -> None:
        run = etl({"orders.csv": "a,b\n" + "x,1\n" * 30_000, "b.csv": "c\n1\n"}, orders(Column("a", int)))
        assert run.kept_nothing
        assert "not looked at" in run.texts("critical")

    def test_many_columns_make_no_more_than_a_thousand_messages(self) -> None:
        names = [f"c{n}" for n in range(1500)]
        run = etl(
            {"orders.csv": ",".join(names) + "\n" + ",".join("x" * 1500) + "\n"},
            orders(*(Column(n, int) for n in names)),
        )
        assert len(run.outcome.messages) == 1001
        assert "500 more" in run.outcome.messages[-1].message

    def test_the_outcome_travels_between_processes(self) -> None:
        outcome = etl({"orders.csv": "a\n1\n"}).outcome
        assert pickle.loads(pickle.dumps(outcome)) == outcome
        assert set(Message.model_fields) == {"severity", "table", "column", "row", "message"}


class Sales(EtlFactory):
    def table_name(self, name: str) -> str:
        return name.removeprefix("export_")

    def clean(self, table: str, batch: pd.DataFrame) -> pd.DataFrame:
        if table != "orders":
            return batch
        kept = batch[batch["qty"] > 0]
        if len(kept) < len(batch):
            self.report("warning", "orders of nothing were left out", table)
        return kept.assign(product=kept["product"].str.strip())

    def derive(self, tables: Tables) -> dict[str, Any]:
        return {
            "sold": tables.sql("select product, sum(qty) as total, max(price) as price from orders join products "
                               "using (product) group by product order by product"),
            "first": tables["orders"].head(1),
            "products": None,
        }  # fmt: skip


FILES_OF_SALES = {
    "export_orders.csv": "product,qty\na ,1\nb,0\na,2\nb,5\n",
    "products.csv": "product,price\na,1.5\nb,2.5\n",
}


class TestFactory:
    def test_tables_are_renamed_cleaned_joined_and_taken_away(self) -> None:
        run = etl(FILES_OF_SALES, factory=Sales)
        assert run.names == ["orders", "sold", "first"]
        assert run.values("sold") == {"product": ["a", "b"], "total": [3, 5], "price": [1.5, 2.5]}
        assert run.told("warning") == [("orders", None, None)]

    def test_rows_keep_their_numbers_through_clean(self) -> None:
        schema = orders(Column("product", checks=[pandera.Check.isin(["a"])]), Column("qty", unique=True))
        assert etl(FILES_OF_SALES, schema, Sales()).told("critical") == [("orders", "product", 4)]

    def test_a_new_index_gives_the_numbers_up(self) -> None:
        class Reset(EtlFactory):
            def clean(self, table: str, batch: pd.DataFrame) -> pd.DataFrame:
                return batch.reset_index(drop=True)

        run = etl({"orders.csv": "a\n1\n1\n"}, orders(Column("a", unique=True, checks=[pandera.Check.ge(2)])), Reset)
        assert run.told("critical") == [("orders", "a", None)] * 3

    def test_what_derive_makes_is_checked_too(self) -> None:
        schema = [Schema("sold", [Column("total", int, checks=[pandera.Check.le(4)])])]
        assert etl(FILES_OF_SALES, schema, Sales).told("critical") == [("sold", "total", 2)]

    @pytest.mark.parametrize("raised", [InvalidData("no good"), ZeroDivisionError("no good")])
    @pytest.mark.parametrize("method", ["clean", "derive"])
    def test_what_a_method_raises_is_told(self, raised: Exception, method: str) -> None:
        def fail(*_: Any) -> Any:
            raise raised

        factory = type("Failing", (EtlFactory,), {method: fail})
        run = etl({"orders.csv": "a\n1\n"}, factory=factory)
        assert run.kept_nothing
        assert "no good" in run.texts("critical")

    @pytest.mark.parametrize("given", [3, [1, 2], "select 1"])
    def test_what_is_no_table_is_told(self, given: Any) -> None:
        factory = type("Odd", (EtlFactory,), {"derive": lambda self, tables: {"x": given}})
        assert etl({"orders.csv": "a\n1\n"}, factory=factory).kept_nothing

    def test_a_critical_report_stores_nothing(self) -> None:
        class Strict(EtlFactory):
            def derive(self, tables: Tables) -> dict[str, Any]:
                self.report("critical", "too little", "orders")
                return {}

        assert etl({"orders.csv": "a\n1\n"}, factory=Strict).told("critical") == [("orders", None, None)]

    def test_one_instance_serves_many_uploads(self) -> None:
        factory = Sales()
        assert len(etl(FILES_OF_SALES, factory=factory).told("warning")) == 1
        assert len(etl(FILES_OF_SALES, factory=factory).told("warning")) == 1

    def test_nulls_are_the_factorys(self) -> None:
        class Own(EtlFactory):
            nulls = frozenset({"missing"})

        assert etl({"a.csv": "k,v\na,1\na,missing\n"}, factory=Own).values("a")["v"] == [1, None]


def test_progress_rises_and_names_the_files(tmp_path: Path) -> None:
    (tmp_path / "u").write_text("a\n" + "1\n" * 1000)
    told: list[tuple[float, str | None]] = []
    run_etl(
        [Upload(tmp_path / "u", "a.csv")],
        "d",
        (),
        None,
        Storage(str(tmp_path / "s")),
        FILES,
        lambda *it: told.append(it),
    )
    percents = [percent for percent, _ in told]
    assert percents == sorted(percents)
    assert told[0] == (0, "reading a.csv")
