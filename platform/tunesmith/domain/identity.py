"""Users, and the tokens that they show instead of a password. No value here holds a secret."""

from __future__ import annotations

import re

from tunesmith.domain.value import Time, Value

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
"""What a user may be called; an e-mail address is such a name."""
ANONYMOUS, STATIC_KEY = "anonymous", "api-key"
"""Who asks without signing in, and who holds the platform's key: no user is called so."""
MIN_PASSWORD, MAX_PASSWORD = 8, 1000
"""Characters of a password, at least and at most."""


class User(Value):
    """Somebody who may sign in."""

    id: str
    """A UUID."""
    workspace_id: str
    """The workspace that the user works in."""
    name: str
    """Unique; what `submitted_by` says."""
    role: str = "admin"
    """What the user may do: `admin`, everything."""
    disabled: bool = False
    """Whether the user was removed: none of the tokens is accepted, and no password."""
    created_at: Time
    """When the user was added."""


class Token(Value):
    """A token of a user. What is sent is known to its holder alone; the database has a hash of it."""

    id: str
    """A UUID."""
    user_id: str
    """Whose it is."""
    name: str
    """What it is for."""
    prefix: str
    """How it begins, to tell one from another."""
    created_at: Time
    """When it was made."""
    expires_at: Time | None
    """When it stops being accepted; None: never."""
    last_used_at: Time | None = None
    """When it was used last, to a minute."""
    revoked_at: Time | None = None
    """When it was taken back."""


def is_user_name(name: str) -> bool:
    """Whether a user may be called so."""
    return USER_NAME.fullmatch(name) is not None and name.lower() not in (ANONYMOUS, STATIC_KEY)
