"""Trials as an Arrow table, and the best of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.domain import ExperimentSpec, Scalar, Trial

if TYPE_CHECKING:
    import pyarrow


def front(spec: ExperimentSpec, trials: Iterable[Trial]) -> list[Trial]:
    """The feasible trials that no other one beats, best first in the first objective; of one objective, one."""
    signs = [objective.sign for objective in spec.objectives]
    feasible = [trial for trial in trials if trial.feasible and trial.values is not None]

    def costs(trial: Trial) -> tuple[float, ...]:
        return tuple(value * sign for value, sign in zip(trial.values or (), signs, strict=True))

    ordered = sorted(feasible, key=lambda trial: (costs(trial), trial.number))
    if len(signs) == 1:
        return ordered[:1]
    kept: list[tuple[tuple[float, ...], Trial]] = []
    for trial in ordered:  # nothing behind it in this order can beat it
        mine = costs(trial)
        if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other, _ in kept):
            kept.append((mine, trial))
    return [trial for _, trial in kept]


def table(spec: ExperimentSpec, trials: Sequence[Trial]) -> pyarrow.Table:
    """One row a trial, by number; see `Result.trials` for the columns."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "number": pa.array([trial.number for trial in trials], pa.int64()),
        "state": pa.array([trial.state.value for trial in trials], pa.string()),
    }
    objectives = [objective.metric for objective in spec.objectives]
    for index, metric in enumerate(objectives):
        name = "value" if len(objectives) == 1 else f"values_{metric}"
        columns[name] = pa.array([trial.values[index] if trial.values else None for trial in trials], pa.float64())
    for name in _names((trial.params for trial in trials), [parameter.name for parameter in spec.space]):
        columns[f"params_{name}"] = _column([trial.params.get(name) for trial in trials])
    for name in _names((trial.metrics for trial in trials), []):
        if name not in objectives:
            columns[f"metrics_{name}"] = pa.array([trial.metrics.get(name) for trial in trials], pa.float64())
    if spec.constraints:
        columns["feasible"] = pa.array([trial.feasible if trial.values else None for trial in trials], pa.bool_())
    moment = pa.timestamp("us", tz="UTC")
    columns["started_at"] = pa.array([trial.started_at for trial in trials], moment)
    columns["ended_at"] = pa.array([trial.ended_at for trial in trials], moment)
    columns["duration_s"] = pa.array([trial.duration_s for trial in trials], pa.float64())
    columns["error"] = pa.array([trial.error for trial in trials], pa.string())
    return pa.table(columns)


def _names(mappings: Iterable[Any], first: Sequence[str]) -> list[str]:
    """The keys of all mappings, `first` before the others, in the order of their first appearance."""
    return list(dict.fromkeys([*first, *(name for mapping in mappings for name in mapping)]))


def _column(values: Sequence[Scalar]) -> Any:
    """A parameter's values in the narrowest type that holds them all; JSON text where they are of several kinds."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds in ({bool}, {str}):
        return pa.array(values, pa.bool_() if kinds == {bool} else pa.string())
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
