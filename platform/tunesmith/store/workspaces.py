"""Queries on workspaces."""

from __future__ import annotations

import uuid

from sqlalchemy import select

from tunesmith.domain import utcnow
from tunesmith.store.queries import Queries
from tunesmith.store.tables import workspaces

DEFAULT_WORKSPACE = "main"

DEFAULT = select(workspaces.c.id).where(workspaces.c.name == DEFAULT_WORKSPACE)


class WorkspaceQueries(Queries):
    """Queries on workspaces."""

    def default_workspace(self) -> str:
        """The id of the workspace `main`, made when it is missing (needs a write transaction then)."""
        found = self.connection.scalar(DEFAULT)
        if found is not None:
            return str(found)
        row = {"id": str(uuid.uuid4()), "name": DEFAULT_WORKSPACE, "created_at": utcnow()}
        # Two makers at once: the second one's row is dropped, and both read the first one's.
        self.connection.execute(self.insert(workspaces).on_conflict_do_nothing(), row)
        return str(self.connection.scalar(DEFAULT))
