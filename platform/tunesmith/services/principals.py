"""Who may do what: a user's, or an operator's, roles in the workspace that a request is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunesmith.domain import Principal, User
from tunesmith.domain.identity import ANONYMOUS, MAIN, STATIC_KEY, best_role, scopes_of
from tunesmith.errors import WorkspaceNotFound
from tunesmith.store import Tx


def of_user(
    tx: Tx,
    user: User,
    workspace: str | None = None,
    cut: Sequence[str] | None = None,
    via: Literal["token", "cookie", "jwt"] = "token",
) -> Principal:
    """A user in the workspace of this name; without one, in the user's own, be it with no role there.

    `cut`: the scopes of the token that was shown; None: it may be used for whatever the user may do.

    Raises:
        WorkspaceNotFound: there is none of this name, or the user has no role in it.
    """
    subjects = tx.subjects(user)
    roles = tx.roles(subjects)
    name = workspace or tx.workspace_of(user.workspace_id).name
    workspace_id, held = roles.get(name, (user.workspace_id, []))
    if workspace and not held:
        raise no_workspace(name)
    role = best_role(held)
    in_main = scopes_of(best_role(roles.get(MAIN, ("", []))[1]), cut)
    return Principal(
        name=user.name,
        kind=user.kind,
        user_id=user.id,
        workspace_id=workspace_id,
        workspace=name,
        role=role,
        scopes=scopes_of(role, cut),
        cut=cut is not None,
        attributes=user.attributes,
        via=via,
        subjects=subjects,
        platform_reader="read" in in_main,
        platform_admin="admin" in in_main,
    )


def operator(tx: Tx, workspace: str | None = None, kind: Literal["key", "anonymous"] = "key") -> Principal:
    """Whoever holds the platform's key, or anybody where none is needed: an admin everywhere, in `main` by default.

    Raises:
        WorkspaceNotFound: there is none of this name.
    """
    found = tx.workspace_called(workspace or MAIN)
    return Principal(
        name=STATIC_KEY if kind == "key" else ANONYMOUS,
        kind=kind,
        workspace_id=found.id,
        workspace=found.name,
        role="admin",
        scopes=scopes_of("admin"),
        via="key" if kind == "key" else "none",
        platform_reader=True,
        platform_admin=True,
    )


def no_workspace(name: str) -> WorkspaceNotFound:
    """The refusal of a workspace, be it that there is none or that it is not for who asks."""
    return WorkspaceNotFound(f"There is no workspace {name!r}, or you have no role in it", workspace=name)
