"""Ray Tune's result folders: what each trial reported, and how it ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.domain import Objective, TrialState
from tunesmith.domain.value import finite_only
from tunesmith.errors import BadRequest
from tunesmith.interchange.content import Content, unreadable
from tunesmith.interchange.inference import inferred
from tunesmith.interchange.layout import Said
from tunesmith.schemas.records import Intermediate, Record

STATE = "experiment_state-*.json"
"""Tune's file about the whole run; the last by name is the newest."""
STATES = {
    "TERMINATED": TrialState.COMPLETE,
    "ERROR": TrialState.FAILED,
    "PENDING": TrialState.FAILED,
    "RUNNING": TrialState.FAILED,
    "PAUSED": TrialState.FAILED,
}
"""Tune's states; nobody goes on with what was not finished."""
BOOKKEEPING = frozenset(
    {
        *("timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s"),
        *("time_total_s", "pid", "hostname", "node_ip", "config", "time_since_restore", "iterations_since_restore"),
        *("experiment_tag", "should_checkpoint"),
    }
)
"""What Tune adds to each result."""
MAX_ERROR = 10_000
"""Characters of an error that are kept: the last ones."""


def is_folder(place: str) -> bool:
    """Whether people mean a result folder by it."""
    return Path(place).is_dir()


def read_folder(path: Path, said: Said, name: str | None = None) -> Content:
    """The trials of a run.

    The value of a trial is what it reported last; every report is an intermediate value.

    Raises:
        InvalidBody: it is no result folder, or a file in it is damaged.
        BadRequest: nobody knows what was optimized.
    """
    states = sorted(path.glob(STATE))
    if not states:
        raise unreadable(path, f"there is no {STATE} in it, so it is no result folder of Ray Tune's")
    document = _json(states[-1])
    found = sorted(_trials(states[-1], document), key=lambda trial: str(trial.get("trial_id")))
    if not found:
        raise unreadable(states[-1], "it has no trials")
    objectives = tuple(said.objectives) or _optimized(path, document)
    records = [_record(path, number, trial, objectives) for number, trial in enumerate(found)]
    notes = _notes(found, [objective.metric for objective in objectives], records)
    return inferred(name or path.name, records, objectives, said.params, notes)


def _trials(path: Path, document: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("trial_data"), list):
        raise unreadable(path, "there is no list `trial_data` in it")
    for index, entry in enumerate(document["trial_data"]):
        try:
            trial, runtime = (json.loads(part) for part in entry)
            yield {**trial, "runtime": runtime, "folder": trial["relative_logdir"], "status": trial["status"]}
        except (ValueError, TypeError, KeyError) as error:
            raise unreadable(path, f"trial_data[{index}] is no trial of Ray Tune's ({error})") from error


def _optimized(path: Path, document: Mapping[str, Any]) -> tuple[Objective, ...]:
    metric = document.get("runner_data", {}).get("_metric")
    if not metric:
        raise BadRequest(f"{path}: Ray Tune did not note what was optimized; name it: --objective loss")
    return (Objective(metric=metric),)


def _record(path: Path, number: int, trial: Mapping[str, Any], objectives: Sequence[Objective]) -> Record:
    results = list(_results(path / trial["folder"], trial))
    last = _flat(results[-1]) if results else {}
    values = [last.get(objective.metric) for objective in objectives]
    known = all(isinstance(value, int | float) and not math.isnan(value) for value in values)
    state = STATES.get(trial["status"], TrialState.FAILED)
    state = state if known else TrialState.FAILED
    started = trial["runtime"].get("start_time")
    ended = trial["runtime"].get("last_result_time")
    return Record(
        number=number,
        state=state,
        params={name: value for name, value in _flat(trial.get("config") or {}).items() if _is_scalar(value)},
        values=tuple(float(value) for value in values if value is not None) if state is TrialState.COMPLETE else None,
        metrics=finite_only({name: value for name, value in last.items() if _counts(name, value)}),
        intermediate_values=tuple(_reported(results)),
        user_attrs={"ray:trial_id": trial.get("trial_id")},
        error=_error(path / trial["folder"], trial["status"], state),
        attempt=max(1, int(trial["runtime"].get("num_failures") or 0) + (trial["status"] != "ERROR")),
        worker=last.get("hostname"),
        started_at=_moment(started),
        ended_at=_moment(ended) if started else None,
    )


def _results(folder: Path, trial: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every report; where the trial's own file is away, the last one that the run's file has."""
    path = folder / "result.json"
    if not path.is_file():
        last = trial["runtime"].get("last_result") or {}
        if last:
            yield last
        return
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            report = json.loads(text)
        except ValueError as error:
            raise unreadable(path, f"line {line} is no JSON", line=line) from error
        if not isinstance(report, dict):
            raise unreadable(path, f"line {line} is no JSON object", line=line)
        yield report


def _reported(results: Sequence[Mapping[str, Any]]) -> list[Intermediate]:
    found: dict[tuple[str, int], float] = {}
    for index, report in enumerate(results, 1):
        step = report.get("training_iteration", index)
        for name, value in _flat(report).items():
            if _counts(name, value):
                found[name, int(step)] = float(value)
    return [Intermediate(metric=m, step=step, value=value) for (m, step), value in sorted(found.items())]


def _counts(name: str, value: Any) -> bool:
    own = name not in BOOKKEEPING and not name.startswith("config/") and len(name) <= 200
    return own and isinstance(value, int | float) and not isinstance(value, bool)


def _flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values under the names that Tune gives them: `model/units`."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= _flat(value, f"{above}{name}/") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _error(folder: Path, status: str, state: TrialState) -> str | None:
    if state is not TrialState.FAILED:
        return None
    path = folder / "error.txt"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")[-MAX_ERROR:]
    return "it reported no value of an objective" if status == "TERMINATED" else f"Ray Tune left it {status}"


def _notes(found: Sequence[Mapping[str, Any]], metrics: Sequence[str], records: Sequence[Record]) -> list[str]:
    left = sorted({n for trial in found for n, v in _flat(trial.get("config") or {}).items() if not _is_scalar(v)})
    notes = [f"left out: {', '.join(left)} (no JSON scalars)"] if left else []
    without = sum(record.values is None for record in records)
    return [*notes, f"{without} of {len(records)} trials have no {' and '.join(metrics)}"] if without else notes


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unreadable(path, f"is no JSON: {error}") from error
