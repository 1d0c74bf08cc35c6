"""Requests and answers about who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from tunesmith.domain import Principal, Role, Time, Token
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


class TokenRequest(Request):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=200)
    """What it is for."""
    scopes: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=50, examples=[["read", "run"]])
    """What it may be used for: `read`, `run`, `write`, `admin`, `model:<id>:run`; null: whatever its user may do."""
    expires_in_days: int | None = Field(default=90, ge=1, le=3650)
    """How long it lasts; null: until it is revoked."""


class TokenInfo(Answer):
    """What is known of a token."""

    id: str
    """A UUID."""
    name: str
    """What it is for."""
    prefix: str
    """How it begins, to tell one from another."""
    kind: Literal["token", "cookie"]
    """Whether a program sends it, or a browser that signed in."""
    scopes: tuple[str, ...] | None
    """What it may be used for; null: whatever its user may do."""
    created_at: Time
    """When it was made."""
    expires_at: Time | None
    """When it stops being accepted; null: never."""
    last_used_at: Time | None
    """When it was used last, to a minute."""
    revoked_at: Time | None
    """When it was taken back."""

    @classmethod
    def of(cls, token: Token) -> TokenInfo:
        """What is known of this one."""
        return cls.model_construct(**token.model_dump(exclude={"user_id"}))


class TokensAnswer(Answer):
    """The tokens of a user."""

    tokens: tuple[TokenInfo, ...]
    """Newest first; those that are not accepted any more are among them for a month."""


class NewTokenAnswer(TokenAnswer):
    """A token that was made; it is shown this once."""

    token: TokenInfo
    """What is known of it."""

    @classmethod
    def of(cls, secret: str, token: Token) -> NewTokenAnswer:
        """This one."""
        return cls.model_construct(access_token=secret, expires_at=token.expires_at, token=TokenInfo.of(token))


class MeAnswer(Answer):
    """Who asks, and what that one may do."""

    name: str
    """A user's name, `api-key` or `anonymous`."""
    kind: Literal["user", "service", "key", "anonymous"]
    """A person, a program, whoever holds the platform's key, or nobody in particular."""
    workspace: str
    """The workspace that the request is about."""
    role: Role | None
    """The role there."""
    scopes: tuple[str, ...]
    """What may be done there, with what was shown."""
    platform_admin: bool
    """Whether it administrates the platform."""
    attributes: Mapping[str, tuple[str, ...]]
    """By attribute, the values that model runs must have; empty: any."""
    workspaces: Mapping[str, Role]
    """The role in every workspace that it has one in."""
    csrf_token: str | None
    """What a page sends as `X-CSRF-Token`; null without a session cookie."""

    @classmethod
    def of(cls, principal: Principal, workspaces: Mapping[str, Role], csrf_token: str | None = None) -> MeAnswer:
        """This one."""
        known = {name: getattr(principal, name) for name in cls.model_fields if hasattr(principal, name)}
        scopes = tuple(sorted(principal.scopes))
        return cls.model_construct(**{**known, "scopes": scopes, "workspaces": workspaces, "csrf_token": csrf_token})
