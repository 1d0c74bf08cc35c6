"""`client.secrets`: the named secrets of a workspace, which tools are given by their names."""

from __future__ import annotations

from urllib.parse import quote

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.schemas.secrets import SecretAnswer, SecretList

PATH = "/api/v1/secrets"


class Secrets:
    """The secrets of a workspace. Their values can be set, and not be read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> tuple[SecretAnswer, ...]:
        """All of them, by name."""
        return parsed(self._connection, SecretList, self._connection.get(PATH)).secrets

    def set(self, name: str, value: str) -> SecretAnswer:
        """Keep a value under a name, in the place of the one before. Raises InvalidBody, BadRequest."""
        body = self._connection.put(f"{PATH}/{quote(name, safe='')}", {"value": value})
        return parsed(self._connection, SecretAnswer, body)

    def remove(self, name: str) -> None:
        """Forget one. Raises SecretNotFound."""
        self._connection.delete(f"{PATH}/{quote(name, safe='')}")
