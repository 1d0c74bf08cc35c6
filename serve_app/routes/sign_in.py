"""Signing in with a browser: to the OpenID provider, back from it, and out again."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from serve_app.auditing import note
from serve_app.context import Context, Here
from serve_app.openapi import refusals
from serve_app.proxies import address
from serve_app.rates import count
from serve_app.signing_in.cookies import Cookies
from serve_app.signing_in.oidc import CALLBACK, PATIENCE, OpenId
from serve_app.signing_in.pages import LOGIN, NO_STORE, own_path, refused
from serve_app.strict import surface
from tunesmith.domain import SignIn
from tunesmith.errors import BadRequest, Forbidden, NotFound, TunesmithError, Unauthenticated
from tunesmith.services import sign_ins

router = surface(tags=["identity"])
pages = APIRouter(include_in_schema=False)
"""Not strict: providers send along what they like."""
BEGUN, BEGUN_RATE = "sign-ins begun", "60/minute"
"""Sign-ins that may be begun from an address, which many people may share."""
THREADS = ThreadPoolExecutor(4, "openid")
"""Where the provider is waited for; nothing else waits with it."""


@pages.get(LOGIN)
async def login(here: Here, request: Request) -> Response:
    """Send the browser to the OpenID provider; `next`: the path of ours that it wants to see afterwards."""
    return await _answered(_begin, here, request)


@pages.get(CALLBACK)
async def callback(here: Here, request: Request) -> Response:
    """The browser comes back from the provider: a session, and what it wanted to see."""
    return await _answered(_finish, here, request)


@router.post("/logout", status_code=204, summary="Sign out", responses=refusals(403))
def logout(here: Here, request: Request) -> Response:
    """End the session of this browser, for good: its cookie is accepted nowhere any more."""
    cookies = Cookies(here.settings.public_url)
    secret = cookies.session(request.headers)
    if secret is not None:
        cookies.check(request.method, request.headers, secret)
        user = sign_ins.end_session(here.store, secret)
        note(request, **({} if user is None else {"user": user.name}))
    response = Response(status_code=204, headers=NO_STORE)
    cookies.end(response)
    return response


async def _answered(step: Callable[[Context, Request, OpenId], Response], here: Context, request: Request) -> Response:
    try:
        if here.open_id is None:
            raise NotFound("This platform has no OpenID provider; POST /v1/auth/token gives a token for a password")
        return await asyncio.get_running_loop().run_in_executor(THREADS, step, here, request, here.open_id)
    except TunesmithError as error:
        return refused(request.scope, error)


def _begin(here: Context, request: Request, open_id: OpenId) -> Response:
    with here.store.write() as tx:
        count(tx, BEGUN_RATE, BEGUN, f"address {address(request.scope)}")
    url, sign_in = open_id.begin(own_path(request.query_params.get("next", "")))
    with here.store.write() as tx:
        tx.add_sign_in(sign_in)
    response = RedirectResponse(url, 303, NO_STORE)
    Cookies(here.settings.public_url).begin(response, sign_in.state, int(PATIENCE.total_seconds()))
    return response


def _finish(here: Context, request: Request, open_id: OpenId) -> Response:
    cookies, settings = Cookies(here.settings.public_url), here.settings
    sign_in, code = _come_back(here, request, cookies, open_id)
    person = open_id.finish(sign_in, code)
    name = person.email or person.subject
    user = sign_ins.user_elsewhere(
        here.store, open_id.issuer.name, person.subject, name, settings.oidc_role, person.email
    )
    note(request, user=user.name)
    secret, _ = sign_ins.start_session(here.store, user, cookies.session(request.headers))
    response = RedirectResponse(sign_in.next, 303, NO_STORE)
    cookies.start(response, secret, int(sign_ins.SESSION.total_seconds()))
    return response


def _come_back(here: Context, request: Request, cookies: Cookies, open_id: OpenId) -> tuple[SignIn, str]:
    """The sign-in that this browser began, which nobody finishes a second time, and the provider's code.

    Raises:
        BadRequest: something is missing.
        Forbidden: another browser began it.
        Unauthenticated: it is over, or the provider refused.
    """
    given = request.query_params
    state, code = given.get("state", ""), given.get("code", "")
    if not state:
        raise BadRequest("Begin at /login; the provider sends you back here")
    if not hmac.compare_digest(state.encode(), (cookies.sign_in(request.headers) or "").encode()):
        raise Forbidden("This browser did not begin this sign-in, or began another one since.")
    with here.store.write() as tx:
        sign_in = tx.take_sign_in(state)
    if sign_in is None:
        raise Unauthenticated("This sign-in is finished, or it took too long.")
    if given.get("iss", open_id.issuer.name) != open_id.issuer.name:  # RFC 9207
        raise Unauthenticated("Another OpenID provider answered than the one that was asked.")
    if not code:
        raise Unauthenticated(f"The OpenID provider refused: {given.get('error', 'it sent no code')[:100]}")
    return sign_in, code
