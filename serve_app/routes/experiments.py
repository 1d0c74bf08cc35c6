"""Experiments: made or found by content, listed, read, and changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import Cursor, ExperimentId, Limit
from serve_app.strict import surface
from tuners.samplers import check_feasible
from tunesmith.schemas.experiments import ExperimentAnswer, ExperimentDetail, ExperimentPage
from tunesmith.schemas.requests import ExperimentPatch, ExperimentRequest
from tunesmith.services import experiments as service
from tunesmith.services.templates import slips
from tunesmith.store import Tx

router = surface("/api/v1", ["experiments"])
PAGE = 50


@router.post(
    "/experiments",
    summary="Get or create an experiment",
    status_code=201,
    response_model=ExperimentAnswer,
    response_description="Created.",
    responses={200: {"model": ExperimentAnswer, "description": "It exists already."}, **refusals(409, 413)},
)
def create_experiment(
    here: Here, request: Request, body: Annotated[ExperimentRequest, FromJson()], key: Key = None
) -> Response:
    """An experiment is found by its content: the same body gives the same experiment, whoever posts it and when.

    `warnings` name what looks like a slip, for instance a `${name}` that is nearly a parameter's name.
    """
    spec = body.spec()
    check_feasible(spec.space)
    warnings = slips(spec)

    def work(tx: Tx) -> Response:
        experiment, new = service.get_or_create(tx, spec)
        return answer(ExperimentAnswer.of(experiment, warnings), 201 if new else 200)

    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: work(tx))


@router.get(
    "/experiments", summary="List experiments", response_model=ExperimentPage, response_description="Newest first."
)
def list_experiments(
    here: Here,
    cursor: Cursor = None,
    limit: Limit = PAGE,
    q: Annotated[str | None, Query(max_length=200, description="A part of the name, in any letter case.")] = None,
    archived: Annotated[bool, Query(description="Whether archived ones are listed too.")] = False,
) -> Response:
    """A page of experiments."""
    with here.store.read() as tx:
        page = tx.experiments(cursor, limit or PAGE, q, archived)
    found = tuple(ExperimentAnswer.of(experiment, slips(experiment.spec)) for experiment in page.items)
    return answer(ExperimentPage.model_construct(experiments=found, next_cursor=page.next_cursor))


@router.get(
    "/experiments/{experiment_id}",
    summary="Read an experiment",
    response_model=ExperimentDetail,
    responses=refusals(404),
)
def get_experiment(here: Here, experiment_id: ExperimentId) -> Response:
    """The experiment with its queued or running job (else `{}`), its best trial or Pareto set, and its trial counts."""
    with here.store.read() as tx:
        found = service.overview(tx, experiment_id)
    warnings = slips(found.experiment.spec)
    return answer(ExperimentDetail.with_job(found.experiment, found.job, found.best, warnings))


@router.patch(
    "/experiments/{experiment_id}",
    summary="Change an experiment",
    response_model=ExperimentAnswer,
    responses=refusals(404, 413),
)
def change_experiment(
    here: Here, experiment_id: ExperimentId, body: Annotated[ExperimentPatch, FromJson()]
) -> Response:
    """Rename, tag, archive or restore it, or give later jobs a wider or narrower space. Fields left out stay."""
    if body.parameters is not None or body.parameter_constraints is not None:
        with here.store.read() as tx:
            old = tx.experiment(experiment_id).spec.space
        # Not inside the transaction that writes: looking for a point can take a second.
        check_feasible(service.changed_space(old, body.parameters, body.parameter_constraints))
    with here.store.write() as tx:
        changed = service.change(
            tx, experiment_id, body.name, body.tags, body.archived, body.parameters, body.parameter_constraints
        )
    return answer(ExperimentAnswer.of(changed, slips(changed.spec)))
