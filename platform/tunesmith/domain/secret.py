"""Secrets of a workspace: what may be known of them. No domain value holds theirs, so that none is ever shown."""

from __future__ import annotations

import re

from tunesmith.domain.value import Time, Value

SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""What a secret may be called."""
MAX_SECRET = 65_536
"""Bytes of a secret, at most: as many as AWS Secrets Manager takes."""
MIN_MASKED = 6
"""Characters of a secret from which on it is masked in logs; a shorter one would mask ordinary words."""


class Secret(Value):
    """A named secret, without its value."""

    name: str
    """Unique in its workspace."""
    created_by: str | None = None
    """Who gave it its value, as far as that is known."""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When it was given its value."""
