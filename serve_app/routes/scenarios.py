"""Scenarios: made, run, watched, compared; and searches over the parameters of an algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import PlainTextResponse

from serve_app import events, logs
from serve_app.answers import answer, answers
from serve_app.auth import who
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.following import Followed
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import ScenarioId, SessionId
from serve_app.scenario_answers import all_with_results, shown, with_result
from serve_app.streams import streamed
from serve_app.strict import surface
from tuners.samplers import check_feasible, plan
from tunesmith.domain import Comparison, Experiment, Scenario, Search, Session, Space
from tunesmith.schemas.jobs import JobAnswer, JobEnvelope
from tunesmith.schemas.scenarios import (
    CompareRequest,
    FromTrialRequest,
    OptimizeRequest,
    ScenarioAnswer,
    ScenarioRequest,
    ScenarioStatus,
)
from tunesmith.services import scenarios as service
from tunesmith.services.comparing import compare
from tunesmith.services.jobs import check_cost
from tunesmith.services.optimizing import Optimization, optimize
from tunesmith.store import Tx

router = surface("/api/v1/sessions/{session_id}", ["scenarios"], refuses=(404,))
Summary = Annotated[bool, Query(description="Leave out what the algorithm returned.")]


@router.get("/scenarios", summary="List scenarios", response_model=list[ScenarioAnswer])
def list_scenarios(here: Here, session_id: SessionId, summary: Summary = False) -> Response:
    """All scenarios of the session, oldest first, with their results."""
    with here.store.read() as tx:
        found = tx.scenarios(tx.session(session_id).id)
    if summary:
        return answers([shown(here.registry, scenario) for scenario in found])
    return streamed(all_with_results(here, found), "application/json")


@router.post(
    "/scenarios",
    summary="Make a scenario",
    status_code=201,
    response_model=ScenarioAnswer,
    response_description="Made.",
    responses=refusals(409, 413, 422),
)
def create_scenario(
    here: Here,
    request: Request,
    session_id: SessionId,
    body: Annotated[ScenarioRequest, FromJson()],
    key: Key = None,
) -> Response:
    """An algorithm with its parameters on a dataset; it waits to be run."""

    def work(tx: Tx) -> Response:
        session, given = tx.session(session_id), (body.algo_params or {}, body.data_params or {})
        made = service.create(tx, here.registry, session, body.tag, body.dataset_key, body.algo_name, *given)
        return answer(shown(here.registry, made), 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.post(
    "/scenarios/from-trial",
    summary="Make a scenario from a trial",
    status_code=201,
    response_model=ScenarioAnswer,
    response_description="Made.",
    responses=refusals(409, 413, 422),
)
def create_scenario_from_trial(
    here: Here,
    request: Request,
    session_id: SessionId,
    body: Annotated[FromTrialRequest, FromJson()],
    key: Key = None,
) -> Response:
    """A scenario with the parameters of the best trial of an optimization of this session, or of any other trial."""

    def work(tx: Tx) -> Response:
        session = tx.session(session_id)
        made = service.from_trial(tx, here.registry, session, int(body.experiment_id), body.number, body.tag)
        return answer(shown(here.registry, made), 201)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.post(
    "/scenarios/compare",
    summary="Compare scenarios",
    response_model=Comparison,
    response_description="One row per KPI.",
    responses=refusals(413, 422),
)
def compare_scenarios(here: Here, session_id: SessionId, body: Annotated[CompareRequest, FromJson()]) -> Response:
    """What their KPIs reached, side by side, and which of them did best in each."""
    with here.store.read() as tx:
        return answer(compare(tx, here.registry, tx.session(session_id), body.ids))


@router.get("/scenarios/{scenario_id}", summary="Read a scenario", response_model=ScenarioAnswer)
def get_scenario(here: Here, session_id: SessionId, scenario_id: ScenarioId, summary: Summary = False) -> Response:
    """A scenario with its KPIs and its result."""
    with here.store.read() as tx:
        found = tx.scenario(tx.session(session_id).id, scenario_id)
    if summary:
        return answer(shown(here.registry, found))
    return streamed(with_result(here, found), "application/json")


@router.delete(
    "/scenarios/{scenario_id}",
    summary="Delete a scenario",
    status_code=204,
    response_class=Response,
    responses=refusals(409),
)
def delete_scenario(here: Here, session_id: SessionId, scenario_id: ScenarioId) -> Response:
    """With its result and its log. 409 while it runs."""
    with here.store.write() as tx:
        service.delete(tx, tx.session(session_id), scenario_id)
    here.wake()
    return Response(status_code=204)


@router.post(
    "/scenarios/{scenario_id}/run",
    summary="Run a scenario",
    status_code=202,
    response_model=ScenarioAnswer,
    response_description="Queued.",
    responses=refusals(409),
)
def run_scenario(
    here: Here, request: Request, once: Bodiless, session_id: SessionId, scenario_id: ScenarioId
) -> Response:
    """It begins when its session lets it. 409 unless it is `created`; reset it to run it again."""
    asker = who(request)
    return _steer(
        here, once, session_id, 202, lambda tx, session: service.run(tx, here.registry, session, scenario_id, asker)
    )


@router.post(
    "/scenarios/{scenario_id}/reset",
    summary="Reset a scenario",
    response_model=ScenarioAnswer,
    responses=refusals(409),
)
def reset_scenario(here: Here, once: Bodiless, session_id: SessionId, scenario_id: ScenarioId) -> Response:
    """Forget its run, so that it can be run again. 409 unless that has ended."""
    return _steer(here, once, session_id, 200, lambda tx, session: service.reset(tx, session, scenario_id))


@router.post(
    "/scenarios/{scenario_id}/cancel",
    summary="Cancel a scenario",
    response_model=ScenarioAnswer,
    responses=refusals(409),
)
def cancel_scenario(here: Here, once: Bodiless, session_id: SessionId, scenario_id: ScenarioId) -> Response:
    """Stop its run, with everything that it started: it has failed then. 409 unless it is queued or runs."""
    return _steer(here, once, session_id, 200, lambda tx, session: service.cancel(tx, session, scenario_id))


@router.get("/scenarios/{scenario_id}/status", summary="Read a scenario's status", response_model=ScenarioStatus)
def get_scenario_status(here: Here, session_id: SessionId, scenario_id: ScenarioId) -> Response:
    """Where it stands, and no more: for polling."""
    with here.store.read() as tx:
        return answer(ScenarioStatus.of(tx.scenario_status(session_id, scenario_id)))


@router.get("/scenarios/{scenario_id}/log", summary="Read or follow a scenario's log", response_class=PlainTextResponse)
def stream_scenario_log(
    here: Here,
    session_id: SessionId,
    scenario_id: ScenarioId,
    follow: Annotated[bool, Query(description="Go on until its run has ended.")] = False,
) -> Response:
    """What the algorithm printed, and, when it failed, the traceback. Empty before the run."""
    with here.store.read() as tx:
        found = tx.scenario(tx.session(session_id).id, scenario_id)
        ids = (found.experiment_id, found.trial_number)
        trial = None if ids[0] is None or ids[1] is None else tx.trial(ids[0], ids[1])
    if trial is None:
        return PlainTextResponse("")
    logs.check_readable(here.storage, trial)
    return Followed(logs.trial_log(here, trial, follow), headers=events.HEADERS, media_type="text/plain")


@router.get("/processing", summary="Read the running scenario", response_model=ScenarioAnswer | None)
def get_processing(here: Here, session_id: SessionId) -> Response:
    """The scenario that runs, the one that began first when several do; or `null`."""
    with here.store.read() as tx:
        found = tx.processing(tx.session(session_id).id)
    return Response("null", media_type="application/json") if found is None else answer(shown(here.registry, found))


@router.post(
    "/optimize",
    summary="Optimize an algorithm's parameters",
    status_code=202,
    response_model=JobEnvelope,
    response_description="Queued.",
    responses=refusals(409, 413, 422),
)
def optimize_algorithm(
    here: Here,
    request: Request,
    session_id: SessionId,
    body: Annotated[OptimizeRequest, FromJson()],
    key: Key = None,
) -> Response:
    """A search for the parameters with the best KPIs, as a job of an experiment: its `experiment_id` is in `job_meta`.

    `GET /api/v1/experiments/{experiment_id}` and `/api/v1/jobs/{job_id}` follow it, `scenarios/from-trial` makes a
    scenario of its best trial. The same request again goes on where the last one ended.
    """
    search = body.optimizer.search()
    check_feasible(Space(parameters=body.parameters, constraints=body.parameter_constraints))
    check_cost(search, here.settings.prices)
    slots = here.platform.slots(1) if search.type == "auto" else None
    warnings: list[str] = []

    def planned(experiment: Experiment) -> tuple[Search, int | None, str | None]:
        found = plan(experiment, search, here.settings.max_grid_points, slots)
        warnings.extend(found.warnings)
        return found.search, found.total, found.note

    def work(tx: Tx) -> Response:
        asked = _optimization(body, who(request))
        experiment, job = optimize(tx, here.registry, tx.session(session_id), asked, planned)
        envelope = JobEnvelope(
            status="submitted", job=JobAnswer.of(job, experiment.spec.tool_name), warnings=tuple(warnings)
        )
        return answer(envelope, 202)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        response = perform(tx, once, lambda: work(tx))
    here.wake()
    return response


def _optimization(body: OptimizeRequest, submitted_by: str) -> Optimization:
    return Optimization(
        algo_name=body.algo_name,
        dataset_key=body.dataset_key,
        parameters=body.parameters,
        objectives=[(objective.kpi, objective.direction) for objective in body.objectives],
        constraints=body.parameter_constraints,
        algo_params=body.algo_params or {},
        data_params=body.data_params or {},
        priority=body.rank,
        submitted_by=submitted_by,
    )


def _steer(
    here: Context, once: Once | None, session_id: str, status: int, act: Callable[[Tx, Session], Scenario]
) -> Response:
    steered: list[Scenario] = []

    def work(tx: Tx) -> Response:
        steered.append(act(tx, tx.session(session_id)))
        return answer(shown(here.registry, steered[0]), status)

    with here.store.write() as tx:
        response = perform(tx, once, lambda: work(tx))
    if not all(scenario.waits for scenario in steered):  # what waits is taken up by whoever ends the run before it
        here.wake()
    return response
