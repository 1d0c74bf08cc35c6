"""Queries on secrets: what goes in and comes out was encrypted before, and is decrypted after."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select

from tunesmith.domain import Secret, utcnow
from tunesmith.errors import SecretNotFound
from tunesmith.store.queries import Queries
from tunesmith.store.tables import secrets

COLUMNS = tuple(secrets.c[name] for name in Secret.model_fields)


class SecretQueries(Queries):
    """Queries on the secrets of workspaces."""

    def secrets(self, workspace_id: str) -> list[Secret]:
        """Those of a workspace, by name."""
        query = select(*COLUMNS).where(secrets.c.workspace_id == workspace_id).order_by(secrets.c.name)
        return [Secret(**row) for row in self.connection.execute(query).mappings()]

    def ciphertexts(self, workspace_id: str, names: Collection[str]) -> Mapping[str, str]:
        """Name -> ciphertext, of those of these that there are."""
        here = secrets.c.workspace_id == workspace_id
        query = select(secrets.c.name, secrets.c.ciphertext).where(here, secrets.c.name.in_(names))
        return {row.name: row.ciphertext for row in self.connection.execute(query)}

    def put_secret(self, workspace_id: str, name: str, ciphertext: str, created_by: str | None) -> Secret:
        """Keep one, in the place of the one that has the name."""
        now = utcnow()
        changes = {"ciphertext": ciphertext, "created_by": created_by, "updated_at": now}
        row = {"workspace_id": workspace_id, "name": name, "created_at": now, **changes}
        query = (
            self.insert(secrets)
            .values(row)
            .on_conflict_do_update(index_elements=["workspace_id", "name"], set_=changes)
        )
        return Secret(**self.connection.execute(query.returning(*COLUMNS)).mappings().one())

    def remove_secret(self, workspace_id: str, name: str) -> None:
        """Forget one. Raises SecretNotFound."""
        query = delete(secrets).where(secrets.c.workspace_id == workspace_id, secrets.c.name == name)
        if self.connection.scalar(query.returning(secrets.c.name)) is None:
            raise SecretNotFound(f"There is no secret {name!r} in this workspace", secret=name)
