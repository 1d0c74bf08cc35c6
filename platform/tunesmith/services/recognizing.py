"""Who asks, for servers whose calls each have a thread: the platform's key, a user's token, or nobody in particular."""

from __future__ import annotations

import hmac
from typing import Literal

from tunesmith.domain import Principal
from tunesmith.errors import Unauthenticated
from tunesmith.services import principals
from tunesmith.services.tokens import SHAPE, TokenCache, use_is_noted
from tunesmith.store import Store


class Operators:
    """Whoever holds the platform's key, and anybody where nobody needs one, by workspace; safe to share."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str | None], Principal] = {}

    def known(self, kind: Literal["key", "anonymous"], workspace: str | None) -> Principal | None:
        """Who that is in the workspace of this name, or in `main`, if that is known; it asks nobody."""
        return self._known.get((kind, workspace))

    def look_up(self, kind: Literal["key", "anonymous"], workspace: str | None) -> Principal:
        """The same, as the database says. Raises WorkspaceNotFound, DatabaseUnavailable."""
        if workspace is None:
            with self._store.write() as tx:
                tx.default_workspace()  # there from now on, if it was not
        with self._store.read() as tx:
            found = principals.operator(tx, workspace, kind)
        self._known[kind, workspace] = found
        return found


class Recognizer:
    """Finds out who asks; what changed in the database is seen within 5 s."""

    def __init__(self, store: Store, key: str | None, required: bool) -> None:
        """`key`: the platform's, if it has one; `required`: whether somebody must ask."""
        self._store, self._required = store, required
        self._key = None if key is None else key.encode()
        self._tokens = TokenCache(store)
        self._operators = Operators(store)

    def principal(self, given: str, workspace: str | None = None) -> Principal:
        """Who sent this as a key or token (empty: nothing), in the workspace of this name or their own.

        Raises:
            Unauthenticated: it is none, and somebody must ask.
            WorkspaceNotFound: there is none of this name, or they have no role in it.
            DatabaseUnavailable: it cannot be asked.
        """
        if self._key is not None and hmac.compare_digest(given.encode(), self._key):
            return self._operator("key", workspace)
        holder = self._holder(given, workspace) if SHAPE.fullmatch(given) else None
        if holder is not None and holder.via == "token":
            return holder
        if self._required:
            raise Unauthenticated("The token or key is unknown, expired or revoked" if given else "")
        return self._operator("anonymous", workspace)

    def _holder(self, secret: str, workspace: str | None) -> Principal | None:
        known = self._tokens.known(secret, workspace)
        if known is not None:
            return known
        found = self._tokens.look_up(secret, workspace)
        if found is None:
            return None
        principal, token = found
        if not use_is_noted(token):
            with self._store.write() as tx:
                tx.note_token_use(token.id)
        return principal

    def _operator(self, kind: Literal["key", "anonymous"], workspace: str | None) -> Principal:
        return self._operators.known(kind, workspace) or self._operators.look_up(kind, workspace)
