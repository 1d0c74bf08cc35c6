"""Signing in: a token for a name and a password."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

from fastapi import Request, Response

from serve_app.answers import answer
from serve_app.auth import address
from serve_app.body import FromJson
from serve_app.context import Context, Here
from serve_app.openapi import refusals
from serve_app.rates import check, count
from serve_app.strict import surface
from tunesmith.errors import Unauthenticated
from tunesmith.schemas.identity import SignInRequest, TokenAnswer
from tunesmith.services import identity as service

router = surface("/v1/auth", ["identity"])
FAILED = "failed sign-ins"
NAME_RATE, ADDRESS_RATE = "10/minute", "30/minute"
"""Failed sign-ins that are allowed: under a name, and from an address, which many people may share."""
SIGN_INS = ThreadPoolExecutor(2, "sign-in")
"""Where passwords are compared: each takes 64 MiB and a core for a moment, and nothing else may wait for that."""


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
    sign_in = partial(_sign_in, here, body, address(request))
    return await asyncio.get_running_loop().run_in_executor(SIGN_INS, sign_in)


def _sign_in(here: Context, body: SignInRequest, source: str) -> Response:
    limits = ((NAME_RATE, f"name {body.username}"), (ADDRESS_RATE, f"address {source}"))
    with here.store.read() as tx:
        for rate, who in limits:
            check(tx, rate, FAILED, who)
    try:
        secret, token = service.authenticate(here.store, body.username, body.password.get_secret_value())
    except Unauthenticated:
        with here.store.write() as tx:
            for rate, who in limits:
                count(tx, rate, FAILED, who)
        raise
    return answer(
        TokenAnswer.model_construct(access_token=secret, token_type="bearer", expires_at=token.expires_at),
        headers={"Cache-Control": "no-store"},
    )
