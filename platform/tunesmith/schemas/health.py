"""The bodies of the health surface."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.domain import Time
from tunesmith.schemas.base import Answer
from tunesmith.schemas.sessions import SessionEntry


class HealthAnswer(Answer):
    """Whether the service can work."""

    status: str
    """`healthy` or `degraded`."""
    timestamp: Time
    """The server's present moment."""
    service: str
    """`tunesmith`."""
    database_connected: bool
    """Whether the database answers."""
    version: str
    """The platform's version."""
    title: str = "tunesmith"
    """What the platform calls itself."""
    sessions: tuple[Mapping[str, str], ...] = ()
    """Its sessions: `id` and `display_name` of each."""


class ReadyAnswer(Answer):
    """Whether the platform takes work."""

    status: str
    """`ready`."""


class SessionsHealth(Answer):
    """Whether an application of sessions works."""

    status: str
    """`ok`."""
    title: str
    """What the application is called."""
    sessions: tuple[SessionEntry, ...]
    """Its sessions."""
