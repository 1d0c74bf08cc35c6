"""Reading the trials of an experiment as Optuna's: columns straight to frozen trials, no domain value between."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import ColumnElement, Text, bindparam, null, select, type_coerce

from tunesmith.domain import Experiment
from tunesmith.optuna.frozen import OUR_STATES, Freezer, Row
from tunesmith.store import Tx
from tunesmith.store.queries import chunks
from tunesmith.store.tables import measurements, trials

COLUMNS: tuple[Any, ...] = (
    trials.c.id,
    trials.c.number,
    trials.c.state,
    type_coerce(trials.c.params, Text).label("params"),
    type_coerce(trials.c["values"], Text).label("values"),
    trials.c.metrics,
    type_coerce(trials.c.user_attrs, Text).label("user_attrs"),
    type_coerce(trials.c.system_attrs, Text).label("system_attrs"),
    trials.c.started_at,
    trials.c.ended_at,
)
"""In the order of `Row`."""
HERE = trials.c.experiment_id == bindparam("experiment_id")
CURVES = select(measurements.c.number, measurements.c.step, measurements.c.value).where(
    measurements.c.experiment_id == bindparam("experiment_id"), measurements.c.metric == bindparam("metric")
)
CURVES_AMONG = CURVES.where(measurements.c.number.in_(bindparam("numbers", expanding=True)))
MANY = 500
"""From so many trials on, all intermediate values of the experiment are read at once."""


def _both(where: ColumnElement[bool]) -> tuple[Any, Any]:
    """The query with the metrics, which only constraints need, and without."""
    without = (null().label("metrics") if column is trials.c.metrics else column for column in COLUMNS)
    plain, full = select(*without), select(*COLUMNS)
    return plain.where(where).order_by(trials.c.number), full.where(where).order_by(trials.c.number)


# Built once: making a statement takes longer than answering it.
ALL = _both(HERE)
IN_STATES = _both(HERE & trials.c.state.in_(bindparam("states", expanding=True)))
AMONG = _both(HERE & trials.c.number.in_(bindparam("numbers", expanding=True)))
BY_ID = _both(HERE & (trials.c.id == bindparam("trial_id")))
# Nothing is added, but so SQLite goes by the id, and not through all the trials of the experiment.
ADDED = _both((trials.c.experiment_id + 0 == bindparam("experiment_id")) & (trials.c.id > bindparam("above_id")))


def read_trials(
    tx: Tx,
    experiment: Experiment,
    states: Collection[OptunaState] | None = None,
    above_id: int = 0,
    among: Collection[int] = (),
    freezer: Freezer | None = None,
) -> list[FrozenTrial]:
    """The experiment's trials as Optuna's, by number; they share distributions, so do not change those.

    `states`: only trials in these; `above_id`, `among`: only trials that were added after the one of this id (rows
    are added in the order of their ids), and those of these numbers; `freezer`: one that is kept between calls, so
    that also trials of different calls share what is equal.
    """
    if states is not None and not states:
        return []
    wanted = None if states is None else [OUR_STATES[state].value for state in states]
    with uncollected():
        rows = _rows(tx, experiment, wanted, above_id, among)
        return _frozen(tx, experiment, rows, freezer)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, through all the trials that are just being made."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read_trial(tx: Tx, experiment: Experiment, trial_id: int, freezer: Freezer | None = None) -> FrozenTrial | None:
    """One of the experiment's trials by its id; None when it has none of it."""
    rows = _ask(tx, experiment, BY_ID, trial_id=trial_id)
    return next(iter(_frozen(tx, experiment, rows, freezer)), None)


def _rows(tx: Tx, experiment: Experiment, states: list[str] | None, above_id: int, among: Collection[int]) -> list[Row]:
    if above_id <= 0:
        return _ask(tx, experiment, ALL) if states is None else _ask(tx, experiment, IN_STATES, states=states)
    added = _ask(tx, experiment, ADDED, above_id=above_id)
    found = {row.number: row for row in added}
    for part in chunks(sorted(set(among) - found.keys())):
        found |= {row.number: row for row in _ask(tx, experiment, AMONG, numbers=list(part))}
    return [found[number] for number in sorted(found) if states is None or found[number].state in states]


def _ask(tx: Tx, experiment: Experiment, queries: tuple[Any, Any], **wanted: Any) -> list[Row]:
    query = queries[bool(experiment.spec.constraints)]
    found: list[tuple[Any, ...]] = list(tx.connection.execute(query, {"experiment_id": experiment.id, **wanted}))
    points, outcomes = _parsed([row[3] for row in found]), _parsed([row[4] for row in found])
    return [
        Row._make((*row[:3], point, outcome, *row[5:]))
        for row, point, outcome in zip(found, points, outcomes, strict=True)
    ]


def _parsed(texts: list[Any]) -> list[Any]:
    """What SQLite has as texts, parsed as one, which is five times faster; PostgreSQL's driver has parsed it."""
    if not any(isinstance(text, str) for text in texts):
        return texts
    parsed: list[Any] = json.loads(f"[{','.join('null' if text is None else text for text in texts)}]")
    return parsed


def _frozen(tx: Tx, experiment: Experiment, rows: list[Row], freezer: Freezer | None) -> list[FrozenTrial]:
    if not rows:
        return []
    curves = read_curves(tx, experiment, [row.number for row in rows])
    return (freezer or Freezer(experiment)).freeze(rows, curves)


def read_curves(tx: Tx, experiment: Experiment, numbers: Collection[int]) -> dict[int, dict[int, float]]:
    """Trial number -> step -> intermediate value of the first objective, NaN included, of these trials at least."""
    same = {"experiment_id": experiment.id, "metric": experiment.spec.objectives[0].metric}
    found: dict[int, dict[int, float]] = {}
    if len(numbers) >= MANY:
        _collect(tx.connection.execute(CURVES, same), found)
    else:
        _collect(tx.connection.execute(CURVES_AMONG, {**same, "numbers": list(numbers)}), found)
    return found


def _collect(rows: Iterable[Any], found: dict[int, dict[int, float]]) -> None:
    for number, step, value in rows:
        found.setdefault(number, {})[step] = math.nan if value is None else value
