"""People and programs that somebody else vouches for: who they are here, and the sessions of their browsers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

from tunesmith.domain import Role, Token, User
from tunesmith.domain.identity import is_user_name
from tunesmith.errors import Forbidden, NameTaken
from tunesmith.services.identity import ADMIN
from tunesmith.services.tokens import hashed, issue
from tunesmith.store import Store, Tx

SESSION = timedelta(hours=12)
"""How long a browser stays signed in."""


def user_elsewhere(store: Store, issuer: str, subject: str, name: str, role: Role, email: str | None = None) -> User:
    """The user whom an issuer knows as `subject`; who is new is added under `name`, with a role in `main`.

    Only the issuer and its subject say who somebody is: who has the name already, or the address, is somebody else.

    Raises:
        Forbidden: the user was removed.
    """
    with store.read() as tx:
        user = tx.user_known_as(issuer, subject)
    if user is None or (email is not None and user.email != email):
        with store.write() as tx:
            user = tx.user_known_as(issuer, subject) or _added(tx, issuer, subject, name, role)
            if email is not None:
                tx.change_user(user.id, email=email)
    if user.disabled:
        raise Forbidden(f"The user {user.name!r} was removed; an administrator can bring it back")
    return user


def start_session(store: Store, user: User, before: str | None = None) -> tuple[str, Token]:
    """A new session of a browser: its secret, and what is kept of it; the session that it had `before` ends."""
    with store.write() as tx:
        _end(tx, before)
        return issue(tx, user, "browser", SESSION, kind="cookie")


def end_session(store: Store, secret: str) -> User | None:
    """End a session; whose it was, None when there is no such session any more."""
    with store.write() as tx:
        return _end(tx, secret)


def _end(tx: Tx, secret: str | None) -> User | None:
    found = None if secret is None else tx.token_holder(hashed(secret))
    if found is None or found[1].kind != "cookie":
        return None
    tx.revoke_tokens(found[0].id, [found[1].id])
    return found[0]


def _added(tx: Tx, issuer: str, subject: str, name: str, role: Role) -> User:
    workspace_id = tx.default_workspace()
    for free in _names(issuer, subject, name):
        try:
            user = tx.create_user(workspace_id, free, issuer=issuer, subject=subject)
        except NameTaken:  # by somebody else, or by this very user a moment ago
            known = tx.user_known_as(issuer, subject)
            if known is not None:
                return known
            continue
        tx.grant(workspace_id, f"user:{user.id}", role)
        return user
    raise NameTaken(f"There is a user {name!r} already", name=name)


def _names(issuer: str, subject: str, name: str) -> Iterator[str]:
    """What the user may be called: as asked for, or with something after it that nobody else has."""
    mark = hashlib.sha256(f"{issuer} {subject}".encode()).hexdigest()[:12]
    if not is_user_name(name):
        name = "user"
    elif name.lower() != ADMIN:  # whose password is a setting
        yield name
    yield f"{name[:80]}-{mark}"
