"""AutoML: configurations, trainings, trained models, their files and predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response

from serve_app.answers import answer
from serve_app.auth import who
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.idempotency import Bodiless, Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.parameters import Cursor, Limit
from serve_app.streams import streamed
from serve_app.strict import WORKERS, surface
from tuners.automl import artifacts
from tuners.samplers import plan
from tunesmith.automl.template import ARCHITECTURE
from tunesmith.domain import Experiment, Search, TrainedModel, TrainerTool
from tunesmith.errors import BadRequest, NoResults
from tunesmith.schemas.automl import (
    ConfigAnswer,
    ConfigNames,
    Leaderboard,
    LeaderboardRow,
    ModelDetail,
    ModelPage,
    ModelSummary,
    ModelWord,
    PredictAnswer,
    PredictRequest,
    TrainAnswer,
    TrainRequest,
    model_states,
)
from tunesmith.schemas.words import MODEL_WORDS
from tunesmith.services import automl as service
from tunesmith.services.optimizing import Planned
from tunesmith.storage import trial_key

router = surface("/v1", ["automl"])
PAGE = 50
FRESH = {"Cache-Control": "no-store"}
FILE: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "PK..."},
}
ModelId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="`model_id`, or `job_id`.",
        examples=["5d0c1a9e-7f42-4b1e-9a37-2f1b6c8d0e4f"],
    ),
]
ConfigName = Annotated[
    str, Path(min_length=1, max_length=200, description="The template's name.", examples=["classification"])
]


@router.get("/configs", summary="List configuration templates", response_model=ConfigNames, responses=refusals(401))
def list_configs(here: Here) -> Response:
    """The templates that models can be trained from: those that ship with the platform, and those of plugins."""
    return answer(ConfigNames(configs=tuple(sorted(here.registry.templates))))


@router.get("/configs/{name}", summary="Read a template", response_model=ConfigAnswer, responses=refusals(401, 404))
def get_config(here: Here, name: ConfigName) -> Response:
    """A complete configuration that runs as it is, what each of its keys means, and what a search varies."""
    return answer(ConfigAnswer.of(here.registry.template(name).item))


@router.post(
    "/train",
    summary="Train a model",
    status_code=202,
    response_model=TrainAnswer,
    response_description="Queued.",
    responses=refusals(401, 409, 413),
)
def train_model(here: Here, request: Request, body: Annotated[TrainRequest, FromJson()], key: Key = None) -> Response:
    """It is trained in the background: `GET /v1/models/{model_id}` says how far it is.

    With `hyperparameter_search` it is an experiment of many trials, and the best one becomes the model.
    """
    once = Once.of(request, key, body)

    def planned(experiment: Experiment, search: Search) -> Planned:
        cpus = experiment.spec.resources.cpus
        found = plan(experiment, search, here.settings.max_grid_points, here.platform.slots(cpus))
        return found.search, found.total, found.note

    def work() -> Response:
        root, artifacts = here.settings.training_root, here.settings.artifacts
        model = service.train(tx, here.registry, body.template, body.given, root, artifacts, planned, who(request))
        return answer(TrainAnswer(job_id=model.job_id, model_id=model.id, status="initializing", metrics={}), 202)

    with here.store.write() as tx:
        response = perform(tx, once, work)
    here.wake()
    return response


@router.get(
    "/models",
    summary="List trained models",
    response_model=ModelPage,
    response_description="Newest first.",
    responses=refusals(401),
)
def list_trained_models(
    here: Here,
    status: Annotated[ModelWord | None, Query(description="Only those of this `status`.")] = None,
    template: Annotated[str | None, Query(max_length=200, description="Only those of this template.")] = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Response:
    """A page of models, those that are being trained among them."""
    with here.store.read() as tx:
        page = tx.trained_models(model_states(status), template, cursor, limit or PAGE)
    models = tuple(map(ModelSummary.of, page.items))
    return answer(ModelPage.model_construct(models=models, next_cursor=page.next_cursor))


@router.get("/models/{id}", summary="Read a trained model", response_model=ModelDetail, responses=refusals(401, 404))
def get_trained_model(here: Here, id: ModelId) -> Response:  # noqa: A002  (the path's name)
    """A model: where its training stands, its metrics, and those of every epoch."""
    with here.store.read() as tx:
        model = tx.trained_model(id)
        number = model.trial_number
        measured = [] if number is None else tx.measurements(model.experiment_id, number)
    return answer(ModelDetail.detailed(model, measured), headers=FRESH)


@router.get(
    "/models/{id}/leaderboard",
    summary="Compare the trials of a search",
    response_model=Leaderboard,
    responses=refusals(401, 404),
)
def get_leaderboard(here: Here, id: ModelId, limit: Limit = PAGE) -> Response:  # noqa: A002
    """The best trials of a training with `hyperparameter_search`, the best first."""
    with here.store.read() as tx:
        model = tx.trained_model(id)
        if not model.searched:
            message = "The model was trained without a search; set hyperparameter_search.enabled to compare trials"
            raise BadRequest(message, id=id)
        experiment = tx.experiment(model.experiment_id)
        found = tx.trials(experiment, order="value", limit=limit or PAGE).items
    objective, config = experiment.spec.objectives[0], model.config.get("model")
    own = config.get(ARCHITECTURE) if isinstance(config, Mapping) else None
    family = own if isinstance(own, str) else None
    rows = tuple(LeaderboardRow.of(rank, trial, family) for rank, trial in enumerate(found, 1))
    return answer(Leaderboard.model_construct(metric=objective.metric, direction=objective.direction, trials=rows))


@router.get(
    "/models/{id}/artifact",
    summary="Download a trained model",
    response_description="The model's file; its SHA-256 is the `ETag` and `X-Content-SHA256`.",
    responses={200: {"content": FILE}, **refusals(401, 404, 409)},
    response_class=Response,
)
def get_artifact(
    here: Here,
    id: ModelId,  # noqa: A002
    part: Annotated[
        Literal["model", "facts"],
        Query(description="`facts`: what is kept beside it: SHA-256, configuration, library versions, metrics."),
    ] = "model",
) -> Response:
    """The model's file, or what is known of it. 409 until it is trained."""
    prefix, _plugin = _trained(here, id)
    facts = artifacts.read_facts(here.storage, prefix)
    if part == "facts":
        return answer(facts)
    name = f"{id}.{facts.file.partition('.')[2]}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(facts.bytes),
        "ETag": f'"{facts.sha256}"',
        "X-Content-SHA256": facts.sha256,
    }
    return streamed(artifacts.read_model(here.storage, prefix, facts), "application/octet-stream", headers)


@router.post(
    "/models/{id}/predict",
    summary="Predict with a trained model",
    response_model=PredictAnswer,
    responses=refusals(401, 404, 409, 413),
)
async def predict(
    here: Here,
    id: ModelId,  # noqa: A002
    body: Annotated[PredictRequest, FromJson()],
) -> Response:
    """What the model says of rows. 409 until it is trained; a row that it cannot take is named."""
    # Not a `def` endpoint: those that wait for a model's process would keep the threads of all others.
    prefix, plugin = await asyncio.get_running_loop().run_in_executor(WORKERS, _trained, here, id)
    found = await here.platform.predict(prefix, plugin, list(body.rows))
    probabilities = None if found.probabilities is None else tuple(found.probabilities)
    return answer(PredictAnswer.model_construct(predictions=tuple(found.values), probabilities=probabilities))


@router.post(
    "/models/{id}/stop",
    summary="Stop a training",
    status_code=202,
    response_model=ModelSummary,
    responses=refusals(401, 404, 409),
)
def stop_training(here: Here, once: Bodiless, id: ModelId) -> Response:  # noqa: A002
    """What trains is ended. Of a search the best trial so far stays the model."""
    with here.store.write() as tx:
        response = perform(tx, once, lambda: answer(ModelSummary.of(service.stop(tx, id)), 202))
    here.wake()
    return response


@router.delete("/models/{id}", summary="Delete a trained model", status_code=204, responses=refusals(401, 404, 409))
def delete_trained_model(here: Here, id: ModelId) -> Response:  # noqa: A002
    """The model, its training with all trials, and their files. 409 while it is trained."""
    with here.store.write() as tx:
        service.delete(tx, id)
    return Response(status_code=204)


def _trained(here: Context, model_id: str) -> tuple[str, str]:
    """Where a model lies, and where its template is found. Raises ModelNotFound, NoResults."""
    with here.store.read() as tx:
        model = tx.trained_model(model_id)
        if not model.trained:
            raise _not_trained(model)
        tool = tx.experiment(model.experiment_id).spec.tool
    assert isinstance(tool, TrainerTool)
    return trial_key(model.experiment_id, model.trial_number or 0), tool.plugin


def _not_trained(model: TrainedModel) -> NoResults:
    word = MODEL_WORDS[model.state]
    why = f": {model.error}" if model.error else ""
    remedy = "there is no model" if model.state.ended else "wait until it is completed"
    return NoResults(f"The training is {word}{why}; {remedy}", status=word, progress=model.progress)
