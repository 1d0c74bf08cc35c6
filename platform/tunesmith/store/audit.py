"""Queries on the audit log, which is only ever added to: triggers in the database see to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from tunesmith.domain import Page
from tunesmith.domain.audit import AuditRecord, Deed, DeedHere
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.store.queries import Queries
from tunesmith.store.tables import audit, workspaces

COLUMNS = (*(audit.c[name] for name in ("id", *Deed.model_fields)), workspaces.c.name.label("workspace"))
ADD = insert(audit)


@dataclass(frozen=True)
class AuditFilter:
    """Which records; what is None does not matter."""

    workspace_id: str | None = None
    """Of this workspace."""
    principal: str | None = None
    """By whom, the name."""
    action: str | None = None
    """Which operation: its method and path."""
    since: datetime | None = None
    """Not before this moment."""
    until: datetime | None = None
    """Before this moment."""


class AuditQueries(Queries):
    """Queries on the audit log."""

    def add_audit(self, deeds: Sequence[DeedHere]) -> None:
        """Write records."""
        self.connection.execute(ADD, [deed.model_dump() for deed in deeds])

    def audit(
        self, which: AuditFilter, cursor: str | None = None, limit: int = 100, oldest_first: bool = False
    ) -> Page[AuditRecord]:
        """A page of the log, newest first unless `oldest_first`. Raises InvalidCursor."""
        query = select(*COLUMNS).join_from(audit, workspaces, audit.c.workspace_id == workspaces.c.id, isouter=True)
        for column in ("workspace_id", "principal", "action"):
            if (wanted := getattr(which, column)) is not None:
                query = query.where(audit.c[column] == wanted)
        if which.since is not None:
            query = query.where(audit.c.at >= which.since)
        if which.until is not None:
            query = query.where(audit.c.at < which.until)
        if cursor:
            (edge,) = decode_cursor(cursor, int)
            query = query.where(audit.c.id > edge if oldest_first else audit.c.id < edge)
        query = query.order_by(audit.c.id if oldest_first else audit.c.id.desc()).limit(limit + 1)
        found = [AuditRecord(**row) for row in self.connection.execute(query).mappings()]
        more = len(found) > limit
        return Page(found[:limit], encode_cursor(found[limit - 1].id) if more else None)
