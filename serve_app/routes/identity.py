"""Signing in, and what those who are signed in have: who they are, and their tokens."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import Path, Request, Response

from serve_app.answers import answer
from serve_app.auditing import note
from serve_app.auth import principal
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.openapi import refusals
from serve_app.proxies import address
from serve_app.rates import check, count
from serve_app.signing_in.cookies import Cookies, csrf_token
from serve_app.strict import surface
from tunesmith.domain import Principal, Role, User
from tunesmith.domain.identity import best_role
from tunesmith.errors import Forbidden, TokenNotFound, Unauthenticated, UserNotFound
from tunesmith.schemas.identity import (
    MeAnswer,
    NewTokenAnswer,
    SignInRequest,
    TokenAnswer,
    TokenInfo,
    TokenRequest,
    TokensAnswer,
)
from tunesmith.services import identity as service
from tunesmith.services import tokens
from tunesmith.store import Tx

router = surface("/v1/auth", ["identity"])
FAILED = "failed sign-ins"
NAME_RATE, ADDRESS_RATE = "10/minute", "30/minute"
"""Failed sign-ins that are allowed: under a name, and from an address, which many people may share."""
SIGN_INS = ThreadPoolExecutor(2, "sign-in")
"""Where passwords are compared: each takes 64 MiB and a core for a moment, and nothing else may wait for that."""
SHOWN_ONCE = {"Cache-Control": "no-store"}
TokenName = Annotated[
    str, Path(min_length=1, max_length=64, description="The token's `id`, or its `prefix`.", examples=["ts_q3mZ0y"])
]


@router.post(
    "/token",
    summary="Sign in",
    response_model=TokenAnswer,
    response_description="Signed in.",
    responses=refusals(401, 413, 429),
)
async def create_token(here: Here, request: Request, body: Annotated[SignInRequest, FromJson(secret=True)]) -> Response:
    """A token for a name and a password, for 24 hours.

    An `Idempotency-Key` has no effect, every call makes another token: to give the first answer again, the platform
    would have to keep the token itself.
    """
    sign_in = partial(_sign_in, here, body, request)
    return await asyncio.get_running_loop().run_in_executor(SIGN_INS, sign_in)


@router.get("/me", summary="Read who you are", response_model=MeAnswer)
def get_me(here: Here, request: Request) -> Response:
    """Who asks, and what that one may do in which workspace."""
    me = principal(request)
    with here.store.read() as tx:
        if me.user_id is None:
            roles: dict[str, Role] = {each.name: "admin" for each in tx.workspaces()}
        else:
            roles = {name: best_role(held) or "viewer" for name, (_, held) in tx.roles(me.subjects).items()}
    session = Cookies(here.settings.public_url).session(request.headers) if me.via == "cookie" else None
    return answer(MeAnswer.of(me, roles, csrf_token(session) if session else None), headers=SHOWN_ONCE)


@router.get("/tokens", summary="List your tokens", response_model=TokensAnswer)
def list_tokens(here: Here, request: Request) -> Response:
    """How each begins, what it may be used for, and when it was used last."""
    user_id = principal(request).user_id
    with here.store.read() as tx:
        return token_list(tx, user_id) if user_id else answer(TokensAnswer(tokens=()))


@router.post(
    "/tokens", summary="Make a token", status_code=201, response_model=NewTokenAnswer, responses=refusals(404, 413)
)
def make_token(here: Here, request: Request, body: Annotated[TokenRequest, FromJson()]) -> Response:
    """A token for what you may do, or less. It is shown this once, so an `Idempotency-Key` has no effect."""
    me = principal(request)
    _check_whole(me)
    with here.store.write() as tx:
        return new_token(tx, _own_user(tx, request), body)


@router.delete("/tokens/{token}", summary="Revoke a token", status_code=204, responses=refusals(404))
def revoke_token(here: Here, request: Request, token: TokenName) -> Response:
    """It is refused within 5 seconds."""
    me = principal(request)
    _check_whole(me)
    if me.user_id is None:
        raise TokenNotFound(f"{me.name} has no tokens", token=token)
    with here.store.write() as tx:
        tokens.revoke(tx, tx.user(me.name), [token])
    return Response(status_code=204)


def token_list(tx: Tx, user_id: str) -> Response:
    """The tokens of a user."""
    return answer(TokensAnswer.model_construct(tokens=tuple(map(TokenInfo.of, tx.tokens(user_id)))))


def new_token(tx: Tx, user: User, body: TokenRequest) -> Response:
    """A new token of a user. Raises InvalidParameter."""
    lifetime = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    secret, token = tokens.issue(tx, user, body.name, lifetime, body.scopes)
    return answer(NewTokenAnswer.of(secret, token), 201, SHOWN_ONCE)


def _check_whole(me: Principal) -> None:
    if me.cut:
        raise Forbidden("A token with scopes makes and revokes no tokens; sign in")


def _own_user(tx: Tx, request: Request) -> User:
    me = principal(request)
    if me.user_id is None:
        raise UserNotFound(f"{me.name} is no user, so it has no tokens; POST /v1/auth/users/{{name}}/tokens makes one")
    return tx.user(me.name)


def _sign_in(here: Context, body: SignInRequest, request: Request) -> Response:
    limits = ((NAME_RATE, f"name {body.username}"), (ADDRESS_RATE, f"address {address(request.scope)}"))
    with here.store.read() as tx:
        for rate, who in limits:
            check(tx, rate, FAILED, who)
    try:
        secret, token = service.authenticate(here.store, body.username, body.password.get_secret_value())
    except Unauthenticated:
        with here.store.write() as tx:
            for rate, who in limits:
                count(tx, rate, FAILED, who)
            if tx.credentials(body.username) is not None:  # else it may be a password in the wrong field
                note(request, user=body.username)
        raise
    note(request, user=body.username)
    return answer(
        TokenAnswer.model_construct(access_token=secret, token_type="bearer", expires_at=token.expires_at),
        headers=SHOWN_ONCE,
    )
