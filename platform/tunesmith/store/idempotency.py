"""Queries on idempotency keys: the first answer to a request, given again to its repetition."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from tunesmith.domain import utcnow
from tunesmith.errors import IdempotencyMismatch
from tunesmith.store.queries import Queries
from tunesmith.store.tables import idempotency_keys as keys

KEEP = timedelta(days=2)
"""How long a key is remembered."""


class IdempotencyQueries(Queries):
    """Queries on idempotency keys."""

    def first_answer(self, scope: str, key: str, body_hash: str) -> tuple[int, Any] | None:
        """(status, body) of the first answer to this request, or None.

        Raises:
            IdempotencyMismatch: the key came with another body.
        """
        query = select(keys).where(keys.c.scope == scope, keys.c.key == key, keys.c.created_at > utcnow() - KEEP)
        row = self.connection.execute(query).first()
        if row is None:
            return None
        if row.body_hash != body_hash:
            raise IdempotencyMismatch(key=key)
        return row.status, row.answer

    def reserve_key(self, scope: str, key: str, body_hash: str) -> bool:
        """Hold the key in this transaction; a second request with it waits here until the first one's commit.

        False: that other request kept an answer meanwhile; ask `first_answer` for it.
        """
        row = {"scope": scope, "key": key, "body_hash": body_hash, "status": 0, "answer": {}, "created_at": utcnow()}
        self.connection.execute(delete(keys).where(keys.c.created_at <= utcnow() - KEEP))
        insert = self.insert(keys).values(row).on_conflict_do_nothing().returning(keys.c.key)
        return self.connection.execute(insert).first() is not None

    def keep_answer(self, scope: str, key: str, status: int, answer: Mapping[str, Any] | Any) -> None:
        """Remember the answer under the reserved key."""
        query = keys.update().where(keys.c.scope == scope, keys.c.key == key).values(status=status, answer=answer)
        self.connection.execute(query)
