"""Secrets in AWS Secrets Manager, as `<prefix>/<workspace>/<name>`.

Credentials and region are found as boto3 finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tunesmith.domain import Secret
from tunesmith.domain.secret import SECRET_NAME
from tunesmith.errors import SecretNotFound, SecretsUnavailable
from tunesmith.services.secrets import missing
from tunesmith.store import Store

CREATED_BY = "tunesmith:created_by"
"""The tag that says who gave a secret its value."""


@cache
def client() -> Any:
    """A client of the region in force; safe to share between threads."""
    settings = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    with _translated(""):
        return boto3.client("secretsmanager", config=settings)


class AwsVault:
    """The secrets under a prefix; those that somebody made there by other means are among them."""

    def __init__(self, store: Store, aws: Any, prefix: str) -> None:
        self._store, self._aws, self._prefix = store, aws, prefix.strip("/")

    def secrets(self, workspace_id: str) -> list[Secret]:
        """See Vault."""
        root = self._id(workspace_id, "")
        pages = self._aws.get_paginator("list_secrets")
        with _translated(""):
            found = [
                _secret(entry, entry["Name"].removeprefix(root))
                for page in pages.paginate(Filters=[{"Key": "name", "Values": [root]}])
                for entry in page["SecretList"]
                if entry["Name"].startswith(root) and SECRET_NAME.fullmatch(entry["Name"].removeprefix(root))
            ]
        return sorted(found, key=lambda secret: secret.name)

    def put(self, workspace_id: str, name: str, value: str, created_by: str | None) -> Secret:
        """See Vault."""
        where, tags = self._id(workspace_id, name), [{"Key": CREATED_BY, "Value": created_by or ""}]
        with _translated(name):
            try:
                self._aws.create_secret(Name=where, SecretString=value, Tags=tags)
            except self._aws.exceptions.ResourceExistsException:
                self._aws.put_secret_value(SecretId=where, SecretString=value)
                self._aws.tag_resource(SecretId=where, Tags=tags)
            return _secret(self._aws.describe_secret(SecretId=where), name)

    def remove(self, workspace_id: str, name: str) -> None:
        """See Vault. It is gone at once: AWS would keep the name for 30 days."""
        where = self._id(workspace_id, name)
        with _translated(name):
            self._aws.describe_secret(SecretId=where)  # to delete what is not there is no error
            self._aws.delete_secret(SecretId=where, ForceDeleteWithoutRecovery=True)

    def values(self, workspace_id: str, names: Collection[str]) -> dict[str, str]:
        """See Vault."""
        return {name: self._value(self._id(workspace_id, name), name) for name in names}

    def _value(self, where: str, name: str) -> str:
        with _translated(name):
            found = self._aws.get_secret_value(SecretId=where)
        if "SecretString" not in found:
            raise SecretNotFound(f"The secret {name!r} is no text in AWS Secrets Manager, but bytes", secret=name)
        return str(found["SecretString"])

    def _id(self, workspace_id: str, name: str) -> str:
        with self._store.read() as tx:
            return f"{self._prefix}/{tx.workspace_of(workspace_id).name}/{name}"


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Let what AWS refuses be our errors; its messages hold names, and never a value."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise missing(name) from error
        raise SecretsUnavailable(f"AWS Secrets Manager refuses: {error}") from error
    except BotoCoreError as error:
        raise SecretsUnavailable(f"AWS Secrets Manager cannot be reached: {error}") from error


def _secret(entry: dict[str, Any], name: str) -> Secret:
    tags = {tag["Key"]: tag["Value"] for tag in entry.get("Tags", ())}
    changed = entry.get("LastChangedDate") or entry["CreatedDate"]
    return Secret(
        name=name, created_by=tags.get(CREATED_BY) or None, created_at=entry["CreatedDate"], updated_at=changed
    )
