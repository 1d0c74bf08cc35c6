"""Runs of models: submitted and cancelled; a run is a job of an experiment of one point."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.domain import AlgorithmTool, ExperimentSpec, ModelRun, Principal, RunFilter, Space
from tunesmith.errors import Forbidden, StateForbids
from tunesmith.services import jobs
from tunesmith.services.firing import ONE_POINT
from tunesmith.store import Tx
from tunesmith.store.model_runs import EVERYTHING, no_run

if TYPE_CHECKING:
    from tunesmith.plugins import Registry


def seen_by(tx: Tx, who: Principal) -> RunFilter:
    """Which models, and which of their runs, somebody sees in the workspace."""
    closed = frozenset[str]()
    if who.workspace_id is not None and who.role != "admin":
        closed = tx.closed_models(who.workspace_id, who.subjects)
    return RunFilter(closed=closed, attributes=who.attributes)


def shown(who: Principal, models: Iterable[str], seen: RunFilter) -> list[str]:
    """Which of these models are listed for somebody; who may run none at all reads what is there."""
    runs = any(scope == "run" or scope.startswith("model:") for scope in who.scopes)
    return [name for name in models if name not in seen.closed and not (runs and not who.may(f"model:{name}:run"))]


def read(tx: Tx, run_id: str, seen: RunFilter) -> ModelRun:
    """A run that is seen. Raises RunNotFound."""
    run = tx.run(run_id)
    if run.model_id in seen.closed or seen.refused(run.inputs):
        raise no_run(run_id)
    return run


def check_model(who: Principal, model_id: str, seen: RunFilter) -> None:
    """Raise Forbidden unless somebody may run a model, or cancel its runs."""
    scope = f"model:{model_id}:run"
    if not who.may(scope):
        raise Forbidden(f"It needs the scope 'run' or {scope!r}; use a token that has one of them", scope=scope)
    if model_id in seen.closed:
        raise Forbidden(
            f"The model {model_id!r} is for some people of the workspace {who.workspace!r} alone; one of its admins "
            f"can grant it to {who.name!r}",
            scope=scope,
        )


def submit(
    tx: Tx,
    registry: Registry,
    model_id: str,
    inputs: Mapping[str, Any],
    submitted_by: str | None = None,
    seen: RunFilter = EVERYTHING,
) -> ModelRun:
    """Queue a run of a model.

    Raises:
        ModelNotFound: there is none.
        InvalidParameter: an input is unknown, or its value is none.
        Forbidden: whoever submits it would not see it.
    """
    known = registry.model(model_id)
    settled = known.item.settle(inputs)
    hidden = seen.refused(settled)
    if hidden is not None:
        allowed = ", ".join(map(repr, seen.attributes[hidden]))
        raise Forbidden(
            f"{hidden}: you may run models with {allowed} alone, not with {settled.get(hidden)!r}", field=hidden
        )
    spec = ExperimentSpec(
        tool_name=model_id,
        tool=AlgorithmTool(kind="model", name=model_id, plugin=known.reference, parameters=settled),
        space=Space(parameters=()),
        trial_timeout_s=known.item.timeout_s,
    )
    run_id, workspace = str(uuid.uuid4()), tx.workspace()
    experiment = tx.own_experiment(workspace, run_id, known.item.name, spec)
    job = tx.create_job(experiment.id, ONE_POINT, 1, submitted_by=submitted_by)
    tx.first_attempt(job, experiment)
    return tx.create_run(run_id, workspace, model_id, settled, experiment.id, job.id, submitted_by)


def cancel(tx: Tx, run_id: str) -> ModelRun:
    """Stop a run, at once or when its runner hears of it; it has failed then. Raises RunNotFound, StateForbids."""
    run = tx.run(run_id)
    job = tx.lock_job(run.job_id)
    if job.state.ended:
        state = job.state.value
        raise StateForbids(f"The run is {state}; there is nothing to cancel", run_id=run_id, state=state)
    jobs.cancel(tx, job.id)
    return tx.run(run_id)
