"""What `tune` gives back: the best trial or the Pareto front, every trial as a table, and figures of the search."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.client import tune_plots, tune_tables
from tunesmith.domain import ExperimentSpec, Scalar, Trial, TrialState
from tunesmith.errors import TrialNotFound

if TYPE_CHECKING:
    import optuna
    import pandas
    import pyarrow

Curves = Callable[[], Mapping[int, Mapping[int, float]]]
"""Fetches the intermediate values of the first objective: trial number -> step -> value."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a search; `result` is what it had found until then."""

    result: Result
    """The result so far."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class BestTrial:
    """A complete trial that keeps every constraint."""

    number: int
    """The trial's number within the run, from 0."""
    params: Mapping[str, Scalar]
    """The configuration."""
    values: Mapping[str, float]
    """Objective -> value."""
    metrics: Mapping[str, float]
    """Everything that was measured."""
    duration_s: float | None
    """Seconds that it took."""

    @property
    def value(self) -> float:
        """The first objective's value."""
        return next(iter(self.values.values()))


class Result:
    """What a search found so far. In a notebook it shows itself as a table."""

    name: str
    """The run's name; `tune` goes on with it when it is called with this name and the same storage."""
    spec: ExperimentSpec
    """What was searched: space, objectives, constraints."""
    stopped: str | None
    """Why the search ended before it had made all its trials, or None."""

    def __init__(
        self,
        spec: ExperimentSpec,
        trials: Sequence[Trial],
        curves: Curves = dict,
        stopped: str | None = None,
    ) -> None:
        """`trials` are all finished ones, by number; `curves` is called when a figure wants them."""
        self.spec, self.name = spec, spec.tool_name
        self.stopped = stopped
        self._all, self._curves = list(trials), curves

    @property
    def best(self) -> BestTrial:
        """The best trial.

        Raises:
            TrialNotFound: no trial is complete and keeps the constraints.
            RuntimeError: there are several objectives, and so a front: see `best_trials`.
        """
        if len(self.spec.objectives) > 1:
            raise RuntimeError("several objectives have no single best trial; look at result.best_trials")
        if not self.best_trials:
            counts = ", ".join(f"{number} {state}" for state, number in self.counts.items() if number)
            raise TrialNotFound(f"no trial of {self.name!r} is complete and keeps its constraints ({counts or 'none'})")
        return self.best_trials[0]

    @property
    def best_trials(self) -> list[BestTrial]:
        """The Pareto front, best first in the first objective; of one objective, the best trial alone."""
        return [self._best(trial) for trial in tune_tables.front(self.spec, self._all)]

    @property
    def counts(self) -> dict[str, int]:
        """Trials per state."""
        return {state.value: sum(trial.state is state for trial in self._all) for state in TrialState}

    @property
    def errors(self) -> dict[int, str]:
        """Number of each failed trial -> why it failed, with its traceback."""
        return {trial.number: trial.error or "" for trial in self._all if trial.state is TrialState.FAILED}

    @property
    def trials(self) -> pyarrow.Table:
        """Every trial, one row each, by number.

        Columns: `number`, `state`, `value` (of several objectives: `values_<metric>`), `params_<name>`,
        `metrics_<name>` for what else was measured, `feasible` where there are constraints, `started_at`, `ended_at`,
        `duration_s`, `error`. DuckDB, Polars and pandas read it as it is.
        """
        return tune_tables.table(self.spec, self._all)

    def dataframe(self) -> pandas.DataFrame:
        """The same as a pandas data frame (needs pandas)."""
        frame: pandas.DataFrame = self.trials.to_pandas()
        return frame

    @property
    def study(self) -> optuna.Study:
        """The search as an Optuna study in memory, for everything that Optuna's ecosystem does with one."""
        return tune_plots.study_of(self.spec, self._all, self._curves())

    def plot(self, kind: str = "history", objective: str | None = None, **options: Any) -> Any:
        """A Plotly figure, drawn by `optuna.visualization`.

        `kind`: history, parallel, slice, contour, importance, pareto, edf, intermediate, timeline or rank.
        `objective`: which metric to draw, of several. `options` go to Optuna's function, for instance
        `params=["x", "y"]`. Raises ValueError for an unknown kind or objective.
        """
        curves = self._curves() if kind == "intermediate" else {}
        return tune_plots.figure(kind, self.spec, self._all, curves, objective, options)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        found = "; ".join(f"{label}: {text}" for label, text in self._summary())
        return f"<Result of {self.name!r}: {found}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"
            for label, text in [("run", self.name), *self._summary()]
        )
        return f"<table>{rows}</table>"

    def _summary(self) -> list[tuple[str, str]]:
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items() if number)
        rows = [("trials", counts or "none")]
        front = self.best_trials
        if len(self.spec.objectives) > 1:
            rows.append(("Pareto front", f"{len(front)} trials"))
        elif front:
            values = ", ".join(f"{metric} {value:.6g}" for metric, value in front[0].values.items())
            params = ", ".join(f"{name}={_shown(value)}" for name, value in front[0].params.items())
            rows.append(("best", f"{values} at {params} (trial {front[0].number})"))
        if self.stopped:
            rows.append(("stopped", self.stopped))
        return rows

    def _best(self, trial: Trial) -> BestTrial:
        names = [objective.metric for objective in self.spec.objectives]
        values = dict(zip(names, trial.values or (), strict=True))
        return BestTrial(trial.number, dict(trial.params), values, dict(trial.metrics), trial.duration_s)


def _shown(value: Scalar) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
