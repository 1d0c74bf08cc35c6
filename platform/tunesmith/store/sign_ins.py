"""Queries on OpenID sign-ins that are under way."""

from __future__ import annotations

from sqlalchemy import delete

from tunesmith.domain import SignIn, utcnow
from tunesmith.store.queries import Queries
from tunesmith.store.tables import sign_ins


class SignInQueries(Queries):
    """Queries on OpenID sign-ins that are under way."""

    def add_sign_in(self, sign_in: SignIn) -> None:
        """Note one, and forget those that nobody finished."""
        self.connection.execute(delete(sign_ins).where(sign_ins.c.expires_at < utcnow()))
        self.connection.execute(sign_ins.insert(), sign_in.model_dump())

    def take_sign_in(self, state: str) -> SignIn | None:
        """Take one out; None when it was taken, or has expired, or never was."""
        query = delete(sign_ins).where(sign_ins.c.state == state).returning(sign_ins)
        row = self.connection.execute(query).mappings().first()
        found = None if row is None else SignIn(**row)
        return None if found is None or found.expires_at < utcnow() else found
