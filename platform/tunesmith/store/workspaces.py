"""Queries on workspaces."""

from __future__ import annotations

import uuid

from sqlalchemy import select, update

from tunesmith.domain import Quotas, Workspace, utcnow
from tunesmith.errors import WorkspaceNotFound
from tunesmith.store.queries import Queries, taken
from tunesmith.store.tables import workspaces

DEFAULT_WORKSPACE = "main"

DEFAULT = select(workspaces.c.id).where(workspaces.c.name == DEFAULT_WORKSPACE)


class WorkspaceQueries(Queries):
    """Queries on workspaces."""

    def workspace(self) -> str:
        """The id of the workspace in which something new is made: the transaction's, or else the default one."""
        return self.default_workspace() if self.workspace_id is None else self.workspace_id

    def default_workspace(self) -> str:
        """The id of the workspace `main`, made when it is missing (needs a write transaction then)."""
        found = self.connection.scalar(DEFAULT)
        if found is not None:
            return str(found)
        row = {"id": str(uuid.uuid4()), "name": DEFAULT_WORKSPACE, "created_at": utcnow()}
        # Two makers at once: the second one's row is dropped, and both read the first one's.
        self.connection.execute(self.insert(workspaces).on_conflict_do_nothing(), row)
        return str(self.connection.scalar(DEFAULT))

    def create_workspace(self, name: str) -> Workspace:
        """Make an empty one without quotas. Raises NameTaken."""
        workspace = Workspace(id=str(uuid.uuid4()), name=name, created_at=utcnow())
        row = workspace.model_dump()
        query = self.insert(workspaces).values(row).on_conflict_do_nothing().returning(workspaces.c.id)
        if self.connection.scalar(query) is None:
            raise taken("workspace", "name", name)
        return workspace

    def workspaces(self) -> list[Workspace]:
        """All workspaces by name."""
        rows = self.connection.execute(select(workspaces).order_by(workspaces.c.name)).mappings()
        return [Workspace(**row) for row in rows]

    def workspace_called(self, name: str) -> Workspace:
        """The one of this name. Raises WorkspaceNotFound."""
        row = self.connection.execute(select(workspaces).where(workspaces.c.name == name)).mappings().first()
        if row is None:
            raise WorkspaceNotFound(f"There is no workspace {name!r}", workspace=name)
        return Workspace(**row)

    def workspace_of(self, workspace_id: str) -> Workspace:
        """The one of this id, which there is."""
        found = self.connection.execute(select(workspaces).where(workspaces.c.id == workspace_id))
        return Workspace(**found.mappings().one())

    def quotas(self, workspace_id: str) -> Quotas:
        """How much may be in a workspace."""
        found = self.connection.scalar(select(workspaces.c.quotas).where(workspaces.c.id == workspace_id))
        return Quotas.model_validate(found)

    def set_quotas(self, workspace_id: str, quotas: Quotas) -> None:
        """Say how much may be in a workspace; what is there already stays."""
        row = {"quotas": quotas.model_dump(exclude_none=True)}
        self.connection.execute(update(workspaces).where(workspaces.c.id == workspace_id).values(row))
