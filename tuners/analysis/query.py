"""What can be asked about an experiment's trials, and what does not fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.domain import Experiment, TrialState
from tunesmith.errors import BadRequest
from tunesmith.schemas.analysis import Evaluator


@dataclass(frozen=True)
class Kind:
    """An analysis, and how much of a large experiment it shows."""

    description: str
    """One sentence."""
    sample: int
    """Trials that it shows, unless more or fewer are asked for."""
    most: int
    """Trials that may be asked for."""
    params: int = 0
    """Parameters that it shows, at most; 0: it is about none."""
    first: int = 0
    """Parameters that it shows where none are named, the first ones of the space; 0: as many as it can."""


KINDS: Mapping[str, Kind] = {
    "history": Kind("Values by number, and the best so far.", 2000, 10_000),
    "importances": Kind("How much each parameter matters.", 2000, 10_000, params=1000),
    "slice": Kind("Each parameter against the objective.", 1000, 10_000, params=20),
    "parallel_coordinates": Kind("A line per trial across all parameters.", 300, 2000, params=20),
    "contour": Kind("The objective over pairs of parameters.", 200, 400, params=4, first=3),
    "pareto_front": Kind("Values of several objectives, and which are best.", 1000, 2000),
    "edf": Kind("How the objective's values are distributed.", 10_000_000, 10_000_000),
    "intermediate_values": Kind("What trials reported on their way.", 100, 1000),
    "timeline": Kind("When trials ran.", 1000, 10_000),
}
"""What an analysis is called -> what it is."""
MAX_TRIALS = 10_000
"""Trials that any analysis shows at once."""
FEWEST = {"importances": 2}
"""Complete trials that an analysis needs, where that is not one."""


@dataclass(frozen=True)
class Query:
    """What is asked about an experiment."""

    kind: str
    """One of KINDS."""
    objectives: tuple[str, ...] = ()
    """Metrics; empty: the first one, or on a Pareto front the first three."""
    params: tuple[str, ...] = ()
    """Parameters; empty: all of them, or as many as it shows."""
    max_trials: int | None = None
    """Trials that are shown, at most; None: what the kind says."""
    evaluator: Evaluator = "ped_anova"
    """How importances are reckoned."""
    form: Literal["data", "plotly"] = "data"
    """Arrays, or a figure."""

    @property
    def limit(self) -> int:
        """Trials that are shown, at most."""
        return self.max_trials or KINDS[self.kind].sample


def check(experiment: Experiment, query: Query) -> None:
    """Raise BadRequest where the analysis does not fit the experiment."""
    _check_objectives(experiment, query)
    known = declared(experiment)
    if known is not None:
        check_params(query.params, known)
    kind = KINDS[query.kind]
    if len(query.params) > kind.params:
        raise _refusal(
            "params", f"{query.kind} shows at most {kind.params} parameters at once; name fewer", query.params
        )
    if query.limit > kind.most:
        message = f"{query.kind} shows at most {kind.most:,} trials; ask for fewer"
        raise _refusal("max_trials", message, str(query.max_trials))
    reason = misfit(experiment, query.kind)
    if reason:
        raise BadRequest(f"{query.kind}: {reason}", kind=query.kind, experiment_id=experiment.id)
    if query.kind == "contour" and len(query.params) == 1:
        raise _refusal("params", "a contour needs two parameters or more; name another one", query.params)


def declared(experiment: Experiment) -> list[str] | None:
    """The names of the parameters; None where only the trials know them."""
    return None if experiment.spec.define_by_run else [parameter.name for parameter in experiment.spec.space]


def check_params(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise BadRequest for the first parameter that is not there."""
    names = list(known)
    for name in asked:
        if name not in names:
            there = f"there are: {', '.join(names[:50])}" if names else "its trials have none"
            raise _refusal("params", f"there is no parameter {name!r}; {there}", name)


def misfit(experiment: Experiment, kind: str) -> str | None:
    """Why an analysis can never show this experiment."""
    if kind == "pareto_front" and len(experiment.spec.objectives) == 1:
        return "the experiment has one objective, so nothing is traded off; look at its history instead"
    known = declared(experiment)
    if kind == "contour" and known is not None and len(known) < 2:
        return "the experiment has fewer than two parameters; look at its slice instead"
    return None


def lacking(experiment: Experiment, kind: str) -> str | None:
    """Why an analysis shows nothing yet."""
    complete, fewest = experiment.counts[TrialState.COMPLETE], FEWEST.get(kind, 1)
    if kind == "timeline":
        return None if any(experiment.counts.values()) else "there is no trial yet"
    if kind == "intermediate_values" or complete >= fewest:
        return None
    return f"it needs {fewest} complete trials, and there are {complete}" if fewest > 1 else "no trial is complete yet"


def too_few(experiment: Experiment, query: Query, there: int) -> BadRequest:
    """The refusal to reckon with so few trials."""
    having = f" that have {' or '.join(query.params)}" if query.params else ""
    return BadRequest(
        f"{query.kind} needs {FEWEST[query.kind]} complete trials of finite value{having}, not {there}; wait for more",
        kind=query.kind,
        experiment_id=experiment.id,
        complete=there,
    )


def _check_objectives(experiment: Experiment, query: Query) -> None:
    names = [objective.metric for objective in experiment.spec.objectives]
    for name in query.objectives:
        if name not in names:
            raise _refusal("objective", f"there is no objective {name!r}; there are: {', '.join(names)}", name)
    if query.kind != "pareto_front":
        if len(query.objectives) > 1:
            raise _refusal("objective", f"{query.kind} is about one objective; name one", query.objectives)
    elif len(query.objectives) not in (0, 2, 3):
        raise _refusal("objective", "a Pareto front shows two or three objectives; name as many", query.objectives)


def _refusal(field: str, message: str, value: Any) -> BadRequest:
    shown = value if isinstance(value, str) else ",".join(value)
    return BadRequest(f"{field}: {message}", fields=[{"field": field, "message": message, "value": shown[:200]}])
