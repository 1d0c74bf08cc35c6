"""Writing trials to a file: CSV, or Parquet through pyarrow; the file appears whole or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tunesmith.domain import render_time
from tunesmith.errors import BadRequest
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.trials import TrialAnswer

Row = dict[str, Any]
FIRST = ("number", "state", "run_number", "job_id", "feasible")
LAST = ("started_at", "ended_at", "duration_s", "attempt", "worker", "error")
TIMES = ("started_at", "ended_at")


def write_rows(path: Path, experiment: ExperimentAnswer, trials: Iterable[TrialAnswer]) -> int:
    """Write one row per trial and return how many. Raises BadRequest where the file cannot be of that name or place."""
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise BadRequest(f"{path} should end in {' or '.join(_WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise BadRequest(f"{path}: the directory {path.absolute().parent} does not exist")
    rows = [_row(trial) for trial in trials]
    try:
        _whole(path, lambda partial: write(partial, _columns(experiment, rows), rows))
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}") from error
    return len(rows)


def _row(trial: TrialAnswer) -> Row:
    finished = trial.state in ("complete", "pruned", "failed")
    return {
        **{name: getattr(trial, name) for name in FIRST},
        **{f"param.{name}": value for name, value in trial.params.items()},
        **{f"value.{metric}": value for metric, value in trial.outcomes.items()},
        **{f"metric.{metric}": value for metric, value in trial.metrics.items()},
        "ended_at": trial.timestamp if finished else None,
        **{name: getattr(trial, name) for name in LAST if name != "ended_at"},
    }


def _columns(experiment: ExperimentAnswer, rows: Sequence[Row]) -> list[str]:
    params = [f"param.{parameter.name}" for parameter in experiment.parameters]
    values = [f"value.{objective.metric}" for objective in experiment.objectives]
    metrics = sorted({name for row in rows for name in row if name.startswith("metric.")})
    return [*FIRST, *params, *values, *metrics, *LAST]


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    os.close(handle)
    partial = Path(name)
    try:
        write(partial)
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            times = {name: render_time(row[name]) for name in TIMES if row[name] is not None}
            writer.writerow(row | times)


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    arrays = [_array(name, [row.get(name) for row in rows]) for name in columns]
    parquet.write_table(pa.Table.from_arrays(arrays, names=list(columns)), path)


def _array(name: str, values: list[Any]) -> Any:
    import pyarrow as pa

    if name in TIMES:
        return pa.array(values, pa.timestamp("ms", "UTC"))
    if name == "duration_s" or name.startswith(("value.", "metric.")):
        return pa.array(values, pa.float64())
    if not any(value is not None for value in values):
        return pa.array(values, pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # choices of several types: text holds them all
        return pa.array([None if value is None else str(value) for value in values], pa.string())


_WRITERS: dict[str, Callable[[Path, Sequence[str], Sequence[Row]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
