"""Who asks, found out on the event loop: answered from memory, or by a thread that asks the database."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from serve_app.signing_in.jwts import Jwts
from tunesmith.domain import Principal, Token, User
from tunesmith.errors import DatabaseUnavailable
from tunesmith.services import principals
from tunesmith.services.recognizing import Operators
from tunesmith.services.tokens import FRESH_S, SHAPE, TokenCache, use_is_noted
from tunesmith.store import Store

log = logging.getLogger("tunesmith.api")


class Identities:
    """What is known of users and their tokens; what changed elsewhere is seen within 5 s. One for an application.

    A `workspace` is the name of the one that a request is about; None: the user's own, or `main`. Its methods raise
    Unavailable, and those that take one raise WorkspaceNotFound when there is none, or none for who asks.
    """

    def __init__(self, store: Store, fresh_s: float = FRESH_S, *, jwts: Jwts | None = None) -> None:
        """`fresh_s`: seconds that an answer counts; `jwts`: what recognizes those of issuers."""
        self._store, self._fresh_s, self._jwts = store, fresh_s, jwts
        self._tokens = TokenCache(store, fresh_s)
        self._operators = Operators(store)
        self._anybody, self._anybody_until = False, 0.0
        self._open()

    async def holder(self, secret: str, workspace: str | None = None) -> Principal | None:
        """Whose token, or JWT of a trusted issuer, this is; None when it is none that is accepted."""
        known = self._tokens.known(secret, workspace)
        if known is not None:
            return known
        if not SHAPE.fullmatch(secret):
            return await self._holder_elsewhere(secret, workspace)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._readers, self._tokens.look_up, secret, workspace)
        if found is None:
            return None
        principal, token = found
        if not use_is_noted(token):
            self._writer.submit(self._note_use, token)
        return principal

    async def operator(self, kind: Literal["key", "anonymous"], workspace: str | None = None) -> Principal:
        """Whoever holds the platform's key, or anybody where nobody needs one."""
        known = self._operators.known(kind, workspace)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._operators.look_up, kind, workspace)

    async def anybody(self) -> bool:
        """Whether there is somebody who may sign in."""
        if time.monotonic() >= self._anybody_until:
            await asyncio.get_running_loop().run_in_executor(self._readers, self._look_for_anybody)
        return self._anybody

    def close(self) -> None:
        """Write what is still to be noted. An application that starts again can go on with it."""
        self._writer.shutdown()
        self._readers.shutdown()
        if self._jwts is not None:
            self._jwts.close()
        self._open()

    def _open(self) -> None:
        # Apart from what serves requests: tokens are still recognized when all of those threads wait.
        self._readers = ThreadPoolExecutor(4, "identity")
        self._writer = ThreadPoolExecutor(1, "token-use")

    async def _holder_elsewhere(self, secret: str, workspace: str | None) -> Principal | None:
        asked, user = time.monotonic(), await self._jwts.user(secret) if self._jwts is not None else None
        if user is None:
            return None
        principal = await asyncio.get_running_loop().run_in_executor(self._readers, self._of_user, user, workspace)
        self._tokens.keep(secret, workspace, principal, asked + self._fresh_s)
        return principal

    def _of_user(self, user: User, workspace: str | None) -> Principal:
        with self._store.read() as tx:
            return principals.of_user(tx, user, workspace, via="jwt")

    def _look_for_anybody(self) -> None:
        asked = time.monotonic()
        with self._store.read(single=True) as tx:
            self._anybody, self._anybody_until = tx.any_user(), asked + self._fresh_s

    def _note_use(self, token: Token) -> None:
        try:
            with self._store.write() as tx:
                tx.note_token_use(token.id)
        except DatabaseUnavailable as error:
            log.warning("it was not noted when the token %s... was used: %s", token.prefix, error)
