"""Outlines: of every trial the columns that tell which to show, and of those that are shown all that Optuna knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, Text, and_, cast, func, or_, select, type_coerce

from tuners.analysis.sampling import Positions
from tunesmith.domain import Experiment, TrialState
from tunesmith.optuna.frozen import Freezer, Row
from tunesmith.store import Tx
from tunesmith.store.queries import chunks
from tunesmith.store.tables import measurements, trials

REPORTING = tuple(state.value for state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED))
"""States of the trials whose intermediate values are shown."""
NOTES = ("user_attrs", "system_attrs")
COLUMNS = [type_coerce(trials.c[name], Text) if name in NOTES else trials.c[name] for name in Row._fields]
"""What a frozen trial is made of; notes as the texts that they are."""
MAX_STEPS = 200
"""Intermediate values of a trial that are shown."""


@dataclass(frozen=True)
class Outline:
    """The complete trials by number; arrays of one length."""

    numbers: NDArray[np.int64]
    """Their numbers."""
    values: NDArray[np.float64]
    """Their values of one objective."""
    feasible: NDArray[np.bool_]
    """Whether each keeps every constraint."""
    sign: float
    """1 where less is better, else -1."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def scores(self) -> NDArray[np.float64]:
        """What is to be minimized; infinite where a constraint is broken."""
        return np.where(self.feasible, self.sign * self.values, np.inf)

    @property
    def best_first(self) -> Positions:
        """Positions, the best trial first."""
        return np.argsort(self.scores, kind="stable")

    def only(self, which: NDArray[Any]) -> Outline:
        """Some of them: positions, or a mask."""
        return Outline(self.numbers[which], self.values[which], self.feasible[which], self.sign)


def complete_trials(tx: Tx, experiment: Experiment, objective: int, having: Sequence[str] = ()) -> Outline:
    """Every complete trial; `having`: only those with one of these parameters at least."""
    # Only the first objective has a column of its own.
    value: Any = trials.c.value if objective == 0 else cast(trials.c["values"], Text)
    query = _of(experiment, select(trials.c.number, value, trials.c.score.is_not(None)), TrialState.COMPLETE)
    if having:
        query = query.where(or_(*(_mentions(tx, name) for name in having)))
    rows = tx.connection.execute(query.order_by(trials.c.number)).all()
    numbers, values, feasible = zip(*rows, strict=True) if rows else ((), (), ())
    if objective:
        values = tuple(float(row[objective]) for row in json.loads(f"[{','.join(values)}]"))
    sign = experiment.spec.objectives[objective].sign
    return Outline(np.array(numbers, np.int64), np.array(values, np.float64), np.array(feasible, np.bool_), sign)


def frozen(
    tx: Tx, experiment: Experiment, numbers: Sequence[int], curves: Mapping[int, dict[int, float]] | None = None
) -> list[FrozenTrial]:
    """The trials of these numbers as Optuna's, by number; nobody else has them."""
    query = _of(experiment, select(*COLUMNS)).order_by(trials.c.number)
    rows = [
        Row(*row) for part in chunks(numbers) for row in tx.connection.execute(query.where(trials.c.number.in_(part)))
    ]
    return Freezer(experiment).freeze(rows, curves or {})


def front(tx: Tx, experiment: Experiment) -> list[tuple[int, bool, bool]]:
    """(number, whether it lies on the Pareto front, whether it is feasible) of every complete trial, by number."""
    query = _of(experiment, select(trials.c.number, trials.c.front, trials.c.score.is_not(None)), TrialState.COMPLETE)
    return [tuple(row) for row in tx.connection.execute(query.order_by(trials.c.number))]


def states(tx: Tx, experiment: Experiment) -> list[tuple[int, str]]:
    """(number, state) of every trial, by number."""
    query = _of(experiment, select(trials.c.number, trials.c.state)).order_by(trials.c.number)
    return [tuple(row) for row in tx.connection.execute(query)]


def moments(tx: Tx, experiment: Experiment, numbers: Sequence[int]) -> list[Any]:
    """Number, state, started_at, ended_at and violation of these trials, by number."""
    columns = (trials.c.number, trials.c.state, trials.c.started_at, trials.c.ended_at, trials.c.violation)
    query = _of(experiment, select(*columns)).order_by(trials.c.number)
    return [row for part in chunks(numbers) for row in tx.connection.execute(query.where(trials.c.number.in_(part)))]


def reporting(tx: Tx, experiment: Experiment, objective: int) -> list[tuple[int, float | None]]:
    """(number, score) of the trials that reported intermediate values of an objective, by number."""
    metric = experiment.spec.objectives[objective].metric
    reported = (
        select(measurements.c.number)
        .where(measurements.c.experiment_id == experiment.id, measurements.c.metric == metric)
        .distinct()
    )
    numbers = set(tx.connection.scalars(reported))
    query = _of(experiment, select(trials.c.number, trials.c.score)).where(trials.c.state.in_(REPORTING))
    return [
        (row.number, row.score)
        for row in tx.connection.execute(query.order_by(trials.c.number))
        if row.number in numbers
    ]


def curves(tx: Tx, experiment: Experiment, objective: int, numbers: Sequence[int]) -> dict[int, dict[int, float]]:
    """Number -> step -> intermediate value, evenly thinned to some MAX_STEPS of each trial."""
    found: dict[int, dict[int, float]] = {}
    of = (
        measurements.c.experiment_id == experiment.id,
        measurements.c.metric == experiment.spec.objectives[objective].metric,
    )
    for part in chunks(numbers):
        each = measurements.c.number
        ranked = (
            select(
                measurements.c.number,
                measurements.c.step,
                measurements.c.value,
                func.row_number().over(partition_by=each, order_by=measurements.c.step).label("rank"),
                func.count().over(partition_by=each).label("count"),
            )
            .where(*of, measurements.c.number.in_(part))
            .subquery()
        )
        # Where the share of the curve passes another MAX_STEPS-th; the last step always does.
        passes = ranked.c.rank * MAX_STEPS // ranked.c.count != (ranked.c.rank - 1) * MAX_STEPS // ranked.c.count
        query = select(ranked.c.number, ranked.c.step, ranked.c.value).where(or_(passes, ranked.c.rank == 1))
        for number, step, value in tx.connection.execute(query.order_by(ranked.c.number, ranked.c.step)):
            found.setdefault(number, {})[step] = float("nan") if value is None else value
    return found


def _of(experiment: Experiment, query: Any, state: TrialState | None = None) -> Any:
    here = trials.c.experiment_id == experiment.id
    return query.where(here if state is None else and_(here, trials.c.state == state.value))


def _mentions(tx: Tx, name: str) -> ColumnElement[bool]:
    """Whether a trial's parameters, which are not parsed for that, name this one."""
    place = func.instr if tx.connection.dialect.name == "sqlite" else func.strpos
    return place(cast(trials.c.params, Text), f"{json.dumps(name)}:") > 0
