"""Tokens: made, and recognized without asking the database for every request."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from tunesmith.domain import Principal, Token, User, utcnow
from tunesmith.domain.identity import SCOPES, is_scope
from tunesmith.errors import InvalidParameter, TokenNotFound
from tunesmith.services import principals
from tunesmith.store import Store, Tx
from tunesmith.store.identity import USE_NOTED

MARK = "ts_"
SHAPE = re.compile(r"ts_[A-Za-z0-9_-]{43}")
"""What a token looks like; anything else is none, which needs no look into the database."""
PREFIX = 9
"""Characters of a token that are shown, to tell one from another."""
FRESH_S = 4.0
"""Seconds that a token is accepted without asking again: at most that long one is, after it was revoked."""
MAX_KNOWN = 10_000
"""Tokens that are remembered."""


def issue(
    tx: Tx,
    user: User,
    name: str,
    lifetime: timedelta | None = None,
    scopes: Sequence[str] | None = None,
    kind: Literal["token", "cookie"] = "token",
) -> tuple[str, Token]:
    """A new token of a user: the secret, which is shown this once, and what is kept of it.

    `lifetime`: None: it never expires; `scopes`: None: it may be used for whatever the user may do.

    Raises:
        InvalidParameter: a scope is none.
    """
    unknown = [scope for scope in scopes or () if not is_scope(scope)]
    if unknown:
        raise InvalidParameter(
            f"There is no scope {unknown[0]!r}; there are {', '.join(SCOPES)} and model:<model id>:run", field="scopes"
        )
    secret = MARK + secrets.token_urlsafe(32)
    expires_at = None if lifetime is None else utcnow() + lifetime
    return secret, tx.create_token(user.id, name, secret[:PREFIX], hashed(secret), expires_at, scopes, kind)


def revoke(tx: Tx, user: User, which: Sequence[str] | None = None) -> list[Token]:
    """Take back a user's tokens: these, by their ids or how they begin, or all. Raises TokenNotFound."""
    if which is None:
        return tx.revoke_tokens(user.id)
    accepted = [token for token in tx.tokens(user.id) if token.revoked_at is None]
    found: dict[str, Token] = {}
    for given in which:
        matching = [token for token in accepted if given in (token.id, token.prefix)]
        if not matching:
            raise TokenNotFound(f"{user.name} has no token {given!r} that could be revoked", token=given)
        found |= {token.id: token for token in matching}
    return tx.revoke_tokens(user.id, list(found))


def hashed(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def use_is_noted(token: Token) -> bool:
    """Whether it stands there, as exactly as it is kept, that the token is used."""
    return token.last_used_at is not None and utcnow() - token.last_used_at < USE_NOTED


class TokenCache:
    """Who shows which token in which workspace, as the database said a moment ago; safe to share between threads."""

    def __init__(self, store: Store, fresh_s: float = FRESH_S) -> None:
        """`fresh_s`: seconds that an answer counts."""
        self._store, self._fresh_s = store, fresh_s
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str | None], tuple[Principal, float]] = {}

    def known(self, secret: str, workspace: str | None = None) -> Principal | None:
        """Who that is in the workspace of this name, if that is known; it asks nobody."""
        principal, until = self._known.get((hashed(secret), workspace), (None, 0.0))
        return principal if time.monotonic() < until else None

    def look_up(self, secret: str, workspace: str | None = None) -> tuple[Principal, Token] | None:
        """Who that is in the workspace of this name, or in the user's own; None when the token is not accepted.

        Raises:
            WorkspaceNotFound: there is none of this name, or the user has no role in it.
            DatabaseUnavailable: it cannot be asked.
        """
        key, asked = (hashed(secret), workspace), time.monotonic()
        with self._lock:
            self._known.pop(key, None)  # what is put back stands at the end: the oldest answers come first
        with self._store.read() as tx:
            holder = tx.token_holder(key[0])
            if holder is None:
                return None
            user, token = holder
            principal = principals.of_user(tx, user, workspace, token.scopes, token.kind)
        self.keep(secret, workspace, principal, asked + self._seconds(token))
        return principal, token

    def keep(self, secret: str, workspace: str | None, principal: Principal, until: float) -> None:
        """Remember who that is until this moment of `time.monotonic()`."""
        with self._lock:
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[hashed(secret), workspace] = principal, until

    def _seconds(self, token: Token) -> float:
        if token.expires_at is None:
            return self._fresh_s
        return min(self._fresh_s, (token.expires_at - utcnow()).total_seconds())
