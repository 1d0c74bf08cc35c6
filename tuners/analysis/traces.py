"""The analyses as arrays: what a program plots for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from tuners.analysis.axes import axis_of, distributions_of, scalar
from tuners.analysis.importances import importances
from tuners.analysis.material import Material
from tuners.analysis.outline import Outline
from tuners.analysis.query import KINDS, declared
from tuners.analysis.sampling import evenly
from tunesmith.domain import TrialState
from tunesmith.optuna.frozen import STATES
from tunesmith.schemas.analysis import (
    Analysis,
    Axis,
    Best,
    ContourAnswer,
    ContourTrace,
    Curve,
    EdfAnswer,
    HistoryAnswer,
    ImportancesAnswer,
    IntermediateAnswer,
    ParallelAnswer,
    ParallelAxis,
    ParetoAnswer,
    SliceAnswer,
    SliceTrace,
    TimelineAnswer,
)

OUR_STATES = {theirs: ours for ours, theirs in STATES.items()}
EDF_POINTS = 100
"""Points of the distribution; as many as Optuna draws."""
WITHOUT_OBJECTIVE = ("timeline", "pareto_front")


def traces(found: Material) -> Analysis:
    """The analysis as arrays. Raises BadRequest where importances cannot be reckoned."""
    return TRACES[found.query.kind](found)


def shown_params(found: Material) -> list[str]:
    """The parameters that are shown: those asked for, else the first ones of the space."""
    known = declared(found.experiment)
    if known is None:
        known = sorted({name for trial in found.trials for name in trial.params})
    kind = KINDS[found.query.kind]
    return list(found.query.params or known[: kind.first or kind.params])


def best_line(every: Outline, limit: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(numbers, values) of the trials that were better than all feasible ones before, and of the last trial.

    Where these are more than `limit`, they are evenly thinned, the first and the last kept.
    """
    scores = every.scores
    so_far = np.minimum.accumulate(scores)
    steps = np.flatnonzero(so_far < np.concatenate(([np.inf], so_far[:-1])))
    if not len(steps):
        return every.numbers[:0], every.values[:0]
    steps = np.unique(np.append(steps[evenly(len(steps), limit - 1)], len(every) - 1))
    return every.numbers[steps], every.sign * so_far[steps]


def distribution(every: Outline) -> tuple[NDArray[Any], NDArray[Any]]:
    """(values, the share of trials at or below each), evenly spaced from the least to the greatest value."""
    if not len(every):
        return every.values, every.values
    values = np.sort(every.values)
    x = np.linspace(values[0], values[-1], EDF_POINTS)
    return x, np.searchsorted(values, x, side="right") / len(values)


def feasible(trial: FrozenTrial) -> bool:
    """Whether it breaks no constraint that is known."""
    return all(violation <= 0 for violation in trial.constraints.values())


def _about(found: Material) -> dict[str, Any]:
    objective = found.experiment.spec.objectives[found.objective]
    about = found.query.kind not in WITHOUT_OBJECTIVE
    return {
        "kind": found.query.kind,
        "objective": objective.metric if about else None,
        "direction": objective.direction if about else None,
        "total": found.total,
        "shown": len(found.numbers),
    }


def _history(found: Material) -> Analysis:
    assert found.outline is not None
    shown = found.outline.only(np.searchsorted(found.outline.numbers, np.asarray(found.numbers, np.int64)))
    numbers, values = best_line(found.outline, found.query.limit)
    return HistoryAnswer.model_construct(
        **_about(found),
        numbers=tuple(found.numbers),
        values=tuple(shown.values.tolist()),
        feasible=tuple(shown.feasible.tolist()),
        best=Best.model_construct(numbers=tuple(numbers.tolist()), values=tuple(values.tolist())),
    )


def _edf(found: Material) -> Analysis:
    assert found.outline is not None
    x, probability = distribution(found.outline)
    return EdfAnswer.model_construct(**_about(found), x=tuple(x.tolist()), probability=tuple(probability.tolist()))


def _slice(found: Material) -> Analysis:
    axes = _axes(found)
    shown = tuple(
        SliceTrace.model_construct(axis=axes[name], x=_x(having, name), **_points(found, having))
        for name in axes
        for having in [[trial for trial in found.trials if name in trial.params]]
    )
    return SliceAnswer.model_construct(**_about(found), traces=shown)


def _contour(found: Material) -> Analysis:
    axes = _axes(found)
    shown = tuple(
        ContourTrace.model_construct(
            x_axis=axes[x], y_axis=axes[y], x=_x(having, x), y=_x(having, y), **_points(found, having)
        )
        for x, y in combinations(axes, 2)
        for having in [[trial for trial in found.trials if x in trial.params and y in trial.params]]
    )
    return ContourAnswer.model_construct(**_about(found), traces=shown)


def _parallel(found: Material) -> Analysis:
    shown = tuple(
        ParallelAxis.model_construct(
            axis=axis,
            x=tuple(scalar(trial.params.get(name)) for trial in found.trials),
            present=tuple(name in trial.params for trial in found.trials),
        )
        for name, axis in _axes(found).items()
    )
    return ParallelAnswer.model_construct(**_about(found), axes=shown, **_points(found, found.trials))


def _pareto(found: Material) -> Analysis:
    objectives = found.experiment.spec.objectives
    names = [objective.metric for objective in objectives]
    columns = [names.index(name) for name in found.query.objectives or names]
    return ParetoAnswer.model_construct(
        **_about(found),
        objectives=tuple(names[column] for column in columns),
        directions=tuple(objectives[column].direction for column in columns),
        front_total=found.front_total,
        numbers=tuple(found.numbers),
        values=tuple(tuple(trial.values[column] for column in columns) for trial in found.trials),
        ranks=tuple(found.ranks),
    )


def _intermediate(found: Material) -> Analysis:
    shown = (
        Curve.model_construct(
            number=trial.number,
            state=OUR_STATES[trial.state],
            feasible=feasible(trial),
            steps=tuple(trial.intermediate_values),
            values=tuple(trial.intermediate_values.values()),
        )
        for trial in found.trials
    )
    return IntermediateAnswer.model_construct(**_about(found), traces=tuple(shown))


def _timeline(found: Material) -> Analysis:
    complete = TrialState.COMPLETE.value
    return TimelineAnswer.model_construct(
        **_about(found),
        numbers=tuple(found.numbers),
        states=tuple(TrialState(row.state) for row in found.rows),
        feasible=tuple(
            (row.violation is None or row.violation <= 0) if row.state == complete else None for row in found.rows
        ),
        started_at=tuple(row.started_at for row in found.rows),
        ended_at=tuple(row.ended_at for row in found.rows),
    )


def _importances(found: Material) -> Analysis:
    shares = importances(found)
    return ImportancesAnswer.model_construct(
        **_about(found),
        evaluator=found.query.evaluator,
        params=tuple(shares),
        importances=tuple(map(float, shares.values())),
    )


TRACES: Mapping[str, Callable[[Material], Analysis]] = {
    "history": _history,
    "slice": _slice,
    "contour": _contour,
    "parallel_coordinates": _parallel,
    "pareto_front": _pareto,
    "edf": _edf,
    "intermediate_values": _intermediate,
    "timeline": _timeline,
    "importances": _importances,
}


def _axes(found: Material) -> dict[str, Axis]:
    """The parameters that are shown and that a trial has."""
    known = distributions_of(found.trials)
    return {
        name: axis_of(name, known[name], (trial.params[name] for trial in found.trials if name in trial.params))
        for name in dict.fromkeys(shown_params(found))
        if name in known
    }


def _x(trials: Sequence[FrozenTrial], name: str) -> tuple[Any, ...]:
    return tuple(scalar(trial.params[name]) for trial in trials)


def _points(found: Material, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    return {
        "values": tuple(trial.values[found.objective] for trial in trials),
        "numbers": tuple(trial.number for trial in trials),
        "feasible": tuple(map(feasible, trials)),
    }
