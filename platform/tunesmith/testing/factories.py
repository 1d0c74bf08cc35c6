"""Small factories: specs, experiments, jobs and trials with sensible content and fixed dates."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tunesmith.domain import (
    CommandTool,
    Experiment,
    ExperimentSpec,
    Job,
    JobState,
    Objective,
    Search,
    Trial,
    TrialState,
    space_of,
)
from tunesmith.store import Store, open_store

EPOCH = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""The moment at which every made-up trial starts; each ends a second later."""


def memory_store() -> Store:
    """A store in memory with all its tables: real SQLite, gone when it is closed."""
    store = open_store("sqlite://")
    store.upgrade()
    return store


def spec(tool_name: str = "sleep", objectives: Sequence[str] = ("loss",), **changes: Any) -> ExperimentSpec:
    """A command tool with a float `x` and an int `n`; an objective written `-name` is maximized."""
    content = {
        "tool_name": tool_name,
        "tool": CommandTool(command="sleep $(( ${n} ))"),
        "space": space_of(
            [
                {"name": "x", "minimum": 0, "maximum": 1},
                {"name": "n", "type": "int", "minimum": 1, "maximum": 10},
            ]
        ),
        "objectives": tuple(_objective(name) for name in objectives),
    }
    return ExperimentSpec.model_validate(content | changes)


def search(**changes: Any) -> Search:
    """Ten random points with a seed."""
    return Search.model_validate({"type": "random", "n_iter": 10, "seed": 1} | changes)


def new_experiment(store: Store, objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    """An experiment that the store did not have before."""
    wanted = spec(changes.pop("tool_name", f"tool-{secrets.token_hex(6)}"), objectives, **changes)
    with store.write() as tx:
        experiment, created = tx.get_or_create_experiment(tx.workspace(), wanted)
    assert created, f"there was an experiment of {wanted.tool_name!r} with this content already"
    return experiment


def queued_job(store: Store, experiment: Experiment, **options: Any) -> Job:
    """A job of an experiment, waiting for a runner."""
    with store.write() as tx:
        return tx.create_job(experiment.id, search(), **options)


def running_job(store: Store, experiment: Experiment, owner: str = "runner", lease_s: float = 60.0) -> Job:
    """A job of an experiment, held by a runner: its `lease_token` opens `record` and `end_lease`."""
    job = queued_job(store, experiment, priority=1_000_000)
    with store.write() as tx:
        running = len(tx.jobs({JobState.RUNNING}).items)
        (claimed,) = tx.claim_jobs(owner, lease_s, max_running=running + 1)
    assert claimed.id == job.id, f"{claimed.id} stood before {job.id} in the queue"
    return claimed


def open_trial(job: Job, number: int, state: TrialState = TrialState.RUNNING, **changes: Any) -> Trial:
    """A trial that has no result yet."""
    trial = Trial(
        experiment_id=job.experiment_id,
        number=number,
        job_id=job.id,
        run_number=job.run_number,
        state=state,
        params={"x": number % 100 / 100, "n": 1 + number % 10},
        created_at=EPOCH,
        started_at=EPOCH if state is TrialState.RUNNING else None,
    )
    return Trial.model_validate(trial.model_dump() | changes)


def finished_trial(job: Job, number: int, *values: float, **changes: Any) -> Trial:
    """A complete trial with these values (0.0 by default), or one of the `state` that is given."""
    state = changes.pop("state", TrialState.COMPLETE)
    outcome = {
        "values": None if state is TrialState.FAILED else values or (0.0,),
        "error": "exit code 1" if state is TrialState.FAILED else None,
        "metrics": {"wall_time_s": 1.0},
        "worker": "host:1",
        "ended_at": EPOCH + timedelta(seconds=1),
    }
    return open_trial(job, number, **{"state": state, "started_at": EPOCH, **outcome, **changes})


def _objective(name: str) -> Objective:
    return Objective(metric=name.removeprefix("-"), direction="maximize" if name.startswith("-") else "minimize")
