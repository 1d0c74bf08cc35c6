"""What is read from the database for an analysis: the outline of all trials, and those that are chosen from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from tuners.analysis import outline
from tuners.analysis.outline import Outline
from tuners.analysis.query import Query, check_params, declared, too_few
from tuners.analysis.sampling import choose, evenly
from tunesmith.domain import Experiment, TrialState
from tunesmith.schemas.analysis import Evaluator, Rank
from tunesmith.store import Tx

CELLS = 200_000
"""Trials times parameters, or their choices, that importances are reckoned from, about."""
SAMPLES = {"fanova": 1000}
"""Trials that an evaluator reckons with, where that is less than others do."""


@dataclass(frozen=True)
class Material:
    """The trials of an analysis. Nobody else has them, so a figure may change them."""

    experiment: Experiment
    """The experiment."""
    query: Query
    """What is asked."""
    objective: int
    """Which objective it is about."""
    total: int = 0
    """Trials that it could show."""
    numbers: Sequence[int] = ()
    """Those that it shows."""
    trials: Sequence[FrozenTrial] = ()
    """The same as Optuna's trials, where their parameters matter; by number."""
    outline: Outline | None = None
    """All complete trials, where all of them matter."""
    ranks: Sequence[Rank] = ()
    """Whether each trial lies on the Pareto front."""
    front_total: int = 0
    """Trials on the front, shown or not."""
    rows: Sequence[Any] = ()
    """Number, state, started_at, ended_at, violation: of a timeline."""


def read(tx: Tx, experiment: Experiment, query: Query) -> Material:
    """What the analysis needs. Raises BadRequest where a parameter, or enough trials, are not there."""
    names = [objective.metric for objective in experiment.spec.objectives]
    index = names.index(query.objectives[0]) if query.objectives else 0
    return READERS.get(query.kind, _complete)(tx, Material(experiment, query, index))


def _values(tx: Tx, given: Material) -> Material:
    """For history and distribution, which need no parameters."""
    found = outline.complete_trials(tx, given.experiment, given.objective)
    if given.query.kind == "edf":
        found = found.only(np.isfinite(found.values))
    chosen = choose(len(found), given.query.limit, found.best_first)
    return replace(given, total=len(found), outline=found, numbers=found.numbers[chosen].tolist())


def _complete(tx: Tx, given: Material) -> Material:
    """For all that shows parameters: complete trials of finite value."""
    experiment, query = given.experiment, given.query
    found = outline.complete_trials(tx, experiment, given.objective, _rare(experiment, query.params))
    found = found.only(np.isfinite(found.values))
    if query.kind == "importances":
        return _reckoned(tx, given, found)
    numbers = found.numbers[choose(len(found), query.limit, found.best_first)].tolist()
    trials = outline.frozen(tx, experiment, numbers)
    _check_params(tx, given, trials)
    return replace(given, total=len(found), numbers=numbers, trials=trials)


def _reckoned(tx: Tx, given: Material, found: Outline) -> Material:
    """Evenly spread trials alone: importances ask what tells the best from the others, so neither may be preferred."""
    experiment, query = given.experiment, given.query
    if len(found) < 2 and any(experiment.counts.values()):
        _check_params(tx, given, ())
        raise too_few(experiment, query, len(found))
    newest = outline.frozen(tx, experiment, found.numbers[-1:].tolist())
    columns = sum(_columns(each, query.evaluator) for trial in newest for each in trial.distributions.values())
    sample = query.max_trials or min(query.limit, SAMPLES.get(query.evaluator, query.limit))
    sample = min(sample, max(100, CELLS // max(1, columns)))
    numbers = found.numbers[evenly(len(found), sample)].tolist()
    trials = outline.frozen(tx, experiment, numbers)
    _check_params(tx, given, trials)
    return replace(given, total=len(found), numbers=numbers, trials=trials)


def _columns(distribution: BaseDistribution, evaluator: Evaluator) -> int:
    """What a parameter costs: PED-ANOVA looks at every choice of every trial."""
    if isinstance(distribution, CategoricalDistribution) and evaluator == "ped_anova":
        return len(distribution.choices)
    return 1


def _front(tx: Tx, given: Material) -> Material:
    rows = outline.front(tx, given.experiment)
    members = np.array([row[1] for row in rows], dtype=bool)
    order = np.flatnonzero(members)
    # Half the room is the front's, evenly spread where it is larger.
    room = max(1, given.query.limit // 2)
    kept = {
        rows[position][0] for position in choose(len(rows), given.query.limit, order[evenly(len(order), room)], room)
    }
    numbers = sorted(kept)
    return replace(
        given,
        total=len(rows),
        numbers=numbers,
        trials=outline.frozen(tx, given.experiment, numbers),
        ranks=[_rank(on_front, feasible) for number, on_front, feasible in rows if number in kept],
        front_total=len(order),
    )


def _rank(on_front: bool, feasible: bool) -> Rank:
    return "front" if on_front else "dominated" if feasible else "infeasible"


def _curves(tx: Tx, given: Material) -> Material:
    reported = outline.reporting(tx, given.experiment, given.objective)
    scores = np.array([np.inf if score is None else score for _, score in reported])
    best = np.argsort(scores, kind="stable")
    numbers = [reported[position][0] for position in choose(len(reported), given.query.limit, best)]
    curves = outline.curves(tx, given.experiment, given.objective, numbers)
    trials = outline.frozen(tx, given.experiment, numbers, curves)
    return replace(given, total=len(reported), numbers=numbers, trials=trials)


def _timeline(tx: Tx, given: Material) -> Material:
    every = outline.states(tx, given.experiment)
    limit = given.query.limit
    running = [position for position, (_, state) in enumerate(every) if state == TrialState.RUNNING.value]
    numbers = [every[position][0] for position in choose(len(every), limit, running[::-1], limit // 2)]
    figure = given.query.form == "plotly"
    return replace(
        given,
        total=len(every),
        numbers=numbers,
        rows=() if figure else outline.moments(tx, given.experiment, numbers),
        trials=outline.frozen(tx, given.experiment, numbers) if figure else (),
    )


READERS: Mapping[str, Callable[[Tx, Material], Material]] = {
    "history": _values,
    "edf": _values,
    "pareto_front": _front,
    "intermediate_values": _curves,
    "timeline": _timeline,
}
"""Kind -> what reads for it; all others show parameters of complete trials."""


def _rare(experiment: Experiment, asked: Sequence[str]) -> tuple[str, ...]:
    """The parameters that were asked for, where a trial may have none of them: then only trials with one are read."""
    everywhere = {parameter.name for parameter in experiment.spec.space if not parameter.when}
    return () if everywhere & set(asked) else tuple(asked)


def _check_params(tx: Tx, given: Material, trials: Sequence[FrozenTrial]) -> None:
    """Where no space was declared, the trials say which parameters there are, those that are not shown too."""
    experiment, asked = given.experiment, given.query.params
    if declared(experiment) is not None or not asked or not experiment.counts[TrialState.COMPLETE]:
        return
    known = {name for trial in trials for name in trial.params}
    unseen = [name for name in asked if name not in known]
    known |= {name for name in unseen if len(outline.complete_trials(tx, experiment, given.objective, [name]))}
    if not known.issuperset(asked):
        newest = outline.complete_trials(tx, experiment, given.objective).numbers[-100:]
        known |= {name for trial in outline.frozen(tx, experiment, newest.tolist()) for name in trial.params}
    check_params(asked, sorted(known))
