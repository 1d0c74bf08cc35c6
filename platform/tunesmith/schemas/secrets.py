"""Requests and answers about secrets; no answer holds a value."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr, field_validator

from tunesmith.domain import Secret, Time
from tunesmith.domain.secret import MAX_SECRET
from tunesmith.schemas.base import Answer, Request

EXAMPLE: dict[str, Any] = {
    "name": "wandb",
    "created_by": "ada",
    "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": "2026-01-31T12:00:00.000Z",
}


class SecretRequest(Request):
    """A secret's value."""

    value: SecretStr = Field(min_length=1, max_length=MAX_SECRET)
    """What trials get that name the secret: 65,536 bytes at most. Nobody can read it back."""

    @field_validator("value")
    @classmethod
    def _storable(cls, value: SecretStr) -> SecretStr:
        try:
            size = len(value.get_secret_value().encode())
        except UnicodeEncodeError:
            raise ValueError("it holds a lone surrogate, which is no character") from None
        if size > MAX_SECRET:
            raise ValueError(f"it has {size} bytes; {MAX_SECRET} are the most")
        return value


class SecretAnswer(Answer):
    """A secret, without its value."""

    name: str
    """What tools call it."""
    created_by: str | None
    """Who gave it its value; null: not known."""
    created_at: Time
    """When it was made."""
    updated_at: Time
    """When it was given its value."""

    @classmethod
    def of(cls, secret: Secret) -> SecretAnswer:
        """The answer for a secret."""
        return cls.model_construct(**secret.model_dump())


class SecretList(Answer):
    """The secrets of a workspace."""

    secrets: tuple[SecretAnswer, ...]
    """By name."""
