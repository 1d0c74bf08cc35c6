"""Reading the audit log: whose records somebody sees, and the log as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunesmith.domain.identity import Principal
from tunesmith.store import Store
from tunesmith.store.audit import AuditFilter

ROWS = 1000
"""Records that are read at once for an export."""


def visible(asker: Principal, which: AuditFilter) -> AuditFilter:
    """The same records, but only those that the asker may see: of the own workspace, or, on the platform, of all."""
    return which if asker.platform_admin else replace(which, workspace_id=asker.workspace_id or "")


def json_lines(store: Store, which: AuditFilter) -> Iterator[bytes]:
    """The records, oldest first, one JSON object a line; each read takes the next few. Raises DatabaseUnavailable."""
    cursor: str | None = ""
    while cursor is not None:
        with store.read() as tx:
            page = tx.audit(which, cursor, ROWS, oldest_first=True)
        cursor = page.next_cursor
        if page.items:
            yield "".join(f"{record.model_dump_json()}\n" for record in page.items).encode()
