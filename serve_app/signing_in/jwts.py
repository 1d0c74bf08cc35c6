"""JWTs of issuers that the settings name, as bearer tokens: whose they are, once everything about them was checked."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry
from pydantic_core import from_json

from serve_app.signing_in.issuers import LEEWAY_S, Issuer
from tunesmith.domain import User
from tunesmith.domain.issuers import JwtIssuer
from tunesmith.errors import Forbidden
from tunesmith.services import sign_ins
from tunesmith.store import Store

log = logging.getLogger("tunesmith.identity")

SHAPE = re.compile(r"[\w-]{10,}\.[\w-]+\.[\w-]*", re.ASCII)
"""What a signed JWT looks like; no other token has a point in it."""


class Jwts:
    """Recognizes them. One for an application; it answers on threads of its own, because issuers may be slow."""

    def __init__(self, issuers: Sequence[JwtIssuer], store: Store) -> None:
        self._issuers = {each.issuer: (each, Issuer(each.issuer, each.jwks_url)) for each in issuers}
        self._store = store
        self._threads = ThreadPoolExecutor(4, "jwt")

    async def user(self, secret: str) -> User | None:
        """Whose it is; a holder who is new becomes a user. None when it is no JWT that is accepted.

        Raises:
            Unavailable: the issuer's keys, or the database, cannot be asked.
        """
        if not self._issuers or not SHAPE.fullmatch(secret):
            return None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._user, secret)

    def close(self) -> None:
        """End the threads. An application that starts again can go on with it."""
        self._threads.shutdown()
        self._threads = ThreadPoolExecutor(4, "jwt")

    def _user(self, secret: str) -> User | None:
        try:
            trusted, issuer = self._issuers[_claimed_issuer(secret)]
            claims = issuer.token(secret, trusted.algorithms).claims
            _checks(trusted).validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.info("a JWT was refused: %s", error)
            return None
        name = claims.get(trusted.name_claim)
        try:
            return sign_ins.user_elsewhere(self._store, trusted.issuer, claims["sub"], str(name or ""), trusted.role)
        except Forbidden as error:
            log.info("a JWT was refused: %s", error)
            return None


def _claimed_issuer(secret: str) -> str:
    """Who it says that it is from: only to know whose keys must have signed it."""
    return str(from_json(jws.extract_compact(secret.encode()).payload or b"")["iss"])


def _checks(trusted: JwtIssuer) -> JWTClaimsRegistry:
    return JWTClaimsRegistry(
        leeway=LEEWAY_S,
        iss={"essential": True, "value": trusted.issuer},
        aud={"essential": True, "value": trusted.audience},
        sub={"essential": True},
        exp={"essential": True},
    )
