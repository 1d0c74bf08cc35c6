"""A run of a model, in the child: its rows as a table, and the summary of them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import JsonValue

from tuners.hosting.algorithms import keep, load
from tuners.hosting.measuring import measured
from tuners.hosting.results import plain, to_json
from tuners.hosting.tasks import ModelTask, TaskFailed, Voice
from tunesmith.domain import metric_name
from tunesmith.models import Model

ROWS = "rows.parquet"
GROUP = 10_000
"""Rows that are read at once, where a page of them is asked for."""


def run(task: ModelTask, voice: Voice) -> dict[str, float]:
    """Run it. Raises TaskFailed, and whatever the model raises."""
    model = _loaded(task)
    os.chdir(task.directory)
    voice.begin(model.timeout_s, "the model's timeout_s")
    with measured() as metrics:
        found = model(task.inputs, voice.progress)
    rows, summary = found if isinstance(found, tuple) and len(found) == 2 else (found, {})
    table = to_table(rows)
    shown = summary_of(table, summary)
    pq.write_table(table, Path(task.directory, ROWS), row_group_size=GROUP)
    keep(task.directory, to_json({"summary": shown}))
    return {**_numbers(shown), **metrics}


def to_table(rows: Any) -> pa.Table:
    """A model's rows as a table, NaN as null. Raises TaskFailed that says what is wrong with them."""
    try:
        if isinstance(rows, pa.Table):
            return rows
        if hasattr(rows, "columns") and hasattr(rows, "iloc"):
            return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise TaskFailed(f"the rows are no table: {error}") from error
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise TaskFailed(f"the model gave {rows!r:.80}; it has to give rows: dicts, a data frame or an Arrow table")
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({str(name): _column(name, [row.get(name) for row in rows]) for name in names})


def summary_of(table: pa.Table, summary: Any) -> dict[str, JsonValue]:
    """What is said of the rows: how many there are, the mean of the column `value`, and what the model says itself."""
    if not isinstance(summary, Mapping):
        raise TaskFailed(f"the summary is {summary!r:.80}; it has to be a dict")
    known: dict[str, JsonValue] = {"rows": table.num_rows}
    if "value" in table.column_names and _is_number(table.column("value").type):
        known["avg_value"] = plain(pc.call_function("mean", [table.column("value")]).as_py())
    said = plain(summary, "summary")
    assert isinstance(said, dict)
    return {**known, **said, "rows": table.num_rows}


def _loaded(task: ModelTask) -> Model:
    found = load(task.plugin, task.artifacts)
    if task.name not in found.models:
        raise TaskFailed(f"the plugin {task.plugin} has no model {task.name!r} any more")
    model: Model = found.models[task.name].item
    return model


def _column(name: object, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise TaskFailed(f"the rows' column {name!r} has no one type: {error}") from error


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(summary: Mapping[str, JsonValue]) -> dict[str, float]:
    """The summary's numbers as metrics."""
    return {
        metric_name(name): float(value)
        for name, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
