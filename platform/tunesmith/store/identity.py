"""Queries on users and their tokens. Hashes go in; only that of a password comes out, to be compared."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, delete, or_, select, update

from tunesmith.domain import Token, User, utcnow
from tunesmith.errors import UserNotFound
from tunesmith.store.grants import GrantQueries
from tunesmith.store.queries import taken
from tunesmith.store.tables import tokens, users

KEEP_EXPIRED = timedelta(days=30)
"""How long a token is listed that is not accepted any more."""
USE_NOTED = timedelta(minutes=1)
"""How exactly it is kept when a token was used last."""
USER_FIELDS, TOKEN_FIELDS = tuple(User.model_fields), tuple(Token.model_fields)
USER_COLUMNS = tuple(users.c[name] for name in USER_FIELDS)
TOKEN_COLUMNS = tuple(tokens.c[name] for name in TOKEN_FIELDS)
ACCEPTED = tokens.c.revoked_at.is_(None) & or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("now"))
HOLDER = (
    select(*USER_COLUMNS, *TOKEN_COLUMNS)
    .join_from(tokens, users, users.c.id == tokens.c.user_id)
    .where(tokens.c.token_hash == bindparam("token_hash"), ~users.c.disabled, ACCEPTED)
)


class IdentityQueries(GrantQueries):
    """Queries on users and their tokens."""

    def create_user(self, workspace_id: str, name: str, password_hash: str | None = None, **columns: Any) -> User:
        """Add one, with these `columns` too (`kind`, `email`, `issuer`, `subject`, `attributes`).

        Raises NameTaken, also when a removed one has the name.
        """
        user = User(id=str(uuid.uuid4()), workspace_id=workspace_id, name=name, created_at=utcnow(), **columns)
        row = {**user.model_dump(), "password_hash": password_hash}
        query = self.insert(users).values(row).on_conflict_do_nothing().returning(users.c.id)
        if self.connection.scalar(query) is None:
            raise taken("user", "name", name)
        return user

    def users(self) -> list[User]:
        """Everybody by name, removed ones too."""
        return [User(**row) for row in self.connection.execute(select(*USER_COLUMNS).order_by(users.c.name)).mappings()]

    def any_user(self) -> bool:
        """Whether there is somebody who may sign in."""
        return self.connection.scalar(select(users.c.id).where(~users.c.disabled).limit(1)) is not None

    def user(self, name: str) -> User:
        """The one of this name, removed or not. Raises UserNotFound."""
        row = self.connection.execute(select(*USER_COLUMNS).where(users.c.name == name)).mappings().first()
        if row is None:
            raise UserNotFound(f"There is no user {name!r}", user=name)
        return User(**row)

    def user_known_as(self, issuer: str, subject: str) -> User | None:
        """Who is called so by an OpenID provider or an issuer of JWTs, removed or not."""
        query = select(*USER_COLUMNS).where(users.c.issuer == issuer, users.c.subject == subject)
        row = self.connection.execute(query).mappings().first()
        return None if row is None else User(**row)

    def credentials(self, name: str, hold: bool = False) -> tuple[User, str] | None:
        """Who may sign in under a name, and the hash of the password; `hold`: nobody changes them in this transaction.

        None when there is no such user, it was removed, or has no password.
        """
        able = ~users.c.disabled & users.c.password_hash.is_not(None)
        query = select(*USER_COLUMNS, users.c.password_hash).where(users.c.name == name, able)
        row = self.connection.execute(query.with_for_update() if hold else query).first()
        return None if row is None else (User(**dict(zip(USER_FIELDS, row, strict=False))), str(row.password_hash))

    def change_user(self, user_id: str, **columns: Any) -> None:
        """Change a user: `password_hash`, `disabled`, `email`, `attributes` or `workspace_id`."""
        self.connection.execute(update(users).where(users.c.id == user_id).values(columns))

    def create_token(
        self,
        user_id: str,
        name: str,
        prefix: str,
        token_hash: str,
        expires_at: datetime | None = None,
        scopes: Sequence[str] | None = None,
        kind: Literal["token", "cookie"] = "token",
    ) -> Token:
        """Note a token by its hash. Those of the user that expired, or were revoked, long ago are forgotten."""
        self._forget_tokens(user_id)
        token = Token(
            id=str(uuid.uuid4()),
            user_id=user_id,
            name=name,
            prefix=prefix,
            kind=kind,
            scopes=None if scopes is None else tuple(scopes),
            created_at=utcnow(),
            expires_at=expires_at,
        )
        self.connection.execute(tokens.insert(), {**token.model_dump(), "token_hash": token_hash})
        return token

    def tokens(self, user_id: str) -> list[Token]:
        """All tokens of a user, newest first; those that are not accepted any more are among them for a month."""
        query = select(*TOKEN_COLUMNS).where(tokens.c.user_id == user_id)
        rows = self.connection.execute(query.order_by(tokens.c.created_at.desc(), tokens.c.id.desc()))
        return [Token(**row) for row in rows.mappings()]

    def token_holder(self, token_hash: str) -> tuple[User, Token] | None:
        """Whose token it is; None unless it is accepted: known, not expired, not revoked, its user not removed."""
        row = self.connection.execute(HOLDER, {"token_hash": token_hash, "now": utcnow()}).first()
        if row is None:
            return None
        cut = len(USER_FIELDS)
        user = User(**dict(zip(USER_FIELDS, row[:cut], strict=True)))
        return user, Token(**dict(zip(TOKEN_FIELDS, row[cut:], strict=True)))

    def note_token_use(self, token_id: str) -> None:
        """Write down that a token is used, unless that was done in the last minute."""
        now = utcnow()
        stale = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < now - USE_NOTED)
        self.connection.execute(update(tokens).where(tokens.c.id == token_id, stale).values(last_used_at=now))

    def revoke_tokens(self, user_id: str, ids: Sequence[str] | None = None) -> list[Token]:
        """Take back tokens of a user, these or all; those that it took back."""
        query = update(tokens).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
        if ids is not None:
            query = query.where(tokens.c.id.in_(ids))
        revoked = self.connection.execute(query.values(revoked_at=utcnow()).returning(*TOKEN_COLUMNS))
        return [Token(**row) for row in revoked.mappings()]

    def _forget_tokens(self, user_id: str) -> None:
        ended = utcnow() - KEEP_EXPIRED
        over = or_(tokens.c.expires_at < ended, tokens.c.revoked_at < ended)
        self.connection.execute(delete(tokens).where(tokens.c.user_id == user_id, over))
