"""`tune`: search the best parameters of a Python function, here and now, with every trial kept in a database."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuners.api.carrying import at_interrupt, carry_out
from tuners.api.inprocess import run_here
from tuners.api.runs import Claim, named
from tuners.api.storage import artifacts_of, opened, read_result, url_of
from tuners.tools.callable_arguments import check_arguments
from tunesmith.client.tune_progress import ProgressBar
from tunesmith.client.tune_request import Direction, Task, TuneOptions, task_of
from tunesmith.client.tune_result import Result
from tunesmith.client.tune_space import SpaceLike
from tunesmith.domain import Constraint, Job, Resources, Scalar
from tunesmith.errors import InvalidBody
from tunesmith.store import Store

FAILING: tuple[type[BaseException], ...] = (Exception, SystemExit)
"""What an objective may raise to fail a trial, unless `catch` says otherwise."""


def tune(
    objective: Callable[..., Any],
    space: SpaceLike | None = None,
    *,
    trials: int | None = None,
    direction: Direction | None = None,
    metric: str | None = None,
    objectives: Mapping[str, Direction] | None = None,
    constraints: str | Sequence[str | Mapping[str, Any] | Constraint] = (),
    parameter_constraints: str | Sequence[str] = (),
    sampler: str | Mapping[str, Any] = "auto",
    pruner: str | Mapping[str, Any] | None = None,
    seed: int | None = None,
    name: str | None = None,
    storage: str | Path | None = None,
    workers: int = 1,
    timeout_s: float | None = None,
    budget_s: float | None = None,
    goal: float | Mapping[str, float] | None = None,
    patience: int | None = None,
    repeats: int = 1,
    enqueue: Sequence[Mapping[str, Scalar]] = (),
    fixed: Mapping[str, Scalar] | None = None,
    resources: Mapping[str, float] | Resources | None = None,
    catch: type[BaseException] | tuple[type[BaseException], ...] = FAILING,
    max_failed_trials: int | None = None,
    progress: bool | None = None,
) -> Result:
    """Search the parameters that make an objective smallest, or largest.

        result = tune(lambda p: (p.x - 2) ** 2, {"x": Float(-5, 5)}, trials=50)
        result.best.params, result.best.value

    The objective takes the parameters as one mapping (`p["x"]` or `p.x`), or as keywords where its signature names
    them (`def objective(x, n)`). It returns a number, one number per objective, or a dict of metrics; or it yields
    such results while it works, with steps 0, 1, 2, ... (or `{"loss": ..., "step": 10}`), and can be pruned at every
    `yield`. Without a space it takes a trial, in Optuna's define-by-run style: `trial.suggest_float("x", -5, 5)`,
    `trial.report(loss, step)`, `trial.should_prune()`. An exception fails its trial and is kept; the search goes on.

    Args:
        objective: The function.
        space: Parameter -> `Float(low, high)`, `Int(low, high)`, `Choice(a, b)` or a list of choices.
        trials: Trials in all, those of earlier calls with the same name included. Unset: 100, or as many as `budget_s`
            allows, or as a grid has points.
        direction: `minimize` (the default) or `maximize`.
        metric: What the returned number is called, or which entry of a returned dict counts; `value` by default.
        objectives: Several metrics instead: `{"loss": "minimize", "accuracy": "maximize"}`.
        constraints: Bounds on metrics that a best trial keeps: `"size <= 100"`, or a list of such.
        parameter_constraints: What must hold between parameters: `"a + b <= 1"`, or a list of such.
        sampler: A sampler's name (`tunesmith samplers` lists them), or `{"type": name, option: value}`.
        pruner: What ends hopeless trials early: a name, or `{"type": name, option: value}`.
        seed: Makes every random choice repeatable.
        name: Name of the run in its storage. A later call with it goes on with what is there, and one that finds
            another living process at it waits for that; one that asks for no more than a run that stopped by itself
            (goal, patience, budget) returns what it found. Without a name each call begins afresh.
        storage: SQLAlchemy URL (`sqlite:///runs.db`, `postgresql://...`) or path of an SQLite file; unset: in memory.
        workers: 1 evaluates in this process and thread, so that breakpoints and prints work; more: in so many
            processes, on a local Ray that is started for this call, unless one is connected already.
        timeout_s: Seconds that one evaluation may take; it fails then.
        budget_s: Seconds after which no new trial starts.
        goal: Stop when a trial is at least this good: the first objective's value, or metric -> value.
        patience: Stop after so many finished trials without improvement.
        repeats: How often each point is evaluated; its values are the means.
        enqueue: Points to try first.
        fixed: Parameters that are held at one value.
        resources: What one trial needs where `workers` > 1: `{"cpus": 2, "gpus": 1}`.
        catch: Exceptions that fail a trial; any other one ends the search. `()` raises the first. With one worker only.
        max_failed_trials: The search fails when so many trials failed.
        progress: Whether to show a progress bar; unset: in a terminal and in a notebook.

    Raises:
        InvalidBody, InvalidSpace, InvalidOptimizer: an argument is wrong; the message says which, and what to do.
        Interrupted: Ctrl-C (a KeyboardInterrupt); its `result` is what was found until then.
        TunesmithError: no trial succeeded, or too many failed; the first failure is in the message.
    """
    given: dict[str, Any] = {
        "trials": trials,
        "direction": direction,
        "metric": metric,
        "objectives": objectives,
        "constraints": constraints,
        "parameter_constraints": parameter_constraints,
        "sampler": sampler,
        "pruner": pruner,
        "seed": seed,
        "name": name,
        "timeout_s": timeout_s,
        "budget_s": budget_s,
        "goal": goal,
        "patience": patience,
        "repeats": repeats,
        "enqueue": enqueue,
        "fixed": fixed,
        "resources": resources,
        "max_failed_trials": max_failed_trials,
        "progress": progress,
    }
    options = TuneOptions(**{option: value for option, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidBody(f"workers: {workers!r} is no number of processes; give a whole number, at least 1")
    if workers > 1 and catch != FAILING:
        raise InvalidBody("catch: only workers=1 can raise what the objective raised; use max_failed_trials")
    task = task_of(objective, space, options, max_concurrent=workers)
    if space is not None:
        check_arguments(objective, task.experiment.spec().space)
    caught = catch if isinstance(catch, tuple) else (catch,)
    url = url_of(storage)
    if workers == 1:
        return _here(task, url, caught)
    from tuners.api.onray import tuned_on_ray  # Ray takes a second to import, so only where it is wanted

    return tuned_on_ray(task, url, workers)


def load(name: str, storage: str | Path) -> Result:
    """What a named run found so far, wherever it runs or ran. Raises ExperimentNotFound."""
    url = url_of(storage)
    store = opened(url)
    try:
        with store.read() as tx:
            experiment = named(tx, name)
        return read_result(store, url, experiment.id, kept=True)
    finally:
        store.close()


def _here(task: Task, url: str, catch: tuple[type[BaseException], ...]) -> Result:
    with tempfile.TemporaryDirectory(prefix="tune-") as scratch:

        def work(store: Store, claimed: Claim, bar: ProgressBar) -> Job:
            artifacts = artifacts_of(url, scratch)
            return run_here(store, claimed, task.objective, bar, catch, at_interrupt(task), artifacts)

        return carry_out(task, url, work)
