"""Secrets of workspaces: kept encrypted in the database, or by AWS Secrets Manager."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from tunesmith.domain import Secret
from tunesmith.errors import SecretNotFound, SecretUnusable
from tunesmith.services.sealing import Keyring, keyring
from tunesmith.settings import Settings
from tunesmith.store import Store


class Vault(Protocol):
    """Where the secrets of workspaces are. A value goes in, and comes out for a trial's environment alone.

    Any method may raise SecretsUnavailable or DatabaseUnavailable.
    """

    def secrets(self, workspace_id: str) -> list[Secret]:
        """Those of a workspace, by name, without their values."""
        ...

    def put(self, workspace_id: str, name: str, value: str, created_by: str | None) -> Secret:
        """Keep one, in the place of the one that has the name."""
        ...

    def remove(self, workspace_id: str, name: str) -> None:
        """Forget one. Raises SecretNotFound."""
        ...

    def values(self, workspace_id: str, names: Collection[str]) -> dict[str, str]:
        """Name -> value of all of these. Raises SecretNotFound, SecretUnusable."""
        ...


class DatabaseVault:
    """Secrets in the database, sealed with the platform's key, each as that of its workspace and name."""

    def __init__(self, store: Store, keys: Keyring) -> None:
        self._store, self._keys = store, keys

    def secrets(self, workspace_id: str) -> list[Secret]:
        """See Vault."""
        with self._store.read() as tx:
            return tx.secrets(workspace_id)

    def put(self, workspace_id: str, name: str, value: str, created_by: str | None) -> Secret:
        """See Vault."""
        sealed = self._keys.seal(value, _purpose(workspace_id, name))
        with self._store.write() as tx:
            return tx.put_secret(workspace_id, name, sealed, created_by)

    def remove(self, workspace_id: str, name: str) -> None:
        """See Vault."""
        with self._store.write() as tx:
            tx.remove_secret(workspace_id, name)

    def values(self, workspace_id: str, names: Collection[str]) -> dict[str, str]:
        """See Vault."""
        with self._store.read() as tx:
            found = tx.ciphertexts(workspace_id, names)
        return {name: self._opened(workspace_id, name, found.get(name)) for name in names}

    def _opened(self, workspace_id: str, name: str, sealed: str | None) -> str:
        if sealed is None:
            raise missing(name)
        try:
            return self._keys.open(sealed, _purpose(workspace_id, name))
        except SecretUnusable as error:
            raise SecretUnusable(
                f"The secret {name!r} cannot be read with the key in force (TUNESMITH_SECRET_KEY, or its file); "
                "set it again, or bring the key back",
                secret=name,
            ) from error


def open_vault(settings: Settings, store: Store) -> Vault:
    """The vault of the settings. Raises InvalidSettings: there is no key to be had."""
    if settings.secret_backend == "aws":
        from tunesmith.services.aws_secrets import AwsVault, client  # boto3 takes its time, and few need it

        return AwsVault(store, client(), settings.secret_prefix)
    return DatabaseVault(store, keyring(settings))


def missing(name: str) -> SecretNotFound:
    """The error about a secret that is not there."""
    return SecretNotFound(
        f"There is no secret {name!r} in this workspace; `tunesmith secret set {name}` makes one", secret=name
    )


def _purpose(workspace_id: str, name: str) -> str:
    return f"{workspace_id}/{name}"
