"""The bodies of the analyses: what each plots, as arrays, and the same as a Plotly figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from tunesmith.domain import Scalar, TrialState
from tunesmith.domain.value import Time
from tunesmith.schemas.base import Answer
from tunesmith.schemas.records import AnyFloat

Value = Annotated[AnyFloat, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]})]
"""A float; the texts "inf", "-inf" and "nan" stand for the numbers that JSON does not know."""
Evaluator = Literal["ped_anova", "fanova"]
Rank = Literal["front", "dominated", "infeasible"]


class Analysis(Answer):
    """What every analysis says about itself."""

    kind: str
    """What it is called in the path."""
    objective: str | None
    """The metric that it is about; null where it is about none, or about several."""
    direction: Literal["minimize", "maximize"] | None
    """Which end of that metric is better."""
    total: int
    """Trials that it could show."""
    shown: int
    """Trials that it shows: a sample where there are many, else all of them."""


class Best(Answer):
    """The best value so far, as a staircase: each value holds until the next number."""

    numbers: tuple[int, ...]
    """Trials that were better than all feasible ones before them, and the last trial."""
    values: tuple[Value, ...]
    """The best value from that trial on, in the metric's unit; reckoned over all trials, not over the sample."""


class HistoryAnswer(Analysis):
    """Values by number, and the best so far."""

    numbers: tuple[int, ...]
    """Complete trials, by number."""
    values: tuple[Value, ...]
    """Their values, in the metric's unit."""
    feasible: tuple[bool, ...]
    """Whether each keeps every constraint."""
    best: Best
    """The best so far."""


class Axis(Answer):
    """A parameter as an axis, wide enough for every trial that is shown."""

    name: str
    """The parameter."""
    type: Literal["int", "float", "categorical"]
    """What its values are."""
    log: bool
    """Whether it is searched on a logarithmic scale."""
    low: float | None
    """Lower end of the range; null for a categorical."""
    high: float | None
    """Upper end of the range; null for a categorical."""
    choices: tuple[Scalar, ...] | None
    """The values of a categorical, in their order; true, 1, "1" and null are four of them."""


class SliceTrace(Answer):
    """A parameter against the objective; trials that do not have the parameter are left out."""

    axis: Axis
    """The parameter."""
    x: tuple[Scalar, ...]
    """Its values."""
    values: tuple[float, ...]
    """The metric's values, in its unit."""
    numbers: tuple[int, ...]
    """The trials."""
    feasible: tuple[bool, ...]
    """Whether each keeps every constraint."""


class SliceAnswer(Analysis):
    """Each parameter against the objective. Trials of infinite value are left out."""

    traces: tuple[SliceTrace, ...]
    """One per parameter."""


class ContourTrace(Answer):
    """The objective over two parameters; trials that do not have both are left out."""

    x_axis: Axis
    """The first parameter."""
    y_axis: Axis
    """The second parameter."""
    x: tuple[Scalar, ...]
    """Values of the first."""
    y: tuple[Scalar, ...]
    """Values of the second."""
    values: tuple[float, ...]
    """The metric's values, in its unit."""
    numbers: tuple[int, ...]
    """The trials."""
    feasible: tuple[bool, ...]
    """Whether each keeps every constraint."""


class ContourAnswer(Analysis):
    """The objective over every pair of parameters. Trials of infinite value are left out."""

    traces: tuple[ContourTrace, ...]
    """One per pair."""


class ParallelAxis(Answer):
    """A parameter's values in all trials that are shown."""

    axis: Axis
    """The parameter."""
    x: tuple[Scalar, ...]
    """Its value per trial; null where the trial has none, or where null is the choice."""
    present: tuple[bool, ...]
    """Whether the trial has the parameter."""


class ParallelAnswer(Analysis):
    """A line per trial across all parameters. Trials of infinite value are left out."""

    numbers: tuple[int, ...]
    """The trials."""
    values: tuple[float, ...]
    """The metric's values, in its unit."""
    feasible: tuple[bool, ...]
    """Whether each keeps every constraint."""
    axes: tuple[ParallelAxis, ...]
    """One per parameter."""


class ParetoAnswer(Analysis):
    """The values of several objectives, and which trials no other one beats in all of them."""

    objectives: tuple[str, ...]
    """The metrics, in the order of `values`."""
    directions: tuple[Literal["minimize", "maximize"], ...]
    """Which end of each is better."""
    front_total: int
    """Trials on the front, shown or not."""
    numbers: tuple[int, ...]
    """Complete trials, by number."""
    values: tuple[tuple[Value, ...], ...]
    """Per trial a value per metric, in its unit."""
    ranks: tuple[Rank, ...]
    """Whether each lies on the front, is dominated by one that does, or breaks a constraint."""


class EdfAnswer(Analysis):
    """The empirical distribution of the objective, over all trials; those of infinite value are left out."""

    x: tuple[float, ...]
    """Values of the metric, evenly spaced from the least to the greatest."""
    probability: tuple[float, ...]
    """The share of complete trials at or below each, from 0 to 1."""


class Curve(Answer):
    """A trial's intermediate values."""

    number: int
    """The trial."""
    state: TrialState
    """`running`, `complete` or `pruned`."""
    feasible: bool
    """Whether it keeps every constraint, as far as that is known."""
    steps: tuple[int, ...]
    """Steps, ascending; evenly thinned where there are many, the first and the last always among them."""
    values: tuple[Value, ...]
    """The metric's value at each, in its unit."""


class IntermediateAnswer(Analysis):
    """Intermediate values of the trials that reported some."""

    traces: tuple[Curve, ...]
    """One per trial, by number."""


class TimelineAnswer(Analysis):
    """When trials ran."""

    numbers: tuple[int, ...]
    """Trials in any state, by number."""
    states: tuple[TrialState, ...]
    """Their states."""
    feasible: tuple[bool | None, ...]
    """Whether each keeps every constraint; null where it is not complete."""
    started_at: tuple[Time | None, ...]
    """When each began; null: not yet."""
    ended_at: tuple[Time | None, ...]
    """When each ended; null: not yet."""


class ImportancesAnswer(Analysis):
    """How much each parameter matters to the objective."""

    evaluator: Evaluator
    """How that was reckoned."""
    params: tuple[str, ...]
    """The parameters, the most important first."""
    importances: tuple[float, ...]
    """Their shares, from 0 to 1; together 1."""


class FigureAnswer(Answer):
    """A Plotly figure; `plotly.io.from_json` takes it, and so does Plotly's JavaScript."""

    data: tuple[Mapping[str, Any], ...]
    """Traces."""
    layout: Mapping[str, Any]
    """Layout."""


class AnalysisKind(Answer):
    """An analysis, and whether it fits an experiment."""

    kind: str
    """What it is called in the path."""
    description: str
    """What it shows."""
    url: str
    """Where it is."""
    fits: bool
    """Whether it shows something now."""
    reason: str | None
    """Why it does not."""


class AnalysesAnswer(Answer):
    """Every analysis of an experiment."""

    analyses: tuple[AnalysisKind, ...]
    """In the order to look at them."""


ANSWERS: Mapping[str, type[Analysis]] = {
    "history": HistoryAnswer,
    "slice": SliceAnswer,
    "contour": ContourAnswer,
    "parallel_coordinates": ParallelAnswer,
    "pareto_front": ParetoAnswer,
    "edf": EdfAnswer,
    "intermediate_values": IntermediateAnswer,
    "timeline": TimelineAnswer,
    "importances": ImportancesAnswer,
}
"""Kind -> its body."""

_LOSS = {"objective": "loss", "direction": "minimize", "total": 3, "shown": 3}
_LR = {"name": "lr", "type": "float", "log": True, "low": 0.0001, "high": 0.1, "choices": None}
_OPT = {"name": "opt", "type": "categorical", "log": False, "low": None, "high": None, "choices": ["sgd", "adam"]}
_POINTS: dict[str, Any] = {"values": [0.9, 0.4, 0.6], "numbers": [0, 1, 2], "feasible": [True, True, False]}
_LRS, _OPTS = [0.1, 0.01, 0.001], ["sgd", "adam", "adam"]
_BEGAN, _ENDED = "2026-01-31T12:00:04.110Z", "2026-01-31T12:00:06.120Z"
EXAMPLES: Mapping[str, Any] = {
    "list_analyses": {
        "analyses": [
            {
                "kind": "history",
                "description": "Values by number, and the best so far.",
                "url": "/api/v1/experiments/1/analysis/history",
                "fits": True,
                "reason": None,
            }
        ]
    },
    "plot_history": {"kind": "history", **_LOSS, **_POINTS, "best": {"numbers": [0, 1, 2], "values": [0.9, 0.4, 0.4]}},
    "plot_slice": {"kind": "slice", **_LOSS, "traces": [{"axis": _LR, "x": _LRS, **_POINTS}]},
    "plot_contour": {
        "kind": "contour",
        **_LOSS,
        "traces": [{"x_axis": _LR, "y_axis": _OPT, "x": _LRS, "y": _OPTS, **_POINTS}],
    },
    "plot_parallel_coordinates": {
        "kind": "parallel_coordinates",
        **_LOSS,
        **_POINTS,
        "axes": [{"axis": _LR, "x": _LRS, "present": [True, True, True]}],
    },
    "plot_pareto_front": {
        "kind": "pareto_front",
        **_LOSS,
        "objective": None,
        "direction": None,
        "objectives": ["loss", "wall_time_s"],
        "directions": ["minimize", "minimize"],
        "front_total": 2,
        "numbers": [0, 1, 2],
        "values": [[0.9, 1.0], [0.4, 2.5], [0.9, 3.0]],
        "ranks": ["front", "front", "dominated"],
    },
    "plot_edf": {"kind": "edf", **_LOSS, "x": [0.4, 0.6, 0.9], "probability": [0.333, 0.667, 1.0]},
    "plot_intermediate_values": {
        "kind": "intermediate_values",
        **_LOSS,
        "traces": [{"number": 1, "state": "pruned", "feasible": True, "steps": [1, 2], "values": [0.9, "nan"]}],
    },
    "plot_timeline": {
        "kind": "timeline",
        **_LOSS,
        "objective": None,
        "direction": None,
        "numbers": [0, 1, 2],
        "states": ["complete", "running", "waiting"],
        "feasible": [True, None, None],
        "started_at": [_BEGAN, _BEGAN, None],
        "ended_at": [_ENDED, None, None],
    },
    "plot_importances": {
        "kind": "importances",
        **_LOSS,
        "evaluator": "ped_anova",
        "params": ["lr", "opt"],
        "importances": [0.83, 0.17],
    },
}
"""operationId -> what it answers."""
