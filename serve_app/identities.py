"""Who holds a token, asked on the event loop: answered from memory, or by a thread that asks the database."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from tunesmith.domain import Token, User
from tunesmith.errors import DatabaseUnavailable
from tunesmith.services.tokens import FRESH_S, SHAPE, TokenCache, use_is_noted
from tunesmith.store import Store

log = logging.getLogger("tunesmith.api")


class Identities:
    """What is known of users and their tokens; what changed elsewhere is seen within 5 s. One for an application."""

    def __init__(self, store: Store, fresh_s: float = FRESH_S) -> None:
        """`fresh_s`: seconds that an answer of the database counts."""
        self._store, self._fresh_s = store, fresh_s
        self._tokens = TokenCache(store, fresh_s)
        self._anybody, self._anybody_until = False, 0.0
        self._open()

    async def holder(self, secret: str) -> User | None:
        """Whose token this is; None when it is none that is accepted. Raises DatabaseUnavailable."""
        if not SHAPE.fullmatch(secret):
            return None
        known = self._tokens.known(secret)
        if known is not None:
            return known
        found = await asyncio.get_running_loop().run_in_executor(self._readers, self._tokens.look_up, secret)
        if found is None:
            return None
        user, token = found
        if not use_is_noted(token):
            self._writer.submit(self._note_use, token)
        return user

    async def anybody(self) -> bool:
        """Whether there is somebody who may sign in. Raises DatabaseUnavailable."""
        if time.monotonic() >= self._anybody_until:
            await asyncio.get_running_loop().run_in_executor(self._readers, self._look_for_anybody)
        return self._anybody

    def close(self) -> None:
        """Write what is still to be noted. An application that starts again can go on with it."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._open()

    def _open(self) -> None:
        # Apart from what serves requests: tokens are still recognized when all of those threads wait.
        self._readers = ThreadPoolExecutor(4, "identity")
        self._writer = ThreadPoolExecutor(1, "token-use")

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
