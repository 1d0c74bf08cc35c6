"""Searches for the tests: spaces, deterministic values, and trials that run one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tuners.search import PointSearch
from tunesmith.domain import Experiment, Scalar, Search, Space, Trial, TrialState, space_of
from tunesmith.testing.factories import EPOCH, spec

Params = Mapping[str, Scalar]

CONTINUOUS = space_of(
    [
        {"name": "x", "minimum": 0, "maximum": 1},
        {"name": "y", "minimum": 0, "maximum": 1},
        {"name": "lr", "minimum": 1e-5, "maximum": 0.1, "log": True},
    ]
)
MIXED = space_of(
    [
        {"name": "x", "minimum": 0, "maximum": 1},
        {"name": "codec", "type": "categorical", "choices": ["gzip", True, 1, None]},
        {"name": "level", "type": "int", "minimum": 1, "maximum": 9, "when": {"codec": ["gzip", 1]}},
        {"name": "batch", "type": "int", "minimum": 8, "maximum": 30, "step": 5},
        {"name": "units", "type": "int", "minimum": 1, "maximum": 1000, "log": True},
        {"name": "drop", "minimum": 0, "maximum": 0.9, "step": 0.1},
        {"name": "only", "type": "categorical", "choices": ["a"]},
    ]
)
FINITE = space_of(
    [
        {"name": "a", "type": "int", "minimum": 1, "maximum": 5},
        {"name": "codec", "type": "categorical", "choices": ["gzip", True, 1]},
        {"name": "b", "minimum": 0, "maximum": 1, "step": 0.25, "when": {"codec": [True]}},
    ]
)
BOUNDED = Space.model_validate(
    {
        "parameters": [
            {"name": "lo", "minimum": 0, "maximum": 1},
            {"name": "hi", "minimum": 0, "maximum": 1},
            {"name": "n", "type": "int", "minimum": 1, "maximum": 8},
            {"name": "kind", "type": "categorical", "choices": ["a", "b", "c"]},
        ],
        "constraints": ["lo + 0.1 < hi", "n * lo <= 2", "kind != 'b' or n > 4"],
    }
)

SEARCHES = {
    "random": Search(type="random", n_iter=100, seed=1),
    "qmc": Search(type="qmc", n_iter=100, seed=2),
    "halton": Search(type="qmc", n_iter=100, seed=2, options={"qmc_type": "halton"}),
    "tpe": Search(type="tpe", n_iter=100, seed=3),
    "independent tpe": Search(type="tpe", n_iter=100, seed=3, options={"multivariate": False}),
    "grouped tpe": Search(type="tpe", n_iter=100, seed=3, options={"group": True}),
    "bayesopt": Search(type="bayesopt", n_init=5, n_iter=95, seed=4),
    "gp": Search(type="gp", n_iter=100, seed=5, options={"n_startup_trials": 4}),
    "trego": Search(type="trego", n_iter=100, seed=5, options={"n_startup_trials": 4}),
    "cmaes": Search(type="cmaes", n_iter=100, seed=6),
    "separable cmaes": Search(type="cmaes", n_iter=100, seed=6, options={"use_separable_cma": True}),
    "cmaes with margin": Search(type="cmaes", n_iter=100, seed=6, options={"with_margin": True, "sigma0": 0.3}),
    "adaptive cmaes": Search(type="cmaes", n_iter=100, seed=6, options={"lr_adapt": True, "popsize": 5}),
    "nsga2": Search(type="nsga2", n_iter=100, seed=7, options={"population_size": 8}),
    "nsga3": Search(type="nsga3", n_iter=100, seed=8, options={"population_size": 8}),
    "partial_fixed": Search(
        type="partial_fixed", n_iter=100, seed=9, options={"fixed_params": {"x": 0.25}, "base": "nsga2"}
    ),
}
"""Every sampler that goes on for ever, some with options that change how it keeps what it knows."""


def cases(*names: str) -> list[Any]:
    """Names of searches as a test's parameters; those with a Gaussian process are slow."""
    return [pytest.param(name, marks=pytest.mark.slow if name == "gp" else ()) for name in names]


def experiment_of(space: Space = CONTINUOUS, objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    return Experiment(
        id=1,
        workspace_id="w",
        spec=spec(objectives=objectives, space=space, **changes),
        name="e",
        tags=(),
        archived=False,
        created_at=EPOCH,
        counts={},
    )


def loss_of(params: Params) -> float:
    """Any deterministic value, smooth in x and y, with its minimum at (0.3, 0.7)."""
    smooth = sum((float(params[name] or 0) - at) ** 2 for name, at in (("x", 0.3), ("y", 0.7)) if name in params)
    rest = sum(len(str(value)) for name, value in params.items() if name not in ("x", "y", "lr"))
    return smooth + 0.01 * rest


def finished(number: int, params: Params, experiment: Experiment, **changes: Any) -> Trial:
    """A trial of these parameters as it ends: some fail, some are pruned, the others are complete."""
    state = {5: TrialState.FAILED, 3: TrialState.PRUNED}.get(number % 7, TrialState.COMPLETE)
    count = len(experiment.spec.objectives)
    values = tuple(loss_of(params) * (-1) ** i for i in range(count)) if state is TrialState.COMPLETE else None
    fields = {"state": state, "values": values, "metrics": {"size": float(params.get("x") or 0)}} | changes
    return Trial(
        experiment_id=1,
        number=number,
        job_id="job",
        run_number=1,
        params=dict(params),
        started_at=EPOCH,
        ended_at=EPOCH + timedelta(seconds=1),
        **fields,
    )


def complete(number: int, params: Params, experiment: Experiment, **changes: Any) -> Trial:
    """The same, complete whatever its number."""
    values = tuple(loss_of(params) * (-1) ** i for i in range(len(experiment.spec.objectives)))
    return finished(number, params, experiment, state=TrialState.COMPLETE, values=values, **changes)


def stored(trial: Trial) -> Trial:
    """A trial as it comes back from SQL: its content went through JSON."""
    return Trial.model_validate(json.loads(trial.model_dump_json()))


def run(
    experiment: Experiment, search: Search, trials: int, history: Sequence[Trial] = (), end: Any = finished
) -> list[Trial]:
    """Trials one at a time, the next one asked for when the last one is told; `history` are the job's own, from SQL."""
    done = [stored(trial) for trial in history]
    points = PointSearch(experiment, search, done, len(done))
    while len(done) < trials:
        number = len(done)
        params = points.ask(number)
        if params is None:
            break
        done.append(end(number, params, experiment, system_attrs=points.system_attrs(number)))
        points.tell(done[-1])
    return done


def params_of(trials: Sequence[Trial]) -> list[Params]:
    return [trial.params for trial in trials]
