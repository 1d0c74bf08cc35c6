"""Training jobs: made, checked, listed, changed, deleted, steered, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Context, Here, log
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import TrainingId
from serve_app.strict import surface
from serve_app.training_requests import present_fields, settle
from tunesmith.domain import Cron, TrainingJob, TrainingStatus, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.schemas.training_answers import (
    StatsAnswer,
    TrainingAnswer,
    TrainingChecked,
    TrainingPage,
)
from tunesmith.schemas.training_jobs import TrainingPatch, TrainingRequest, changed
from tunesmith.services import trainings as service
from tunesmith.services.notifications import check_rules
from tunesmith.storage import experiment_key
from tunesmith.store import Tx
from tunesmith.store.trainings import Order

router = surface(tags=["training jobs"])
PAGE = 50
NEXT_RUNS = 5
Sort = Literal["created_at", "-created_at", "name", "-name", "next_run_at", "-next_run_at", "updated_at", "-updated_at"]


class _Enough(Exception):
    """Undoes a transaction."""


@router.post(
    "/jobs",
    summary="Make a training job",
    status_code=201,
    response_model=TrainingAnswer,
    response_description="Made.",
    responses=refusals(409, 413),
)
def create_training(
    here: Here, request: Request, body: Annotated[TrainingRequest, FromJson()], key: Key = None
) -> Response:
    """Without a schedule it fires at once, or, when it depends on others, as soon as these have completed."""
    check_rules(here.settings, body.notify)
    wanted = settle(here, body.fields)
    once = Once.of(request, key, body)
    with here.store.write() as tx:
        response = perform(tx, once, lambda: answer(_shown(tx, wanted.create(tx)), 201))
    here.wake()
    return response


@router.post(
    "/jobs/validate",
    summary="Check a training job",
    response_model=TrainingChecked,
    response_description="It could be made.",
    responses=refusals(409, 413),
)
def check_training(here: Here, body: Annotated[TrainingRequest, FromJson()]) -> Response:
    """Refuses what making it would refuse, with the same words; nothing is made."""
    check_rules(here.settings, body.notify)
    wanted = settle(here, body.fields)
    with suppress(_Enough), here.store.write() as tx:
        wanted.create(tx)
        raise _Enough
    cron = None if body.schedule is None else Cron(body.schedule, body.timezone)
    return answer(
        TrainingChecked(
            valid=True,
            schedule=None if cron is None else cron.words,
            next_runs=() if cron is None else tuple(_next_runs(cron)),
            warnings=wanted.warnings,
        )
    )


@router.get("/jobs", summary="List training jobs", response_model=TrainingPage, response_description="Newest first.")
def list_trainings(
    here: Here,
    status_filter: Annotated[TrainingStatus | None, Query(description="Only jobs of this `status`.")] = None,
    page: Annotated[int, Query(ge=1, le=2**31 - 1, description="1, 2, 3, ...")] = 1,
    page_size: Annotated[int, Query(ge=1, le=100, description="Jobs of the page, at most 100.")] = PAGE,
    sort: Annotated[Sort, Query(description="With `-`: downwards.")] = "-created_at",
    q: Annotated[str | None, Query(max_length=200, description="A part of the name, in any letter case.")] = None,
) -> Response:
    """A page of training jobs."""
    column: Order = sort.removeprefix("-")  # type: ignore[assignment]
    with here.store.read() as tx:
        found, total = tx.trainings(
            status_filter, q, column, sort.startswith("-"), offset=(page - 1) * page_size, limit=page_size
        )
        jobs = _all_shown(tx, found)
    return answer(TrainingPage.model_construct(jobs=tuple(jobs), total=total, page=page, page_size=page_size))


@router.get("/jobs/{job_id}", summary="Read a training job", response_model=TrainingAnswer, responses=refusals(404))
def get_training(here: Here, job_id: TrainingId) -> Response:
    """A training job, and where its latest execution stands."""
    with here.store.read() as tx:
        return answer(_shown(tx, tx.training(job_id)))


@router.put(
    "/jobs/{job_id}",
    summary="Change a training job",
    response_model=TrainingAnswer,
    responses=refusals(404, 409, 413),
)
def change_training(here: Here, job_id: TrainingId, body: Annotated[TrainingPatch, FromJson()]) -> Response:
    """Fields that are left out stay. What fired before stays as it was; while it runs, nothing may change."""
    while True:
        with here.store.read() as tx:
            before = present_fields(tx, tx.training(job_id))
        after = changed(before, body.given)
        if "notify" in body.model_fields_set:
            check_rules(here.settings, after["notify"])
        wanted = settle(here, after)
        with here.store.write() as tx:
            tx.hold_dependencies()
            training = tx.lock_training(job_id)
            if present_fields(tx, training) != before:  # somebody else changed it meanwhile
                continue
            response = answer(_shown(tx, wanted.change(tx, training)))
        here.wake()
        return response


@router.delete(
    "/jobs/{job_id}",
    summary="Delete a training job",
    status_code=204,
    response_class=Response,
    responses=refusals(404, 409),
)
def delete_training(here: Here, job_id: TrainingId) -> Response:
    """With its executions, their logs, and the checkpoints that the platform kept for them."""
    with here.store.write() as tx:
        training = tx.training(job_id)
        service.delete(tx, training)
    here.wake()
    try:
        here.storage.remove_all(experiment_key(training.experiment_id))
    except StorageUnavailable as error:
        log.warning("the logs of %s, which was deleted, are removed later: %s", job_id, error)
    return Response(status_code=204)


@router.post(
    "/jobs/{job_id}/retry",
    summary="Retry a training job",
    response_model=TrainingAnswer,
    responses=refusals(404, 409),
)
def retry_training(here: Here, once: Bodiless, job_id: TrainingId) -> Response:
    """A failed or cancelled execution goes on from its checkpoint, with all its retries; a completed job runs anew."""
    return _steer(here, once, job_id, service.retry)


@router.post(
    "/jobs/{job_id}/run", summary="Run a training job now", response_model=TrainingAnswer, responses=refusals(404, 409)
)
def run_training(here: Here, once: Bodiless, job_id: TrainingId) -> Response:
    """Whatever the schedule says; a retry that waits begins at once."""
    return _steer(here, once, job_id, service.run)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a training job",
    response_model=TrainingAnswer,
    responses=refusals(404, 409),
)
def cancel_training(here: Here, once: Bodiless, job_id: TrainingId) -> Response:
    """Its execution is stopped, with everything that it started; the schedule stays."""
    return _steer(here, once, job_id, service.cancel)


@router.post(
    "/jobs/{job_id}/pause", summary="Pause a training job", response_model=TrainingAnswer, responses=refusals(404, 409)
)
def pause_training(here: Here, once: Bodiless, job_id: TrainingId) -> Response:
    """It keeps its schedule but does not fire; an attempt that runs ends by itself."""
    return _steer(here, once, job_id, service.pause)


@router.post(
    "/jobs/{job_id}/resume",
    summary="Resume a training job",
    response_model=TrainingAnswer,
    responses=refusals(404, 409),
)
def resume_training(here: Here, once: Bodiless, job_id: TrainingId) -> Response:
    """A paused job fires again, from the next instant of its schedule on."""
    return _steer(here, once, job_id, service.resume)


@router.get("/stats", summary="Count training jobs", response_model=StatsAnswer)
def get_stats(here: Here) -> Response:
    """How many training jobs there are in each status."""
    with here.store.read() as tx:
        return answer(StatsAnswer.of(tx.training_counts()))


def _steer(here: Context, once: Once | None, job_id: str, act: Callable[[Tx, TrainingJob], TrainingJob]) -> Response:
    with here.store.write() as tx:
        response = perform(tx, once, lambda: answer(_shown(tx, act(tx, tx.training(job_id)))))
    here.wake()
    return response


def _shown(tx: Tx, training: TrainingJob) -> TrainingAnswer:
    return _all_shown(tx, [training])[0]


def _all_shown(tx: Tx, found: Sequence[TrainingJob]) -> list[TrainingAnswer]:
    depends_on = tx.dependencies([training.id for training in found])
    experiments = tx.experiments_by_id([training.experiment_id for training in found])
    return [
        TrainingAnswer.of(
            training,
            experiments[training.experiment_id],
            depends_on[training.id],
            tx.waits_for(training.id) if depends_on[training.id] and _never_fired(training) else (),
        )
        for training in found
    ]


def _never_fired(training: TrainingJob) -> bool:
    return training.shown is TrainingStatus.PENDING and training.latest_run == 0


def _next_runs(cron: Cron) -> list[datetime]:
    moments = [cron.after(utcnow())]
    while len(moments) < NEXT_RUNS:
        moments.append(cron.after(moments[-1]))
    return moments
