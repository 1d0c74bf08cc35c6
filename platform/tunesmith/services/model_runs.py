"""Runs of models: submitted and cancelled; a run is a job of an experiment of one point."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.domain import AlgorithmTool, ExperimentSpec, ModelRun, Space
from tunesmith.errors import StateForbids
from tunesmith.services import jobs
from tunesmith.services.firing import ONE_POINT
from tunesmith.store import Tx

if TYPE_CHECKING:
    from tunesmith.plugins import Registry


def submit(
    tx: Tx, registry: Registry, model_id: str, inputs: Mapping[str, Any], submitted_by: str | None = None
) -> ModelRun:
    """Queue a run of a model. Raises ModelNotFound, InvalidParameter (an input is unknown, or its value is none)."""
    known = registry.model(model_id)
    settled = known.item.settle(inputs)
    spec = ExperimentSpec(
        tool_name=model_id,
        tool=AlgorithmTool(kind="model", name=model_id, plugin=known.reference, parameters=settled),
        space=Space(parameters=()),
        trial_timeout_s=known.item.timeout_s,
    )
    run_id, workspace = str(uuid.uuid4()), tx.default_workspace()
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
