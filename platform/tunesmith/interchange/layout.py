"""Which column of a table is what: by our names, by those of Optuna's data frames, or as people say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.domain import Objective
from tunesmith.errors import BadRequest
from tunesmith.interchange.columns import DERIVED, FIRST, LAST, METRIC, PARAM, VALUE

RENAMED = {"datetime_start": "started_at", "datetime_complete": "ended_at"}
"""Optuna's names of the columns that we call otherwise."""
FIELDS = frozenset(name for name, _, _ in (*FIRST, *LAST)) - set(DERIVED)
PREFIXES = {
    "params": (PARAM, "params_"),
    "values": (VALUE, "values_"),
    "metrics": (METRIC,),
    "user_attrs": ("user_attrs_",),
    "system_attrs": ("system_attrs_",),
}
HINT = re.compile(r"(?P<name>.+?)(:(?P<type>int|float|categorical)(:(?P<low>[^:]+):(?P<high>[^:]+)(?P<log>:log)?)?)?")


@dataclass(frozen=True)
class Hint:
    """What people say of a parameter: its column, and what may not be seen in the data."""

    column: str
    type: Literal["int", "float", "categorical"] | None = None
    bounds: tuple[float, float] | None = None
    log: bool = False


@dataclass(frozen=True)
class Said:
    """What people say of a table."""

    params: Mapping[str, Hint] = field(default_factory=dict)
    """Column -> hint."""
    objectives: Sequence[Objective] = ()
    """What is optimized; for a table of somebody else's, names of columns."""


@dataclass
class Layout:
    """Name -> column, for each kind of thing that a table may have."""

    params: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    user_attrs: dict[str, str] = field(default_factory=dict)
    system_attrs: dict[str, str] = field(default_factory=dict)
    intermediate: dict[int, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    """Field of a record -> column."""
    ignored: list[str] = field(default_factory=list)


def layout_of(columns: Sequence[str], said: Said) -> Layout:
    """What each column is. Raises BadRequest where a column that people name is not there."""
    wanted = [*said.params, *(objective.metric for objective in said.objectives)]
    found = Layout()
    for column in columns:
        if column in said.params:
            found.params[column] = column
        elif column in wanted:
            found.values[column] = column
        else:
            _place(found, column)
    known = {*found.params, *found.values, *columns}
    for name in wanted:
        if name not in known:
            raise BadRequest(f"there is no column {name!r}; there are {', '.join(columns)}", column=name)
    return found


def hint_of(text: str) -> Hint:
    """A hint as it is written: `lr`, `lr:float`, `lr:float:1e-5:1e-1:log`. Raises BadRequest."""
    match = HINT.fullmatch(text)
    assert match is not None  # any text is a name
    name, kind, low, high = match["name"], match["type"], match["low"], match["high"]
    if kind == "categorical" and low is not None:
        raise BadRequest(f"--param {text}: a categorical has no range; write {name}:categorical")
    try:
        bounds = None if low is None else (float(low), float(high))
    except ValueError as error:
        raise BadRequest(
            f"--param {text}: {error}; write NAME:TYPE:MINIMUM:MAXIMUM, for instance lr:float:0:1"
        ) from error
    return Hint(name, kind, bounds, match["log"] is not None)  # type: ignore[arg-type]


def objective_of(text: str) -> Objective:
    """An objective as it is written: `loss`, `accuracy:maximize`. Raises BadRequest."""
    name, _, direction = text.partition(":")
    if direction not in ("", "minimize", "maximize"):
        raise BadRequest(f"--objective {text}: {direction!r} is no direction; write {name}:minimize or {name}:maximize")
    try:
        return Objective.model_validate({"metric": name, "direction": direction or "minimize"})
    except ValueError as error:
        raise BadRequest(
            f"--objective {text}: {name!r} cannot name an objective; it starts with a letter, and goes on with "
            "letters, digits, `_`, `.`, `/` and `-`"
        ) from error


def _place(found: Layout, column: str) -> None:
    for kind, prefixes in PREFIXES.items():
        for prefix in prefixes:
            if column.startswith(prefix) and column != prefix:
                getattr(found, kind)[column.removeprefix(prefix)] = column
                return
    step = re.fullmatch(r"intermediate_values_(-?\d+)", column)
    name = RENAMED.get(column, column)
    if step:
        found.intermediate[int(step[1])] = column
    elif column == "value":
        found.values["value"] = column
    elif name in FIELDS:
        found.fields[name] = column
    elif name not in (*DERIVED, "duration"):
        found.ignored.append(column)
