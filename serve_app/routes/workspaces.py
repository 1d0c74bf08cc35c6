"""Workspaces: made by the platform's admins; their own admins say who may do what in them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from serve_app.answers import answer
from serve_app.auth import principal
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.strict import surface
from tunesmith.domain import Quotas, Workspace
from tunesmith.schemas.people import (
    GrantAnswer,
    GrantRequest,
    GrantsAnswer,
    ModelGrantRequest,
    ModelGrantsAnswer,
    QuotasRequest,
    WorkspaceAnswer,
    WorkspaceChange,
    WorkspaceRequest,
    WorkspacesAnswer,
)
from tunesmith.services import grants
from tunesmith.services.principals import no_workspace

router = surface("/v1/auth/workspaces", ["identity"])
WorkspaceName = Annotated[
    str, Path(min_length=1, max_length=100, description="The workspace's `name`.", examples=["main"])
]
Subject = Annotated[
    str,
    Path(min_length=6, max_length=106, description="`user:<name>` or `group:<name>`.", examples=["group:analysts"]),
]
ModelId = Annotated[str, Path(min_length=1, max_length=200, description="The model's `id`.", examples=["linear_reg"])]


@router.get("", summary="List workspaces", response_model=WorkspacesAnswer)
def list_workspaces(here: Here, request: Request) -> Response:
    """Those that you have a role in; for the platform's admins all."""
    me = principal(request)
    with here.store.read() as tx:
        mine = tx.roles(me.subjects)
        found = [each for each in tx.workspaces() if me.platform_admin or each.name in mine]
    return answer(WorkspacesAnswer.model_construct(workspaces=tuple(map(_shown, found))))


@router.post(
    "", summary="Make a workspace", status_code=201, response_model=WorkspaceAnswer, responses=refusals(409, 413)
)
def create_workspace(
    here: Here, request: Request, body: Annotated[WorkspaceRequest, FromJson()], key: Key = None
) -> Response:
    """An empty one; you are an admin of it."""

    def make() -> Response:
        return answer(
            _shown(grants.add_workspace(tx, body.name, _quotas(body.quotas), principal(request).user_id)), 201
        )

    with here.store.write() as tx:
        return perform(tx, Once.of(request, key, body), make)


@router.patch(
    "/{workspace}", summary="Change a workspace", response_model=WorkspaceAnswer, responses=refusals(404, 413)
)
def change_workspace(here: Here, workspace: WorkspaceName, body: Annotated[WorkspaceChange, FromJson()]) -> Response:
    """How much may be in it. What is there already stays."""
    with here.store.write() as tx:
        return answer(_shown(grants.set_quotas(tx, workspace, _quotas(body.quotas))))


@router.get("/{workspace}/grants", summary="List roles", response_model=GrantsAnswer, responses=refusals(404))
def list_grants(here: Here, request: Request, workspace: WorkspaceName) -> Response:
    """Who has which role in a workspace."""
    _check_governs(request, workspace)
    with here.store.read() as tx:
        found = tx.grants(tx.workspace_called(workspace).id)
    return answer(GrantsAnswer(grants=tuple(GrantAnswer(**each.model_dump()) for each in found)))


@router.put(
    "/{workspace}/grants/{subject}",
    summary="Give a role",
    response_model=GrantAnswer,
    responses=refusals(404, 409, 413),
)
def put_grant(
    here: Here,
    request: Request,
    workspace: WorkspaceName,
    subject: Subject,
    body: Annotated[GrantRequest, FromJson()],
) -> Response:
    """To a user or a group, instead of the one before; it holds within 5 seconds."""
    _check_governs(request, workspace)
    with here.store.write() as tx, grants.keeping_an_admin(tx):
        return answer(GrantAnswer(**grants.grant(tx, workspace, subject, body.role).model_dump()))


@router.delete("/{workspace}/grants/{subject}", summary="Take a role", status_code=204, responses=refusals(404, 409))
def delete_grant(here: Here, request: Request, workspace: WorkspaceName, subject: Subject) -> Response:
    """It is lost within 5 seconds."""
    _check_governs(request, workspace)
    with here.store.write() as tx, grants.keeping_an_admin(tx):
        grants.revoke(tx, workspace, subject)
    return Response(status_code=204)


@router.get(
    "/{workspace}/models", summary="List who may run models", response_model=ModelGrantsAnswer, responses=refusals(404)
)
def list_model_grants(here: Here, request: Request, workspace: WorkspaceName) -> Response:
    """Of the models that not everybody may run."""
    _check_governs(request, workspace)
    with here.store.read() as tx:
        found = tx.model_grants(tx.workspace_called(workspace).id)
    return answer(ModelGrantsAnswer(models={model: tuple(subjects) for model, subjects in found.items()}))


@router.put(
    "/{workspace}/models/{model_id}",
    summary="Say who may run a model",
    response_model=ModelGrantsAnswer,
    responses=refusals(404, 413),
)
def put_model_grants(
    here: Here,
    request: Request,
    workspace: WorkspaceName,
    model_id: ModelId,
    body: Annotated[ModelGrantRequest, FromJson()],
) -> Response:
    """Besides admins; nobody: everybody whose role lets run models. It holds within 5 seconds."""
    _check_governs(request, workspace)
    if body.subjects:
        here.registry.model(model_id)
    with here.store.write() as tx:
        allowed = grants.allow_model(tx, workspace, model_id, body.subjects)
    return answer(ModelGrantsAnswer(models={model_id: tuple(allowed)}))


def _check_governs(request: Request, workspace: str) -> None:
    """Raise WorkspaceNotFound unless it is the one that the request is about, or a platform's admin asks."""
    me = principal(request)
    if workspace != me.workspace and not me.platform_admin:
        raise no_workspace(workspace)


def _quotas(given: QuotasRequest) -> Quotas:
    return Quotas(**given.model_dump())


def _shown(workspace: Workspace) -> WorkspaceAnswer:
    return WorkspaceAnswer(**workspace.model_dump())
