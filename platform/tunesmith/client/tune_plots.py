"""Figures of a search, drawn by `optuna.visualization` from an Optuna study that is made of the trials."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.domain import ExperimentSpec, Parameter, Scalar, Trial, TrialState

if TYPE_CHECKING:
    import optuna

KINDS: Mapping[str, str] = {
    "history": "plot_optimization_history",
    "parallel": "plot_parallel_coordinate",
    "slice": "plot_slice",
    "contour": "plot_contour",
    "importance": "plot_param_importances",
    "pareto": "plot_pareto_front",
    "edf": "plot_edf",
    "intermediate": "plot_intermediate_values",
    "timeline": "plot_timeline",
    "rank": "plot_rank",
}
"""What `Result.plot` calls a figure -> Optuna's function."""
OF_ONE = frozenset({"history", "parallel", "slice", "contour", "importance", "edf", "rank"})
"""Figures that show one objective."""


def figure(
    kind: str,
    spec: ExperimentSpec,
    trials: Sequence[Trial],
    curves: Mapping[int, Mapping[int, float]],
    objective: str | None,
    options: Mapping[str, Any],
) -> Any:
    """The figure. Raises ValueError for an unknown kind or objective."""
    if kind not in KINDS:
        raise ValueError(f"there is no plot {kind!r}; there are: {', '.join(KINDS)}")
    names = [each.metric for each in spec.objectives]
    if objective is not None and objective not in names:
        raise ValueError(f"{objective!r} is no objective; there are: {', '.join(names)}")
    import optuna

    asked: dict[str, Any] = {}
    if kind in OF_ONE:
        index = names.index(objective) if objective else 0
        asked["target_name"] = names[index]
        if len(names) > 1:
            asked["target"] = _value(index)
    elif kind == "pareto":
        asked["target_names"] = names
    draw = getattr(optuna.visualization, KINDS[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return draw(study_of(spec, trials, curves), **{**asked, **options})


def study_of(spec: ExperimentSpec, trials: Sequence[Trial], curves: Mapping[int, Mapping[int, float]]) -> optuna.Study:
    """The finished trials as a study in memory. A range is as wide as the trials that an earlier space allowed."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(study_name=spec.tool_name, directions=[o.direction for o in spec.objectives])
        study.set_metric_names([objective.metric for objective in spec.objectives])
    optuna.logging.set_verbosity(before)
    finished = [trial for trial in trials if trial.state.finished]
    dimensions = _dimensions(spec, finished)
    study.add_trials([_frozen(trial, dimensions, curves.get(trial.number, {})) for trial in finished])
    return study


def _value(index: int) -> Callable[[Any], float]:
    return lambda trial: float(trial.values[index])


class _Dimension:
    """One parameter as Optuna knows it, and its values in Optuna's form."""

    def __init__(self, declared: Parameter | None, seen: Sequence[Scalar]) -> None:
        import optuna

        numbers = [value for value in seen if isinstance(value, int | float) and not isinstance(value, bool)]
        self.text = False
        if (declared is None and len(numbers) < len(seen)) or (declared is not None and declared.type == "categorical"):
            choices = _distinct([*(declared.choices or () if declared else ()), *seen])
            self.text = len(set(choices)) < len(choices)  # 1 and true are one to Python
            self.distribution: Any = optuna.distributions.CategoricalDistribution(
                [json.dumps(choice) for choice in choices] if self.text else choices
            )
            return
        whole = declared.type == "int" if declared else all(isinstance(value, int) for value in numbers)
        bounds = [*declared.bounds, *numbers] if declared else numbers
        low, high = min(bounds), max(bounds)
        log = bool(declared and declared.log)
        if whole:
            self.distribution = optuna.distributions.IntDistribution(int(low), int(high), log=log)
        else:
            self.distribution = optuna.distributions.FloatDistribution(float(low), float(high), log=log)

    def form(self, value: Scalar) -> Any:
        """The value as Optuna keeps it."""
        return json.dumps(value) if self.text else value


def _dimensions(spec: ExperimentSpec, trials: Sequence[Trial]) -> dict[str, _Dimension]:
    declared = {parameter.name: parameter for parameter in spec.space}
    seen: dict[str, list[Scalar]] = {name: [] for name in declared}
    for trial in trials:
        for name, value in trial.params.items():
            seen.setdefault(name, []).append(value)
    return {name: _Dimension(declared.get(name), values) for name, values in seen.items()}


def _distinct(values: Sequence[Scalar]) -> list[Scalar]:
    return list({(isinstance(value, bool), value): value for value in values}.values())


def _frozen(trial: Trial, dimensions: Mapping[str, _Dimension], curve: Mapping[int, float]) -> Any:
    import optuna

    states = {
        TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
        TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
        TrialState.FAILED: optuna.trial.TrialState.FAIL,
    }
    frozen = optuna.trial.create_trial(
        state=states[trial.state],
        values=list(trial.values) if trial.values and trial.state is TrialState.COMPLETE else None,
        params={name: dimensions[name].form(value) for name, value in trial.params.items()},
        distributions={name: dimensions[name].distribution for name in trial.params},
        intermediate_values={step: value for step, value in curve.items() if step >= 0 and math.isfinite(value)},
        user_attrs=dict(trial.metrics),
    )
    frozen.number = trial.number
    frozen.datetime_start = trial.started_at or trial.ended_at
    frozen.datetime_complete = trial.ended_at or trial.started_at
    return frozen
