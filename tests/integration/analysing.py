"""Experiments to analyse, the same trials as a plain Optuna study, and how to ask for an analysis."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import optuna
import plotly.io
from fastapi.testclient import TestClient
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tunesmith.domain import Experiment, Trial, TrialState, space_of
from tunesmith.schemas.analysis import ANSWERS
from tunesmith.store import Store
from tunesmith.testing import new_experiment
from tunesmith.testing.factories import EPOCH

KINDS = list(ANSWERS)
OF_ONE = ["history", "slice", "contour", "parallel_coordinates", "edf", "importances"]
LR: dict[str, Any] = {"name": "lr", "minimum": 1e-4, "maximum": 1.0, "log": True}
DEPTH: dict[str, Any] = {"name": "depth", "type": "int", "minimum": 1, "maximum": 8}
OPT: dict[str, Any] = {"name": "opt", "type": "categorical", "choices": ["sgd", "adam"]}
MOMENTUM: dict[str, Any] = {"name": "momentum", "minimum": 0, "maximum": 1, "when": {"opt": ["sgd"]}}
SPACE = [LR, DEPTH, OPT, MOMENTUM]
THEIRS: Mapping[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1, log=True),
    "depth": IntDistribution(1, 8),
    "opt": CategoricalDistribution(("sgd", "adam")),
    "momentum": FloatDistribution(0, 1),
}
PLOTS = {
    "history": optuna.visualization.plot_optimization_history,
    "slice": optuna.visualization.plot_slice,
    "contour": optuna.visualization.plot_contour,
    "parallel_coordinates": optuna.visualization.plot_parallel_coordinate,
    "edf": optuna.visualization.plot_edf,
    "importances": optuna.visualization.plot_param_importances,
}
STATES = {
    TrialState.WAITING: optuna.trial.TrialState.WAITING,
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


def experiment_of(store: Store, objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    return new_experiment(store, objectives, **{"space": space_of(SPACE), **changes})


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, **changes: Any) -> Trial:
    """A trial of SPACE, with parameters of its number."""
    rng = np.random.default_rng(number)
    params: dict[str, Any] = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "depth": int(rng.integers(1, 9)),
        "opt": ("sgd", "adam")[number % 2],
    }
    if params["opt"] == "sgd":
        params["momentum"] = float(rng.random())
    began = EPOCH + timedelta(seconds=number)
    content = {
        "experiment_id": 1,
        "number": number,
        "job_id": None,
        "run_number": None,
        "state": state,
        "params": params,
        "values": values or None,
        "started_at": None if state is TrialState.WAITING else began,
        "ended_at": began + timedelta(seconds=1) if state.finished else None,
    }
    return Trial.model_validate(content | changes)


def loss(number: int) -> float:
    """A value that depends on the parameters of `trial(number)`."""
    params = trial(number).params
    return abs(math.log10(float(params["lr"])) + 2) + 0.1 * float(params["depth"])  # type: ignore[arg-type]


def write(store: Store, experiment: Experiment, found: Sequence[Trial], **measured: Any) -> None:
    with store.write() as tx:
        mine = [each.evolve(experiment_id=experiment.id) for each in found]
        tx.add_records(experiment, mine, {int(number[1:]): rows for number, rows in measured.items()})


def peer(
    found: Sequence[Trial],
    directions: Sequence[str] = ("minimize",),
    distributions: Mapping[str, BaseDistribution] = THEIRS,
    curves: Mapping[int, dict[int, float]] | None = None,
) -> optuna.Study:
    """The same trials as a plain study in memory."""
    study = optuna.create_study(directions=list(directions))
    for each in found:
        made = optuna.trial.create_trial(
            state=STATES[each.state],
            values=list(each.values) if each.values else None,
            params=dict(each.params),
            distributions={name: distributions[name] for name in each.params},
            intermediate_values=(curves or {}).get(each.number, {}),
            constraints=None if each.violation is None else {"c": each.violation},
        )
        made.datetime_start = each.started_at and each.started_at.astimezone().replace(tzinfo=None)
        made.datetime_complete = each.ended_at and each.ended_at.astimezone().replace(tzinfo=None)
        study.add_trial(made)
    return study


def data(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> dict[str, Any]:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params=options)
    assert answer.status_code == 200, answer.text
    ANSWERS[kind].model_validate(answer.json())
    return dict(answer.json())


def figure(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> Any:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params={"format": "plotly", **options})
    assert answer.status_code == 200, answer.text
    return plotly.io.from_json(answer.text)


def refusal(api: TestClient, experiment: Experiment, kind: str, **options: Any) -> dict[str, Any]:
    answer = api.get(f"/api/v1/experiments/{experiment.id}/analysis/{kind}", params=options)
    assert answer.status_code == 400, answer.text
    return dict(answer.json())


def points(drawn: Any) -> list[dict[str, Any]]:
    """The traces of a figure as plain JSON, without names and colours' array form."""
    found = json.loads(drawn.to_json())["data"]
    return [{key: value for key, value in trace.items() if key not in ("text", "customdata")} for trace in found]


def array(sent: Any) -> list[float]:
    """Numbers as Plotly sends them, packed or not."""
    return np.frombuffer(base64.b64decode(sent["bdata"]), sent["dtype"]).tolist() if isinstance(sent, dict) else sent


def mixed() -> list[Trial]:
    """Complete trials among others of every state, one infeasible, one of infinite value."""
    found = [trial(number, loss(number)) for number in range(40)]
    found[3] = trial(3, state=TrialState.FAILED)
    found[5] = trial(5, 0.7, state=TrialState.PRUNED)
    found[7] = trial(7, 0.01, violation=1.0)
    found[9] = trial(9, math.inf)
    return [*found, trial(40, state=TrialState.RUNNING), trial(41, state=TrialState.WAITING)]
