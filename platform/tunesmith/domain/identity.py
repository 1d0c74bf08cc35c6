"""Who asks: principals, users, groups and their tokens, and what roles let them do. No value here holds a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from tunesmith.domain.value import Time, Value

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
"""What a user, a group or a workspace may be called; an e-mail address is such a name."""
ANONYMOUS, STATIC_KEY = "anonymous", "api-key"
"""Who asks without signing in, and who holds the platform's key: no user is called so."""
MIN_PASSWORD, MAX_PASSWORD = 8, 1000
"""Characters of a password, at least and at most."""
MAIN = "main"
"""The workspace that is always there; its admins administrate the platform."""

Role = Literal["viewer", "runner", "editor", "admin"]
"""What somebody may do in a workspace; each may also do what those before it may."""
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES = ("read", "run", "write", "admin")
"""What an operation asks for. One model may be named too, by `model:<id>:run`."""
ROLE_SCOPES: Mapping[Role, frozenset[str]] = {role: frozenset(SCOPES[: at + 1]) for at, role in enumerate(ROLES)}
MODEL_SCOPE = re.compile(r"model:[^\s:]{1,200}:run")
"""The scope of one model's runs."""


class User(Value):
    """Somebody, or a program, that may show a token."""

    id: str
    """A UUID."""
    workspace_id: str
    """The workspace that the user works in where a request names none."""
    name: str
    """Unique; what `submitted_by` says."""
    kind: Literal["user", "service"] = "user"
    """A person, or a program (a service account), which has no password."""
    email: str | None = None
    """The address that an OpenID provider gave."""
    issuer: str | None = None
    """The OpenID provider, or issuer of JWTs, that knows the user."""
    subject: str | None = None
    """The user's `sub` there."""
    attributes: dict[str, tuple[str, ...]] = {}
    """By attribute (`region`, `project`), the values that the user's model runs may have; without one: any."""
    disabled: bool = False
    """Whether the user was removed: none of the tokens is accepted, and no password."""
    created_at: Time
    """When the user was added."""


class Group(Value):
    """Users that are granted roles together."""

    id: str
    """A UUID."""
    name: str
    """Unique."""
    members: tuple[str, ...] = ()
    """The names of its users, sorted."""
    created_at: Time
    """When it was made."""


class Quotas(Value):
    """How much of what a workspace may have; None: as much as it likes."""

    running_jobs: int | None = None
    """Jobs that run at once; more wait in the queue."""
    trials: int | None = None
    """Trials of all its experiments together."""
    storage_bytes: int | None = None
    """Bytes of all its datasets together."""


class Workspace(Value):
    """Where experiments, jobs, datasets and models are; nothing of it is seen from another one."""

    id: str
    """A UUID."""
    name: str
    """Unique; what the header `X-Workspace` says."""
    quotas: Quotas = Quotas()
    """How much may be in it."""
    created_at: Time
    """When it was made."""


class Grant(Value):
    """A role that somebody has in a workspace."""

    workspace: str
    """The workspace's name."""
    subject: str
    """Who has it, by name: `user:ada` or `group:analysts`."""
    role: Role
    """What the subject may do there."""


class Token(Value):
    """A token of a user. What is sent is known to its holder alone; the database has a hash of it."""

    id: str
    """A UUID."""
    user_id: str
    """Whose it is."""
    name: str
    """What it is for."""
    prefix: str
    """How it begins, to tell one from another."""
    kind: Literal["token", "cookie"] = "token"
    """Whether a program sends it, or a browser that signed in."""
    scopes: tuple[str, ...] | None = None
    """What it may be used for; None: for whatever its user may do."""
    created_at: Time
    """When it was made."""
    expires_at: Time | None
    """When it stops being accepted; None: never."""
    last_used_at: Time | None = None
    """When it was used last, to a minute."""
    revoked_at: Time | None = None
    """When it was taken back."""


class Principal(Value):
    """Who asks, and what that one may do in the workspace that the request is about."""

    name: str
    """A user's name, `api-key` or `anonymous`."""
    kind: Literal["user", "service", "key", "anonymous"]
    """Who that is: a person, a program, whoever holds the platform's key, or nobody in particular."""
    user_id: str | None = None
    """The user's id; None for a key and for nobody."""
    workspace_id: str | None = None
    """The id of the workspace that the request is about; None where nobody is signed in."""
    workspace: str = MAIN
    """Its name."""
    role: Role | None = None
    """The role there, the best one of the user's own and the groups'."""
    scopes: frozenset[str] = frozenset()
    """What may be done there: the role's scopes, cut by those of the token."""
    cut: bool = False
    """Whether the token that was shown may be used for less than its user may do; such a one makes no others."""
    attributes: dict[str, tuple[str, ...]] = {}
    """By attribute, the values that model runs must have; without one: any."""
    via: Literal["token", "cookie", "jwt", "key", "none"] = "none"
    """What was shown."""
    subjects: frozenset[str] = frozenset()
    """Who one is by id, for grants: `user:<id>` and `group:<id>` of each group."""
    platform_reader: bool = False
    """Whether it may see what is of all workspaces together: `read` in `main`, whichever the request is about."""
    platform_admin: bool = False
    """Whether it administrates the platform, as an admin of the workspace `main`, whichever the request is about."""

    def may(self, scope: str) -> bool:
        """Whether it may do what asks for this scope; `run` includes the runs of each model."""
        return scope in self.scopes or (scope.startswith("model:") and "run" in self.scopes)


NOBODY = Principal(name=ANONYMOUS, kind="anonymous")
"""Who asks without signing in."""


def is_user_name(name: str) -> bool:
    """Whether a user may be called so."""
    return USER_NAME.fullmatch(name) is not None and name.lower() not in (ANONYMOUS, STATIC_KEY)


def is_scope(scope: str) -> bool:
    """Whether there is such a scope."""
    return scope in SCOPES or MODEL_SCOPE.fullmatch(scope) is not None


def best_role(roles: Iterable[Role]) -> Role | None:
    """The one that lets do most; None of none."""
    return max(roles, key=ROLES.index, default=None)


def scopes_of(role: Role | None, cut: Iterable[str] | None = None) -> frozenset[str]:
    """What a role lets do, with a token that is `cut` to these scopes; None: it is not.

    A token may be cut to one model's runs, which the role's `run` includes.
    """
    held = ROLE_SCOPES[role] if role else frozenset[str]()
    if cut is None:
        return held
    return frozenset(scope for scope in cut if scope in held or (scope.startswith("model:") and "run" in held))
