"""The bodies of the health surface."""

from __future__ import annotations

from tunesmith.domain import Time
from tunesmith.schemas.base import Answer


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


class ReadyAnswer(Answer):
    """Whether the platform takes work."""

    status: str
    """`ready`."""
