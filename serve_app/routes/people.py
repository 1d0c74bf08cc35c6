"""Users, programs and groups: what the platform's admins say about who there is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import SecretStr

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.routes.identity import TokenName, new_token, token_list
from serve_app.strict import surface
from tunesmith.domain import Grant, Role, User
from tunesmith.schemas.identity import NewTokenAnswer, TokenRequest, TokensAnswer
from tunesmith.schemas.people import (
    GroupAnswer,
    GroupRequest,
    GroupsAnswer,
    UserAnswer,
    UserChange,
    UserRequest,
    UsersAnswer,
)
from tunesmith.services import grants, identity, tokens
from tunesmith.store import Tx

router = surface("/v1/auth", ["identity"])
UserName = Annotated[str, Path(min_length=1, max_length=100, description="The user's `name`.", examples=["ada"])]
GroupName = Annotated[str, Path(min_length=1, max_length=100, description="The group's `name`.", examples=["analysts"])]


@router.get("/users", summary="List users", response_model=UsersAnswer)
def list_users(here: Here) -> Response:
    """Everybody by name, removed ones too."""
    with here.store.read() as tx:
        roles = _roles(tx.grants())
        found = tuple(UserAnswer.of(user, roles.get(f"user:{user.name}", {})) for user in tx.users())
    return answer(UsersAnswer.model_construct(users=found))


@router.post(
    "/users", summary="Add a user", status_code=201, response_model=UserAnswer, responses=refusals(404, 409, 413)
)
def create_user(
    here: Here, request: Request, body: Annotated[UserRequest, FromJson(secret=True)], key: Key = None
) -> Response:
    """A person, or a program (`service`); a removed one comes back."""
    columns = {**body.model_dump(include={"kind", "email", "attributes"}), "password_hash": _hashed(body.password)}

    def add() -> Response:
        return _shown(tx, identity.put_user(tx, body.name, body.workspace, body.role, **columns), 201)

    with here.store.write() as tx:
        return perform(tx, Once.of(request, key, body), add)


@router.patch("/users/{user}", summary="Change a user", response_model=UserAnswer, responses=refusals(404, 413))
def change_user(here: Here, user: UserName, body: Annotated[UserChange, FromJson(secret=True)]) -> Response:
    """Another password revokes all tokens of the user."""
    columns = body.model_dump(include={"email", "attributes"}, exclude_unset=True)
    if body.password is not None:
        identity.set_password(here.store, user, body.password.get_secret_value())
    with here.store.write() as tx:
        found = identity.present(tx, user)
        if body.workspace is not None:
            columns["workspace_id"] = tx.workspace_called(body.workspace).id
        if columns:
            tx.change_user(found.id, **columns)
        return _shown(tx, tx.user(user))


@router.delete("/users/{user}", summary="Remove a user", status_code=204, responses=refusals(404, 409))
def remove_user(here: Here, user: UserName) -> Response:
    """No password and no token is accepted any more, within 5 seconds; what the user submitted stays, and the name."""
    with here.store.write() as tx, grants.keeping_an_admin(tx):
        identity.remove_user(tx, user)
    return Response(status_code=204)


@router.get(
    "/users/{user}/tokens", summary="List a user's tokens", response_model=TokensAnswer, responses=refusals(404)
)
def list_tokens_of(here: Here, user: UserName) -> Response:
    """How each begins, what it may be used for, and when it was used last."""
    with here.store.read() as tx:
        return token_list(tx, tx.user(user).id)


@router.post(
    "/users/{user}/tokens",
    summary="Make a token for a program",
    status_code=201,
    response_model=NewTokenAnswer,
    responses=refusals(404, 409, 413),
)
def make_token_for(here: Here, user: UserName, body: Annotated[TokenRequest, FromJson()]) -> Response:
    """For a service account. It is shown this once, so an `Idempotency-Key` has no effect."""
    with here.store.write() as tx:
        return new_token(tx, identity.program(tx, user), body)


@router.delete(
    "/users/{user}/tokens/{token}", summary="Revoke a user's token", status_code=204, responses=refusals(404)
)
def revoke_token_of(here: Here, user: UserName, token: TokenName) -> Response:
    """It is refused within 5 seconds."""
    with here.store.write() as tx:
        tokens.revoke(tx, tx.user(user), [token])
    return Response(status_code=204)


@router.get("/groups", summary="List groups", response_model=GroupsAnswer)
def list_groups(here: Here) -> Response:
    """All groups by name, with their members."""
    with here.store.read() as tx:
        return answer(GroupsAnswer(groups=tuple(GroupAnswer(**group.model_dump()) for group in tx.groups())))


@router.post(
    "/groups", summary="Make a group", status_code=201, response_model=GroupAnswer, responses=refusals(409, 413)
)
def create_group(here: Here, request: Request, body: Annotated[GroupRequest, FromJson()], key: Key = None) -> Response:
    """Without members."""

    def make() -> Response:
        return answer(GroupAnswer(**grants.add_group(tx, body.name).model_dump()), 201)

    with here.store.write() as tx:
        return perform(tx, Once.of(request, key, body), make)


@router.delete("/groups/{group}", summary="Remove a group", status_code=204, responses=refusals(404, 409))
def remove_group(here: Here, group: GroupName) -> Response:
    """With all that it was granted."""
    with here.store.write() as tx, grants.keeping_an_admin(tx):
        grants.remove_group(tx, group)
    return Response(status_code=204)


@router.put(
    "/groups/{group}/members/{user}",
    summary="Put a user into a group",
    response_model=GroupAnswer,
    responses=refusals(404),
)
def join_group(here: Here, group: GroupName, user: UserName) -> Response:
    """The user has the group's roles within 5 seconds."""
    with here.store.write() as tx:
        return answer(GroupAnswer(**grants.join(tx, group, user).model_dump()))


@router.delete(
    "/groups/{group}/members/{user}",
    summary="Take a user out of a group",
    response_model=GroupAnswer,
    responses=refusals(404, 409),
)
def leave_group(here: Here, group: GroupName, user: UserName) -> Response:
    """The user has lost the group's roles within 5 seconds."""
    with here.store.write() as tx, grants.keeping_an_admin(tx):
        return answer(GroupAnswer(**grants.leave(tx, group, user).model_dump()))


def _hashed(password: SecretStr | None) -> str | None:
    return None if password is None else identity.hashed(password.get_secret_value())


def _shown(tx: Tx, user: User, status: int = 200) -> Response:
    return answer(UserAnswer.of(user, _roles(tx.grants()).get(f"user:{user.name}", {})), status)


def _roles(found: list[Grant]) -> dict[str, dict[str, Role]]:
    roles: dict[str, dict[str, Role]] = {}
    for grant in found:
        roles.setdefault(grant.subject, {})[grant.workspace] = grant.role
    return roles
