"""The columns of the two tables that trials are written as; docs/files.md describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from tunesmith.domain import TrialState
from tunesmith.interchange.content import Content, Record

Kind = Literal["int", "float", "bool", "time", "text", "scalar", "json"]
Column = tuple[str, Kind, list[Any]]
"""A column's name, the kind of its values, and the values; None where there is none."""
PARAM, VALUE, METRIC = "param.", "value.", "metric."
"""What the names of a parameter's, an objective's and a metric's column begin with."""
NULL = object()
"""Stands for a parameter whose value is null, which is no missing one."""

FIRST: tuple[tuple[str, Kind, Callable[[Any], Any]], ...] = (
    ("number", "int", lambda record: record.number),
    ("state", "text", lambda record: record.state.value),
    ("run_number", "int", lambda record: getattr(record, "run_number", None)),
    ("job_id", "text", lambda record: getattr(record, "job_id", None)),
    ("feasible", "bool", lambda record: _feasible(record)),
)
LAST: tuple[tuple[str, Kind, Callable[[Any], Any]], ...] = (
    ("violation", "float", lambda record: record.violation),
    ("created_at", "time", lambda record: record.created_at),
    ("started_at", "time", lambda record: record.started_at),
    ("ended_at", "time", lambda record: record.ended_at),
    ("duration_s", "float", lambda record: _duration_s(record)),
    ("attempt", "int", lambda record: record.attempt),
    ("worker", "text", lambda record: record.worker),
    ("error", "text", lambda record: record.error),
    ("user_attrs", "json", lambda record: dict(record.user_attrs) or None),
    ("system_attrs", "json", lambda record: dict(record.system_attrs) or None),
)
DERIVED = ("run_number", "job_id", "feasible", "duration_s")
"""Columns that an import leaves out: they follow from others, or belong to the platform that wrote them."""


def trial_columns(content: Content) -> list[Column]:
    """One row per trial."""
    records = content.records
    objectives = [objective.metric for objective in content.objectives]
    return [
        *((name, kind, [read(record) for record in records]) for name, kind, read in FIRST),
        *((PARAM + name, "scalar", _params(records, name)) for name in _names(content)),
        *((VALUE + name, "float", _values(records, index)) for index, name in enumerate(objectives)),
        *((METRIC + name, "float", [r.metrics.get(name) for r in records]) for name in _metrics(records)),
        *((name, kind, [read(record) for record in records]) for name, kind, read in LAST),
    ]


def measurement_columns(records: Sequence[Record]) -> list[Column]:
    """One row per intermediate value, by trial, metric and step."""
    found = [(record.number, m) for record in records for m in record.intermediate_values]
    return [
        ("number", "int", [number for number, _ in found]),
        ("metric", "text", [m.metric for _, m in found]),
        ("step", "int", [m.step for _, m in found]),
        ("value", "float", [m.value for _, m in found]),
    ]


def as_json(value: Any) -> str:
    """Attributes as text, NaN and infinities as Python's JSON has them."""
    return json.dumps(value, ensure_ascii=False)


def _names(content: Content) -> list[str]:
    declared = [parameter["name"] for parameter in (content.form.experiment or {}).get("parameters", ())]
    return list(dict.fromkeys([*declared, *_among(record.params for record in content.records)]))


def _metrics(records: Sequence[Record]) -> list[str]:
    return sorted(_among(record.metrics for record in records))


def _among(keys: Iterable[Iterable[str]]) -> dict[str, None]:
    return dict.fromkeys(name for some in keys for name in some)


def _params(records: Sequence[Record], name: str) -> list[Any]:
    found = (record.params.get(name, NULL) for record in records)
    return [None if value is NULL else NULL if value is None else value for value in found]


def _values(records: Sequence[Record], index: int) -> list[float | None]:
    return [None if record.values is None else record.values[index] for record in records]


def _feasible(record: Record) -> bool | None:
    return None if record.violation is None or record.state is not TrialState.COMPLETE else record.violation <= 0


def _duration_s(record: Record) -> float | None:
    if record.started_at is None or record.ended_at is None:
        return None
    return (record.ended_at - record.started_at).total_seconds()
