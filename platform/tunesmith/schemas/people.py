"""Users, groups, workspaces and what they are granted, on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from tunesmith.domain import Role, Time
from tunesmith.domain.identity import MAX_PASSWORD, Quotas, User
from tunesmith.schemas.base import Answer, Request

Name = Annotated[str, Field(min_length=1, max_length=100, examples=["ada"])]
"""What a user, a group or a workspace is called."""
Subject = Annotated[str, Field(pattern=r"^(user|group):.", max_length=106, examples=["user:ada"])]
"""Who is granted something."""
Attributes = Annotated[dict[str, tuple[str, ...]], Field(max_length=20, examples=[{"region": ["NA", "EU"]}])]
"""By attribute, the values that model runs may have."""
Limit = Annotated[int, Field(ge=0, le=2**53)]


class UserRequest(Request):
    """A user, or a program, to be added, or brought back."""

    name: Name
    """Unique: letters, digits and `._@+-`."""
    kind: Literal["user", "service"] = "user"
    """A person, or a program, which has no password."""
    password: SecretStr | None = Field(default=None, max_length=MAX_PASSWORD)
    """Of a person who does not sign in elsewhere."""
    email: str | None = Field(default=None, max_length=320)
    """An address."""
    attributes: Attributes = {}
    """By attribute, the values that the user's model runs may have; empty: any."""
    workspace: Name = "main"
    """The workspace that the user works in where a request names none."""
    role: Role | None = "editor"
    """The role there; null: none yet."""

    @model_validator(mode="after")
    def _programs_have_no_password(self) -> UserRequest:
        if self.kind == "service" and self.password is not None:
            raise ValueError("a service account has no password; make a token for it")
        return self


class UserChange(Request):
    """What may change in a user; fields that are left out stay."""

    password: SecretStr | None = Field(default=None, max_length=MAX_PASSWORD)
    """Another password; all tokens of the user are revoked."""
    email: str | None = Field(default=None, max_length=320)
    """Another address."""
    attributes: Attributes = {}
    """Other values that the user's model runs may have."""
    workspace: Name | None = None
    """Another workspace that the user works in where a request names none."""


class UserAnswer(Answer):
    """A user, or a program."""

    name: str
    """Unique; what `submitted_by` says."""
    kind: Literal["user", "service"]
    """A person, or a program."""
    email: str | None
    """An address."""
    attributes: Mapping[str, tuple[str, ...]]
    """By attribute, the values that the user's model runs may have; empty: any."""
    disabled: bool
    """Whether the user was removed."""
    created_at: Time
    """When the user was added."""
    roles: Mapping[str, Role]
    """By workspace, the user's own role; those of the user's groups are not among them."""

    @classmethod
    def of(cls, user: User, roles: Mapping[str, Role]) -> UserAnswer:
        """A user with these roles."""
        return cls.model_construct(**user.model_dump(include=set(cls.model_fields)), roles=roles)


class UsersAnswer(Answer):
    """All users."""

    users: tuple[UserAnswer, ...]
    """By name; removed ones too."""


class GroupRequest(Request):
    """A group to be made."""

    name: Name
    """Unique: letters, digits and `._@+-`."""


class GroupAnswer(Answer):
    """Users that are granted roles together."""

    name: str
    """Unique."""
    members: tuple[str, ...]
    """The names of its users."""
    created_at: Time
    """When it was made."""


class GroupsAnswer(Answer):
    """All groups."""

    groups: tuple[GroupAnswer, ...]
    """By name."""


class QuotasRequest(Request):
    """How much of what may be in a workspace; what is left out, or null, has no limit."""

    running_jobs: Limit | None = None
    """Jobs that run at once; more wait in the queue."""
    trials: Limit | None = None
    """Trials of all its experiments together."""
    storage_bytes: Limit | None = None
    """Bytes of all its datasets together."""


class WorkspaceRequest(Request):
    """A workspace to be made; whoever makes it is an admin of it."""

    name: Name
    """Unique: letters, digits and `._@+-`."""
    quotas: QuotasRequest = QuotasRequest()
    """How much may be in it."""


class WorkspaceChange(Request):
    """What may change in a workspace."""

    quotas: QuotasRequest
    """How much may be in it, instead of what was said before."""


class WorkspaceAnswer(Answer):
    """Where experiments, jobs, datasets and models are."""

    name: str
    """What the header `X-Workspace` says."""
    quotas: Quotas
    """How much may be in it."""
    created_at: Time
    """When it was made."""


class WorkspacesAnswer(Answer):
    """The workspaces that the caller has a role in; for the platform's admins all."""

    workspaces: tuple[WorkspaceAnswer, ...]
    """By name."""


class GrantRequest(Request):
    """A role to be given."""

    role: Role
    """Instead of the one before."""


class GrantAnswer(Answer):
    """A role in a workspace."""

    workspace: str
    """The workspace's name."""
    subject: str
    """`user:<name>` or `group:<name>`."""
    role: Role
    """What the subject may do there."""


class GrantsAnswer(Answer):
    """The roles in a workspace."""

    grants: tuple[GrantAnswer, ...]
    """By subject."""


class ModelGrantRequest(Request):
    """Who may run a model, besides admins."""

    subjects: tuple[Subject, ...] = Field(max_length=1000)
    """`user:<name>` or `group:<name>`; empty: everybody whose role lets run models."""


class ModelGrantsAnswer(Answer):
    """Who may run which models of a workspace, besides admins."""

    models: Mapping[str, tuple[str, ...]]
    """By model; one that is not there may be run by everybody whose role lets run models."""
