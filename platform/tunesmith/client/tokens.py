"""`client.tokens`: the tokens of whoever asks: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.schemas.identity import NewTokenAnswer, TokenInfo, TokensAnswer

PATH = "/v1/auth/tokens"


class Tokens:
    """The tokens of whoever the client's own token belongs to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> tuple[TokenInfo, ...]:
        """All of them, newest first; those that ended are there for a month."""
        return parsed(self._connection, TokensAnswer, self._connection.get(PATH)).tokens

    def create(
        self, name: str, scopes: Sequence[str] | None = None, expires_in_days: int | None = 90
    ) -> NewTokenAnswer:
        """Make one; `access_token` of the answer is shown this once.

        `scopes`: what it may be used for, `read`, `run`, `write`, `admin`, `model:<id>:run`; None: whatever its user
        may do. `expires_in_days`: None: it lasts until it is revoked.

        Raises:
            InvalidParameter: a scope is none.
            Forbidden: the client's own token has scopes.
            UserNotFound: the client has the platform's key, which is no user's.
        """
        body = {"name": name, "scopes": scopes, "expires_in_days": expires_in_days}
        return parsed(self._connection, NewTokenAnswer, self._connection.post(PATH, body))

    def revoke(self, token: str) -> None:
        """Take one back, by its id or how it begins; it is refused within 5 seconds. Raises TokenNotFound."""
        self._connection.delete(f"{PATH}/{quote(token, safe='')}")
