"""What a run of a model leaves, read again: many rows, nested cells, no rows, nothing at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve_app.run_results import Results
from tunesmith.domain import JobState, ModelRun, utcnow
from tunesmith.errors import InvalidCursor, StorageUnavailable
from tunesmith.storage import Storage, trial_key


@pytest.fixture
def left(tmp_path: Path) -> Callable[[pa.Table], Results]:
    def leave(table: pa.Table, **options: Any) -> Results:
        now = utcnow()
        run = ModelRun(
            id="r", model_id="m", inputs={}, experiment_id=3, job_id="j", state=JobState.SUCCEEDED,
            trial_number=0, created_at=now, updated_at=now,
        )  # fmt: skip
        directory = tmp_path / trial_key(3, 0)
        directory.mkdir(parents=True)
        pq.write_table(table, directory / "rows.parquet", **options)
        return Results(Storage(str(tmp_path)), run)

    return leave


def test_pages_go_across_row_groups(left: Callable[..., Results]) -> None:
    results = left(pa.table({"n": range(100)}), row_group_size=9)
    found, cursor, pages = [], None, 0
    while True:
        rows, cursor = results.page(cursor, 13)
        found += [row["n"] for row in rows]
        pages += 1
        if cursor is None:
            break
    assert (found, pages) == (list(range(100)), 8)
    with pytest.raises(InvalidCursor):
        results.page("abc", 13)


def test_cells_of_csv_are_quoted_and_nested_ones_are_json(left: Callable[..., Results]) -> None:
    table = pa.table({"a b": ['x,"y"', None, "é"], "list": [[1, 2], None, []], "ok": [True, False, None]})
    text = b"".join(left(table).csv()).decode()
    assert list(csv.reader(io.StringIO(text))) == [
        ["a b", "list", "ok"], ['x,"y"', "[1,2]", "true"], ["", "", "false"], ["é", "[]", ""],
    ]  # fmt: skip


def test_no_rows_are_a_page_and_a_header(left: Callable[..., Results]) -> None:
    results = left(pa.table({"n": pa.array([], pa.int64())}))
    assert results.page(None, 10) == ([], None)
    assert b"".join(results.csv()) == b"n\n"


def test_results_that_are_gone_are_said_to_be(left: Callable[..., Results]) -> None:
    results = left(pa.table({"n": [1]}))
    results.storage.remove_all(trial_key(3, 0))
    for read in (results.summary, lambda: results.page(None, 1), lambda: list(results.csv()),
                 lambda: list(results.parquet())):  # fmt: skip
        with pytest.raises(StorageUnavailable):
            read()
