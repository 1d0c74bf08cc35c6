"""The analyses as Plotly figures, drawn by `optuna.visualization`; what it cannot know of a sample is put in after."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tuners.analysis.axes import relabel
from tuners.analysis.importances import REFUSED, reckoning, refused, single_objective
from tuners.analysis.material import Material
from tuners.analysis.study import bare_trial, study_of
from tuners.analysis.traces import best_line, distribution, shown_params
from tunesmith.domain import Objective

TITLES = {
    "history": "Optimization History",
    "slice": "Slice",
    "contour": "Contour",
    "parallel_coordinates": "Parallel Coordinates",
    "pareto_front": "Pareto Front",
    "edf": "Empirical Distribution Function",
    "intermediate_values": "Intermediate Values",
    "timeline": "Timeline",
    "importances": "Parameter Importances",
}
MAX_AXES = 3
"""Objectives that one figure can show."""


def figure(found: Material) -> Any:
    """The analysis as a `plotly.graph_objects.Figure`. Raises BadRequest where importances cannot be reckoned."""
    if not found.numbers:
        return _empty(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's experimental arguments, and pairs that never occur together
        return FIGURES[found.query.kind](found)


def _empty(found: Material) -> Any:
    from plotly.graph_objects import Figure

    return Figure(layout={"title": f"{TITLES[found.query.kind]}: no trials to show yet"})


def _history(found: Material) -> Any:
    from optuna.visualization import plot_optimization_history

    assert found.outline is not None
    numbers = np.asarray(found.numbers)
    shown = found.outline.only(np.searchsorted(found.outline.numbers, numbers))
    # Optuna looks values up by number, so the sample is numbered through, and gets its numbers back after.
    trials = [
        bare_trial(*each)
        for each in zip(range(len(shown)), shown.values.tolist(), shown.feasible.tolist(), strict=True)
    ]
    drawn: Any = plot_optimization_history(study_of(*_named(found), trials), target_name=_metric(found))
    for trace in drawn.data:
        trace.x = numbers[np.asarray(trace.x, dtype=int)].tolist()
    x, y = best_line(found.outline, found.query.limit)
    drawn.update_traces(selector={"mode": "lines"}, x=x.tolist(), y=y.tolist(), line={"shape": "hv"}, overwrite=False)
    return drawn


def _edf(found: Material) -> Any:
    from optuna.visualization import plot_edf

    assert found.outline is not None
    ends = found.outline.values[[found.outline.values.argmin(), found.outline.values.argmax()]].tolist()
    drawn = plot_edf(
        study_of(*_named(found), [bare_trial(i, value, True) for i, value in enumerate(ends)]),
        target_name=_metric(found),
    )
    x, y = distribution(found.outline)
    return drawn.update_traces(x=x.tolist(), y=y.tolist())


def _over_params(function: str) -> Callable[[Material], Any]:
    def draw(found: Material) -> Any:
        import optuna.visualization

        there = {name for trial in found.trials for name in trial.params}
        names = [name for name in dict.fromkeys(shown_params(found)) if name in there]
        if len(names) < (2 if found.query.kind == "contour" else 1):
            return _empty(found)
        relabel(found.trials, merge=True)
        plot = getattr(optuna.visualization, function)
        return plot(single_objective(found), params=names, target_name=_metric(found))

    return draw


def _pareto(found: Material) -> Any:
    from optuna.visualization import plot_pareto_front

    objectives = found.experiment.spec.objectives
    names = [objective.metric for objective in objectives]
    wanted = found.query.objectives or tuple(names[:MAX_AXES])
    columns = [names.index(name) for name in wanted]
    # Of a front that is shown in part, Optuna would take for members what only the missing ones dominate.
    signs = [objective.sign for objective in objectives]
    members = [trial.values for trial, rank in zip(found.trials, found.ranks, strict=True) if rank == "front"]
    front = np.array(members).reshape(-1, len(signs)) * signs
    trials = [
        trial
        for trial, rank in zip(found.trials, found.ranks, strict=True)
        if rank != "dominated" or _dominated(np.multiply(trial.values, signs), front)
    ]
    axes: dict[str, Any] = {"target_names": list(wanted)}
    if len(columns) < len(names) or len(names) > MAX_AXES or columns != sorted(columns):
        axes["targets"] = lambda trial: [trial.values[column] for column in columns]
    return plot_pareto_front(study_of(found.experiment.name, objectives, trials), **axes)


def _intermediate(found: Material) -> Any:
    from optuna.visualization import plot_intermediate_values

    drawn = plot_intermediate_values(study_of(*_named(found), found.trials))
    return drawn.update_yaxes(title=_metric(found))


def _timeline(found: Material) -> Any:
    from optuna.visualization import plot_timeline

    return plot_timeline(study_of(found.experiment.name, found.experiment.spec.objectives, found.trials))


def _importances(found: Material) -> Any:
    from optuna.visualization import plot_param_importances

    study, options = reckoning(found)
    try:
        return plot_param_importances(study, **options)
    except REFUSED as error:
        raise refused(found, error) from error


FIGURES: Mapping[str, Callable[[Material], Any]] = {
    "history": _history,
    "slice": _over_params("plot_slice"),
    "contour": _over_params("plot_contour"),
    "parallel_coordinates": _over_params("plot_parallel_coordinate"),
    "pareto_front": _pareto,
    "edf": _edf,
    "intermediate_values": _intermediate,
    "timeline": _timeline,
    "importances": _importances,
}


def _named(found: Material) -> tuple[str, tuple[Objective, ...]]:
    return found.experiment.name, (found.experiment.spec.objectives[found.objective],)


def _metric(found: Material) -> str:
    return found.experiment.spec.objectives[found.objective].metric


def _dominated(vector: Any, front: Any) -> bool:
    return bool(((front <= vector).all(axis=1) & (front < vector).any(axis=1)).any())
