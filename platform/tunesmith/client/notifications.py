"""`client.notifications`: what was told to whom, another try of what was given up, and a try of a channel."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tunesmith.client.answers import paged, parsed
from tunesmith.client.connection import Connection
from tunesmith.schemas.notifications import ChannelTested, NotificationAnswer

PATH = "/notifications"


class Notifications:
    """The notifications of a platform's training jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, state: str | None = None, limit: int | None = None) -> Iterator[NotificationAnswer]:
        """Those that are `waiting`, `sent` or `dead` (all by default), newest first, at most `limit`."""
        return paged(self._connection, PATH, "notifications", NotificationAnswer, limit, state=state)

    def resend(self, notification_id: str) -> NotificationAnswer:
        """Let a dead one be tried anew, under its id.

        Raises:
            NotificationNotFound: there is no such notification.
            StateForbids: it is not dead.
        """
        body = self._connection.post(f"{PATH}/{quote(notification_id, safe='')}/resend")
        return parsed(self._connection, NotificationAnswer, body)

    def test(self, channel: str, secret: str | None = None) -> ChannelTested:
        """Send a test message now; `channel` is a configured one's name, or a URL; `secret` signs a webhook's.

        Raises:
            InvalidChannel: there is none of that name, or nothing can be sent to the URL.
            NotSent: the channel cannot be reached, or refused it.
        """
        body = self._connection.post(f"{PATH}/test", {"channel": channel, "secret": secret})
        return parsed(self._connection, ChannelTested, body)
