"""Trials as tables: our own pair of files, exact, and tables of somebody else's, as far as they can be understood."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith.domain import Objective, TrialState
from tunesmith.errors import BadRequest, InvalidBody
from tunesmith.interchange.cells import from_text
from tunesmith.interchange.columns import VALUE, measurement_columns, trial_columns
from tunesmith.interchange.content import Content, unreadable
from tunesmith.interchange.files import whole
from tunesmith.interchange.inference import inferred
from tunesmith.interchange.layout import Layout, Said, layout_of
from tunesmith.interchange.tables import Sheet, check_ending, moment_of, read_table, write_table
from tunesmith.schemas.fitting import frame_of
from tunesmith.schemas.records import ExperimentForm, Intermediate, Record

STATES = {"fail": TrialState.FAILED} | {state.value: state for state in TrialState}
"""State -> ours; Optuna's `FAIL` among them."""
NOTHING = (None, "")
"""Cells without a value."""


def beside(path: Path, what: str) -> Path:
    """The file beside a table of trials: `runs.csv` -> `runs.measurements.csv`, `runs.experiment.json`."""
    return path.with_name(f"{path.stem}.{what}")


def write_trials(path: Path, content: Content) -> None:
    """Write a table of trials, one of intermediate values, and the experiment's form; each appears whole.

    Raises:
        BadRequest: the file cannot be of that name or place.
    """
    check_ending(path)
    form = content.form.model_dump_json(indent=2, exclude_none=True)
    measured = beside(path, f"measurements{path.suffix}")
    whole(measured, lambda partial: write_table(partial, measurement_columns(content.records)))
    whole(beside(path, "experiment.json"), lambda partial: _write_text(partial, form + "\n"))
    whole(path, lambda partial: write_table(partial, trial_columns(content)))


def read_trials(path: Path, said: Said, name: str | None = None) -> Content:
    """The trials of a table, with the intermediate values and the form beside it where they are there.

    Raises:
        InvalidBody: a file does not hold what it should; the message names line or row and column.
        BadRequest: nobody knows which columns are parameters or objectives, or people name one that is not there.
    """
    sheet = read_table(path)
    form = _read_form(beside(path, "experiment.json"))
    layout = layout_of(sheet.columns, Said() if form is not None else said)
    measured = _read_measured(beside(path, f"measurements{path.suffix}"))
    objectives = _objectives(sheet, layout, said) if form is None else Content(form, ()).objectives
    lost = [objective.metric for objective in objectives if objective.metric not in layout.values]
    if lost:
        raise unreadable(path, f"there is no column {VALUE + lost[0]!r} for the objective; export it again")
    reader = _Rows(sheet, layout, objectives, measured, exact=form is not None)
    records = [reader.record(line, row, index) for index, (line, row) in enumerate(sheet.rows)]
    content = (
        Content(form, records)
        if form is not None
        else inferred(name or path.stem, records, objectives, said.params, _left_out(layout))
    )
    _check(content, sheet)
    unknown = measured.keys() - {record.number for record in records}
    if unknown:
        raise unreadable(beside(path, f"measurements{path.suffix}"), f"trial {min(unknown)} is not in {path.name}")
    return content


class _Rows:
    """Turns rows into records."""

    def __init__(
        self,
        sheet: Sheet,
        layout: Layout,
        objectives: tuple[Objective, ...],
        measured: Mapping[int, list[Intermediate]],
        exact: bool,
    ) -> None:
        self._sheet, self._layout, self._objectives, self._measured = sheet, layout, objectives, measured
        self._exact = exact
        self._csv = sheet.path.suffix.lower() == ".csv"

    def record(self, line: int, row: Mapping[str, Any], index: int) -> Record:
        """The record of a row. Raises InvalidBody."""
        layout, get = self._layout, self._field
        number = get(line, row, "number", _whole)
        number = index if number is None else number
        values, attempt = self._values(line, row), get(line, row, "attempt", _whole)
        state = get(line, row, "state", _state) or (TrialState.FAILED if values is None else TrialState.COMPLETE)
        kept = None if state is TrialState.FAILED and not self._exact else values
        params = {
            n: self._scalar(column, row[column]) for n, column in layout.params.items() if self._there(row[column])
        }
        metrics = {n: self._cell(line, column, row, _real) for n, column in layout.metrics.items()}
        return self._made(
            line,
            number=number,
            state=state,
            params={name: None if value is _Null else value for name, value in params.items()},
            values=kept,
            metrics={name: value for name, value in metrics.items() if value is not None},
            violation=get(line, row, "violation", _real),
            intermediate_values=tuple(self._reported(line, row, number)),
            user_attrs=self._attrs(line, row, "user_attrs", layout.user_attrs),
            system_attrs=self._attrs(line, row, "system_attrs", layout.system_attrs),
            error=get(line, row, "error", self._text),
            attempt=1 if attempt is None else attempt,
            worker=get(line, row, "worker", self._text),
            created_at=get(line, row, "created_at", moment_of),
            started_at=get(line, row, "started_at", moment_of),
            ended_at=get(line, row, "ended_at", moment_of),
        )

    def _made(self, line: int, **fields: Any) -> Record:
        try:
            return Record(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = [str(part) for part in first["loc"]]
            column = self._layout.fields.get(place[0]) or getattr(self._layout, place[0], {}).get(place[-1], place[0])
            raise self._sheet.error(line, column, f"{first['msg']} (given: {first['input']!r})") from error

    def _field(self, line: int, row: Mapping[str, Any], name: str, read: Callable[[Any], Any]) -> Any:
        column = self._layout.fields.get(name)
        return None if column is None else self._cell(line, column, row, read)

    def _cell(self, line: int, column: str, row: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
        if not self._there(row[column]):
            return None
        try:
            return read(row[column])
        except (ValueError, TypeError, OverflowError) as error:
            raise self._sheet.error(line, column, str(error)) from error

    def _there(self, cell: Any) -> bool:
        if cell in NOTHING:
            return self._exact and cell == ""
        if self._exact:
            return True
        return not (isinstance(cell, float) and math.isnan(cell)) and str(cell) not in ("nan", "NaT", "NaN")

    def _scalar(self, column: str, cell: Any) -> Any:
        if column not in self._sheet.encoded or not isinstance(cell, str):
            return cell if isinstance(cell, str | int | float | bool) else str(cell)
        if not self._exact and cell in ("True", "False"):  # as pandas writes them
            return cell == "True"
        value = from_text(cell)
        return _Null if value is None else value

    def _text(self, cell: Any) -> str:
        found = from_text(cell) if self._csv else cell
        return found if isinstance(found, str) else str(cell)

    def _values(self, line: int, row: Mapping[str, Any]) -> tuple[float, ...] | None:
        columns = [self._layout.values[objective.metric] for objective in self._objectives]
        found = [self._cell(line, column, row, _real) for column in columns]
        if all(value is None for value in found):
            return None
        missing = next((c for c, value in zip(columns, found, strict=True) if value is None), None)
        if missing is not None:
            raise self._sheet.error(line, missing, "is empty, but the other objectives have values; give all or none")
        return tuple(found)

    def _reported(self, line: int, row: Mapping[str, Any], number: int) -> Iterable[Intermediate]:
        yield from sorted(self._measured.get(number, ()), key=lambda m: (m.metric, m.step))
        for step, column in sorted(self._layout.intermediate.items()):
            value = self._cell(line, column, row, _real)
            if value is not None:
                yield Intermediate(metric=self._objectives[0].metric, step=step, value=value)

    def _attrs(self, line: int, row: Mapping[str, Any], field: str, keys: Mapping[str, str]) -> dict[str, Any]:
        whole_attrs = self._field(line, row, field, _object) or {}
        return whole_attrs | {
            key: from_text(str(row[column])) for key, column in keys.items() if self._there(row[column])
        }


class _Null:
    """Stands for a value that is null, which is no missing one."""


def _objectives(sheet: Sheet, layout: Layout, said: Said) -> tuple[Objective, ...]:
    given = {objective.metric: objective for objective in said.objectives}
    columns = ", ".join(sheet.columns)
    if not layout.params:
        raise BadRequest(
            f"{sheet.path}: no column is known to be a parameter (`param.x` or `params_x`); name them: --param lr. "
            f"There are {columns}"
        )
    if not layout.values:
        raise BadRequest(
            f"{sheet.path}: no column is known to be an objective (`value.x`, `value` or `values_x`); name it: "
            f"--objective loss. There are {columns}"
        )
    found = tuple(
        given.get(name) or Objective(metric=name if name[:1].isalpha() else f"value_{name}") for name in layout.values
    )
    layout.values = {o.metric: column for o, column in zip(found, layout.values.values(), strict=True)}
    return found


def _left_out(layout: Layout) -> list[str]:
    ignored = [column for column in layout.ignored if column and not column.startswith(("Unnamed:", "__index"))]
    return [f"left out: {', '.join(ignored)} (neither parameter nor objective)"] if ignored else []


def _check(content: Content, sheet: Sheet) -> None:
    try:
        frame_of(content.form).check(content.records)
    except InvalidBody as error:
        index = error.details.get("record")
        if index is None:
            raise
        found = error.details["fields"][0]
        column = str(found["field"]).split(".", 2)[2]
        raise sheet.error(sheet.rows[index][0], column, f"{found['message']} (given: {found['value']})") from error


def _read_form(path: Path) -> ExperimentForm | None:
    if not path.is_file():
        return None
    try:
        return ExperimentForm.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise unreadable(
            path, f"is no form of an experiment ({where}: {first['msg']}); export it again, or remove it"
        ) from error


def _read_measured(path: Path) -> dict[int, list[Intermediate]]:
    if not path.is_file():
        return {}
    sheet = read_table(path)
    missing = {"number", "metric", "step", "value"} - set(sheet.columns)
    if missing:
        raise unreadable(path, f"there is no column {min(missing)!r}; it has number, metric, step and value")
    found: dict[int, list[Intermediate]] = {}
    for line, row in sheet.rows:
        read: dict[str, Any] = {}
        for column, kind in (("number", _whole), ("metric", _named), ("step", _whole), ("value", _any_float)):
            try:
                read[column] = kind(row[column])
            except (ValueError, TypeError) as error:
                raise sheet.error(line, column, str(error)) from error
        found.setdefault(read.pop("number"), []).append(Intermediate(**read))
    return found


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _whole(cell: Any) -> int:
    if isinstance(cell, float) and cell == int(cell):  # pandas makes floats of integers where some are missing
        return int(cell)
    if isinstance(cell, bool) or not str(cell).lstrip("-").isdigit():
        raise ValueError(f"{cell!r} is no whole number")
    return int(cell)


def _any_float(cell: Any) -> float:
    if isinstance(cell, bool):
        raise ValueError(f"{cell!r} is no number")
    try:
        return float(cell)
    except (ValueError, TypeError):
        raise ValueError(f"{cell!r} is no number") from None


def _real(cell: Any) -> float:
    value = _any_float(cell)
    if math.isnan(value):
        raise ValueError("NaN is no value; leave the cell empty")
    return value


def _state(cell: Any) -> TrialState:
    found = STATES.get(str(cell).rpartition(".")[2].lower())
    if found is None:
        raise ValueError(f"{cell!r} is no state; there are {', '.join(TrialState)}")
    return found


def _named(cell: Any) -> str:
    found = from_text(cell) if isinstance(cell, str) else cell
    return found if isinstance(found, str) else str(cell)


def _object(cell: Any) -> dict[str, Any]:
    found = json.loads(cell)
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    return found
