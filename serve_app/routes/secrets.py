"""Secrets of the workspace: set, listed by name, and removed; no request reads a value."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from serve_app.answers import answer
from serve_app.auth import who
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.openapi import refusals
from serve_app.strict import surface
from tunesmith.domain.secret import SECRET_NAME
from tunesmith.schemas.secrets import SecretAnswer, SecretList, SecretRequest
from tunesmith.services.secrets import open_vault

router = surface("/api/v1/secrets", ["secrets"])
Name = Annotated[str, Path(pattern=f"^{SECRET_NAME.pattern}$", description="The secret's name.", examples=["wandb"])]


@router.get("", summary="List secrets", response_model=SecretList, response_description="By name.")
def list_secrets(here: Here) -> Response:
    """Those of the workspace, without their values."""
    found = open_vault(here.settings, here.store).secrets(_workspace(here))
    return answer(SecretList.model_construct(secrets=tuple(map(SecretAnswer.of, found))))


@router.put("/{name}", summary="Set a secret", response_model=SecretAnswer, responses=refusals(413))
def set_secret(
    here: Here, request: Request, name: Name, body: Annotated[SecretRequest, FromJson(secret=True)]
) -> Response:
    """Keep a value under a name, in the place of the one before. What starts from now on gets the new one."""
    vault = open_vault(here.settings, here.store)
    return answer(SecretAnswer.of(vault.put(_workspace(here), name, body.value.get_secret_value(), who(request))))


@router.delete("/{name}", summary="Remove a secret", status_code=204, response_class=Response, responses=refusals(404))
def remove_secret(here: Here, name: Name) -> Response:
    """Forget it. Jobs whose tool names it fail before their next trial starts."""
    open_vault(here.settings, here.store).remove(_workspace(here), name)
    return Response(status_code=204)


def _workspace(here: Here) -> str:
    with here.store.write() as tx:  # in a fresh database the workspace may have to be made
        return tx.workspace()
