"""Commands on experiments: experiments, trials, best."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tunesmith.cli.options import ExperimentId, Json, Limit, Url, connect
from tunesmith.cli.output import print_json, print_table
from tunesmith.domain import TrialState
from tunesmith.schemas.trials import TrialAnswer


class TrialOrder(StrEnum):
    """How to sort trials."""

    NUMBER = "number"
    VALUE = "value"


def list_experiments(
    query: Annotated[str | None, typer.Option("--q", help="Only those whose name holds this.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List experiments, newest first."""
    with connect(url) as client:
        answers = [experiment.info for experiment in client.experiments(query, limit, archived)]
    if as_json:
        print_json(answers)
        return
    columns = ("id", "name", "objectives", "trials", "tags", "created")
    rows = (
        (
            answer.id,
            answer.name,
            ", ".join(f"{objective.direction} {objective.metric}" for objective in answer.objectives),
            {state: count for state, count in answer.trial_counts.items() if count},
            ", ".join(answer.tags),
            answer.created_at,
        )
        for answer in answers
    )
    print_table(columns, rows, empty="no experiments; `tunesmith submit FILE` makes one")


def list_trials(
    experiment_id: ExperimentId,
    state: Annotated[TrialState | None, typer.Option("--state", help="Only those in this state.")] = None,
    order: Annotated[TrialOrder, typer.Option("--order", help="By number, or best first.")] = TrialOrder.NUMBER,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List an experiment's trials."""
    with connect(url) as client:
        wanted = None if state is None else state.value
        trials = list(client.experiment(experiment_id).trials(wanted, order.value, limit))
    _print_trials(trials, as_json, empty="no trials yet")


def best(experiment_id: ExperimentId, url: Url = None, as_json: Json = False) -> None:
    """Show an experiment's best trial, or its Pareto set."""
    with connect(url) as client:
        experiment = client.experiment(experiment_id)
        if as_json:
            print_json(experiment.best())
        else:
            _print_trials(experiment.front(), False, empty="no complete trial yet")


def _print_trials(trials: list[TrialAnswer], as_json: bool, empty: str) -> None:
    if as_json:
        print_json(trials)
        return
    columns = ("number", "state", "values", "parameters", "feasible", "seconds", "error")
    print_table(columns, (_row(trial) for trial in trials), empty)


def _row(trial: TrialAnswer) -> tuple[Any, ...]:
    values = {metric: value for metric, value in trial.outcomes.items() if value is not None}
    error = (trial.error or "").strip().splitlines()
    return (
        trial.number, trial.state, values, trial.params, trial.feasible, trial.duration_s, error[0] if error else None
    )  # fmt: skip
