"""Notifications: who is told of which changes of a training job's status, what they are told, and how far that is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from tunesmith.domain.value import Time, Value, render_time

NAME = r"[a-z0-9_-]{1,50}"
"""What a channel may be called."""
URL = r"[A-Za-z][A-Za-z0-9.+-]*://\S+"
"""What an address of a channel looks like."""
MASK = "***"
"""What is shown instead of a secret."""
MAX_URL = 2000
"""Characters of an address, at most."""
Status = Literal["pending", "running", "paused", "retrying", "completed", "failed", "cancelled"]
"""Where a training job stands."""
STATUSES: tuple[Status, ...] = get_args(Status)
"""All of them."""


ChannelName = Annotated[str, Field(pattern=f"^{NAME}$")]
"""What a channel is called."""


class Channel(Value):
    """Where notifications go."""

    url: str = Field(pattern=f"^{URL}$", max_length=MAX_URL)
    """An apprise URL; or http(s): a webhook, or slack+http(s): one that takes what Slack takes."""
    secret: str | None = Field(default=None, min_length=1, max_length=500)
    """Signs what a webhook gets."""


class Rule(Value):
    """Tell a channel of changes of the status."""

    channel: str = Field(pattern=f"^({NAME}|{URL})$", max_length=MAX_URL)
    """A configured channel's name, an apprise URL, or the http(s) URL of a webhook."""
    secret: str | None = Field(default=None, min_length=1, max_length=500)
    """Signs what the webhook gets."""
    on: tuple[Status, ...] = Field(default=("failed", "completed"), min_length=1, max_length=len(STATUSES))
    """The statuses that it is told of."""

    @property
    def shown(self) -> Rule:
        """The rule as it may be shown: without its secrets."""
        return self.evolve(channel=shown(self.channel), secret=self.secret and MASK)


class StatusChange(Value):
    """A training job has another status: all that is told of it, also when the job is deleted meanwhile."""

    training_id: str
    """The training job."""
    name: str
    """Its name."""
    status: Status
    """The new status."""
    at: Time
    """When."""
    job_id: str | None = None
    """The firing's job; None: it never fired."""
    execution: int | None = None
    """The firing's number."""
    attempt: int | None = None
    """Which attempt of that firing it speaks of: 1, 2, 3, ..."""
    retry_count: int = 0
    """How often that firing was begun anew."""
    error: str | None = None
    """Why the last attempt failed."""

    def payload(self, notification_id: str) -> dict[str, Any]:
        """What a webhook gets, as JSON."""
        execution = None if self.execution is None else {"number": self.execution, "attempt": self.attempt}
        return {
            "id": notification_id,
            "event": f"training_job.{self.status}",
            "timestamp": render_time(self.at),
            "job": {
                "job_id": self.training_id,
                "name": self.name,
                "status": self.status,
                "retry_count": self.retry_count,
            },
            "execution": execution,
            "error": self.error,
        }

    @property
    def title(self) -> str:
        """The change in a line."""
        return f"{self.name}: {self.status}"

    @property
    def text(self) -> str:
        """The change for people, in a few lines."""
        lines = [f"Training job {self.name} ({self.training_id}): {self.status} at {render_time(self.at)}."]
        if self.execution is not None:
            lines.append(f"Execution {self.execution}, attempt {self.attempt}.")
        if self.error is not None:
            lines += ["", self.error]
        return "\n".join(lines)


class NotificationState(StrEnum):
    """How far a notification is."""

    #: to be sent, for the first time or again
    WAITING = "waiting"
    #: its channel took it
    SENT = "sent"
    #: given up
    DEAD = "dead"


class Notification(Value):
    """One change of a status, told to one channel."""

    id: str
    """Opaque; the same at every try, so that a receiver can tell a repetition."""
    state: NotificationState = NotificationState.WAITING
    """How far it is."""
    rule: Rule
    """Whom it is for, with its secrets."""
    change: StatusChange
    """What is told."""
    attempts: int = 0
    """Tries so far."""
    next_at: Time | None
    """Not to be tried before this moment; None: not any more."""
    lease_token: str | None = None
    """Held by whoever sends it, until `next_at`."""
    last_error: str | None = None
    """Why the last try failed."""
    created_at: Time
    """When it was written down."""
    sent_at: Time | None = None
    """When its channel took it."""

    @property
    def channel(self) -> str:
        """Its channel as it may be shown; what looks alike shares a place among those that are sent at once."""
        return shown(self.rule.channel)


def shown(channel: str) -> str:
    """A channel without its secrets: a name as it is, of a webhook the host, of an apprise URL the scheme."""
    scheme, is_url, rest = channel.partition("://")
    if not is_url:
        return channel
    if scheme.lower().removeprefix("slack+") not in ("http", "https"):
        return f"{scheme}://{MASK}"
    host = rest.split("/")[0].split("?")[0].split("#")[0].rpartition("@")[2]
    return f"{scheme}://{host}/{MASK}"
