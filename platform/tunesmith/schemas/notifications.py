"""Notifications: as they are shown, and a try of a channel."""

from __future__ import annotations

from pydantic import Field

from tunesmith.domain import Time
from tunesmith.domain.notification import MAX_URL, NAME, URL, Notification
from tunesmith.schemas.base import Answer, Request


class ChannelTest(Request):
    """A channel that is to be tried."""

    channel: str = Field(pattern=f"^({NAME}|{URL})$", max_length=MAX_URL)
    """A configured channel's name, an apprise URL, or the http(s) URL of a webhook."""
    secret: str | None = Field(default=None, min_length=1, max_length=500)
    """Signs what the webhook gets."""


class ChannelTested(Answer):
    """The channel took what was sent."""

    status: str
    """`sent`."""
    channel: str
    """The channel, without its secrets."""


class NotificationAnswer(Answer):
    """One change of a training job's status, told to one channel."""

    id: str
    """Opaque; the same at every try."""
    state: str
    """`waiting`, `sent` or `dead`."""
    channel: str
    """The channel, without its secrets."""
    training_id: str
    """The training job's `job_id`."""
    name: str
    """Its name."""
    job_id: str | None
    """The job of the execution that it is about."""
    execution: int | None
    """That execution's number."""
    status: str
    """The status that is told."""
    text: str
    """What is told."""
    attempts: int
    """Tries so far."""
    next_at: Time | None
    """When it is tried next, at the earliest; null: not any more."""
    last_error: str | None
    """Why the last try failed."""
    created_at: Time
    """When the status changed."""
    sent_at: Time | None
    """When the channel took it."""

    @classmethod
    def of(cls, found: Notification) -> NotificationAnswer:
        """The answer for a notification."""
        change = found.change
        return cls.model_construct(
            id=found.id,
            state=found.state.value,
            channel=found.channel,
            training_id=change.training_id,
            name=change.name,
            job_id=change.job_id,
            execution=change.execution,
            status=change.status,
            text=change.text,
            attempts=found.attempts,
            next_at=found.next_at,
            last_error=found.last_error,
            created_at=found.created_at,
            sent_at=found.sent_at,
        )


class NotificationPage(Answer):
    """A page of notifications."""

    notifications: tuple[NotificationAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""
