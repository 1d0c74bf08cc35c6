"""`client.audit`: who did what on the platform."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tunesmith.client.answers import paged
from tunesmith.client.connection import Connection
from tunesmith.domain.value import render_time
from tunesmith.schemas.audit import AuditAnswer

PATH = "/v1/audit"


class Audit:
    """The audit log: of the workspace, or, for admins of `main`, of the platform."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        principal: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditAnswer]:
        """Records, newest first, at most `limit`; moments without a zone are in this machine's. Raises Forbidden."""
        asked = _asked(principal, action, since, until)
        return paged(self._connection, PATH, "records", AuditAnswer, limit, **asked)

    def export(
        self,
        principal: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[str]:
        """Records as JSON, oldest first. Raises Forbidden."""
        asked = _asked(principal, action, since, until)
        with self._connection.stream(f"{PATH}.jsonl", asked, {}, None) as response:
            yield from response.iter_lines()


def _asked(principal: str | None, action: str | None, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    moments = {"from": since, "to": until}
    rendered = {name: None if moment is None else render_time(moment) for name, moment in moments.items()}
    return {"principal": principal, "action": action, **rendered}
