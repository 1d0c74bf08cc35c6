"""Tokens: made, and recognized without asking the database for every request."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from tunesmith.domain import Token, User, utcnow
from tunesmith.errors import TokenNotFound
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


def issue(tx: Tx, user: User, name: str, lifetime: timedelta | None = None) -> tuple[str, Token]:
    """A new token of a user: the secret, which is shown this once, and what is kept of it; `None`: it never expires."""
    secret = MARK + secrets.token_urlsafe(32)
    expires_at = None if lifetime is None else utcnow() + lifetime
    return secret, tx.create_token(user.id, name, secret[:PREFIX], hashed(secret), expires_at)


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
    """Who holds which token, as the database said a moment ago; safe to share between threads."""

    def __init__(self, store: Store, fresh_s: float = FRESH_S) -> None:
        """`fresh_s`: seconds that an answer counts."""
        self._store, self._fresh_s = store, fresh_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[User, float]] = {}

    def known(self, secret: str) -> User | None:
        """The holder, if that is known; it asks nobody."""
        user, until = self._known.get(hashed(secret), (None, 0.0))
        return user if time.monotonic() < until else None

    def look_up(self, secret: str) -> tuple[User, Token] | None:
        """The holder, as the database says; None when the token is not accepted. Raises DatabaseUnavailable."""
        key, asked = hashed(secret), time.monotonic()
        with self._store.read(single=True) as tx:
            found = tx.token_holder(key)
        with self._lock:
            self._known.pop(key, None)  # what is put back stands at the end: the oldest answers come first
            if found is not None:
                while len(self._known) >= MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                user, token = found
                self._known[key] = user, asked + self._seconds(token)
        return found

    def _seconds(self, token: Token) -> float:
        if token.expires_at is None:
            return self._fresh_s
        return min(self._fresh_s, (token.expires_at - utcnow()).total_seconds())
