"""Requests and answers about who asks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tunesmith.domain import Time
from tunesmith.domain.identity import MAX_PASSWORD
from tunesmith.schemas.base import Answer, Request


class SignInRequest(Request):
    """Who signs in."""

    username: str = Field(min_length=1, max_length=200)
    """The user's name."""
    password: SecretStr = Field(min_length=1, max_length=MAX_PASSWORD)
    """The user's password."""


class TokenAnswer(Answer):
    """A token; it is shown this once."""

    access_token: str
    """Send it with every request: `Authorization: Bearer <access_token>`."""
    token_type: Literal["bearer"] = "bearer"
    """How it is sent."""
    expires_at: Time | None
    """When it stops being accepted; null: never."""
