"""An experiment's jobs and trials: submit, stop, list, and the best."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request, Response

from serve_app.answers import answer, answers
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.functions import check_code
from serve_app.routes.parameters import Cursor, ExperimentId, Limit, TrialNumber
from serve_app.strict import surface
from tuners.samplers import plan
from tunesmith.domain import TrialState
from tunesmith.domain.page import MAX_LIMIT
from tunesmith.errors import InvalidOptimizer, TrialNotFound
from tunesmith.schemas.jobs import JobAnswer, JobEnvelope
from tunesmith.schemas.requests import JobRequest
from tunesmith.schemas.trials import TrialAnswer, TrialDetail, TrialPage, best_answer
from tunesmith.services import jobs as service
from tunesmith.store import Tx

router = surface("/api/v1/experiments/{experiment_id}", ["trials"], refuses=(404,))
PAGE = 100


@router.post(
    "/trials",
    summary="Submit a job",
    status_code=202,
    response_model=JobEnvelope,
    response_description="Queued.",
    responses=refusals(409, 413),
)
def submit_job(
    here: Here,
    request: Request,
    experiment_id: ExperimentId,
    body: Annotated[JobRequest, FromJson("optimizer", InvalidOptimizer)] | None = None,
    key: Key = None,
) -> Response:
    """Optimize the experiment. Without a body: bayesopt with 2 random and 2 model-based points.

    A new job learns from every earlier trial of the experiment. One job at a time is queued or running per experiment.
    """
    asked = body or JobRequest()
    once = Once.of(request, key, asked)
    with here.store.read() as tx:
        if once is not None and (earlier := once.replay(tx)) is not None:
            return earlier
        experiment = tx.experiment(experiment_id)
    dev = here.settings.mode == "dev"
    types = here.platform.node_types() if experiment.spec.compute.type == "ec2" else frozenset[str]()
    note = service.placement(experiment.spec, types, dev)
    search = asked.optimizer.search()
    check_code(experiment, search, here.storage)
    service.check_cost(search, here.settings.prices)
    slots = here.platform.slots(experiment.spec.resources.cpus) if search.type == "auto" else None
    planned = plan(experiment, search, here.settings.max_grid_points, slots)
    note = "; ".join(filter(None, (note, planned.note))) or None

    def work(tx: Tx) -> Response:
        job = service.submit(tx, experiment_id, planned.search, planned.total, asked.rank, note=note)
        found = JobAnswer.of(job, experiment.spec.tool_name)
        return answer(JobEnvelope(status="submitted", job=found, warnings=planned.warnings), 202)

    with here.store.write() as tx:
        response = perform(tx, once, lambda: work(tx))
    here.wake()
    return response


@router.get(
    "/trials",
    summary="List trials",
    response_model=TrialPage | list[TrialAnswer],
    response_description=f"A page; without any parameter, a plain array of the newest {MAX_LIMIT:,} trials.",
)
def list_trials(
    here: Here,
    experiment_id: ExperimentId,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    order: Annotated[
        Literal["number", "value"] | None, Query(description="`value`: best first, by the first objective.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = None,
) -> Response:
    """Trials by number, oldest first, or by value, best first."""
    plain = state is None and order is None and cursor is None and limit is None
    with here.store.read() as tx:
        experiment = tx.experiment(experiment_id)
        if plain:
            page = tx.trials(experiment, limit=MAX_LIMIT, newest_first=True)
        else:
            page = tx.trials(experiment, state, order or "number", cursor, limit or PAGE)
    found = [TrialAnswer.of(experiment, trial) for trial in page.items]
    return (
        answers(found)
        if plain
        else answer(TrialPage.model_construct(trials=tuple(found), next_cursor=page.next_cursor))
    )


@router.get("/trials/{number}", summary="Read a trial", response_model=TrialDetail)
def get_trial(here: Here, experiment_id: ExperimentId, number: TrialNumber) -> Response:
    """One trial with its intermediate values."""
    with here.store.read() as tx:
        experiment = tx.experiment(experiment_id)
        trial = tx.trial(experiment_id, number)
        measurements = tx.measurements(experiment_id, number)
    return answer(TrialDetail.measured(experiment, trial, measurements))


@router.get(
    "/best",
    summary="Read the best trial",
    response_model=TrialAnswer | list[TrialAnswer],
    response_description="The best trial; with several objectives, the array of the Pareto set.",
)
def get_best(here: Here, experiment_id: ExperimentId) -> Response:
    """The best trial that keeps every constraint. 404 while there is none."""
    with here.store.read() as tx:
        experiment = tx.experiment(experiment_id)
        best = best_answer(experiment, tx.best_trials(experiment))
    if best is None:
        raise TrialNotFound(
            f"Experiment {experiment_id} has no complete trial yet that keeps its constraints",
            experiment_id=experiment_id,
        )
    return answers(list(best)) if isinstance(best, tuple) else answer(best)


@router.get("/job", summary="Read the present job", tags=["jobs"], response_model=JobEnvelope)
def get_active_job(here: Here, experiment_id: ExperimentId) -> Response:
    """The queued or running job. 404 with `status: "missing"` and `job: {}` when there is none."""
    with here.store.read() as tx:
        job = service.active_job(tx, experiment_id)
        tool_name = tx.experiment(experiment_id).spec.tool_name
    return answer(JobEnvelope(status="success", job=JobAnswer.of(job, tool_name)))


@router.post(
    "/stop",
    summary="Stop the present job",
    tags=["jobs"],
    status_code=202,
    response_model=JobEnvelope,
    responses=refusals(409),
)
def stop_experiment(here: Here, once: Bodiless, experiment_id: ExperimentId) -> Response:
    """Finished trials stay; running ones are killed with everything that they started."""

    def stop() -> Response:
        job = service.cancel(tx, service.active_job(tx, experiment_id).id)
        tool_name = tx.experiment(experiment_id).spec.tool_name
        return answer(JobEnvelope(status="success", job=JobAnswer.of(job, tool_name)), 202)

    with here.store.write() as tx:
        response = perform(tx, once, stop)
    here.wake()
    return response
