"""Groups, and roles in workspaces: made, given and taken by names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tunesmith.domain import Grant, Group, Quotas, Role, Workspace
from tunesmith.errors import BadRequest, LastAdmin, NotFound
from tunesmith.services.identity import check_name, present
from tunesmith.store import Tx


@contextmanager
def keeping_an_admin(tx: Tx) -> Iterator[None]:
    """For what may take the last admin of the platform away. Raises LastAdmin at the end if it did."""
    before = tx.any_admin()
    yield
    if before and not tx.any_admin():
        raise LastAdmin


def add_group(tx: Tx, name: str) -> Group:
    """Make a group. Raises InvalidParameter, NameTaken."""
    check_name(name, "group")
    return tx.create_group(name)


def remove_group(tx: Tx, name: str) -> None:
    """Take a group away, with all that it was granted. Raises GroupNotFound."""
    tx.delete_group(tx.group(name).id)


def join(tx: Tx, group: str, user: str) -> Group:
    """Put a user into a group. Raises GroupNotFound, UserNotFound."""
    tx.add_member(tx.group(group).id, present(tx, user).id)
    return tx.group(group)


def leave(tx: Tx, group: str, user: str) -> Group:
    """Take a user out of a group. Raises GroupNotFound, UserNotFound."""
    tx.remove_member(tx.group(group).id, tx.user(user).id)
    return tx.group(group)


def add_workspace(tx: Tx, name: str, quotas: Quotas | None = None, admin: str | None = None) -> Workspace:
    """Make a workspace; the user of the id `admin` is an admin of it. Raises InvalidParameter, NameTaken."""
    check_name(name, "workspace")
    made = tx.create_workspace(name)
    if quotas is not None:
        tx.set_quotas(made.id, quotas)
    if admin is not None:
        tx.grant(made.id, f"user:{admin}", "admin")
    return tx.workspace_of(made.id)


def set_quotas(tx: Tx, name: str, quotas: Quotas) -> Workspace:
    """Say how much may be in a workspace. Raises WorkspaceNotFound."""
    found = tx.workspace_called(name)
    tx.set_quotas(found.id, quotas)
    return tx.workspace_of(found.id)


def grant(tx: Tx, workspace: str, subject: str, role: Role) -> Grant:
    """Give `user:<name>` or `group:<name>` a role, instead of the one before.

    Raises:
        BadRequest: the subject is none.
        WorkspaceNotFound, UserNotFound, GroupNotFound: there is none of that name.
    """
    tx.grant(tx.workspace_called(workspace).id, subject_of(tx, subject), role)
    return Grant(workspace=workspace, subject=subject, role=role)


def revoke(tx: Tx, workspace: str, subject: str) -> None:
    """Take a role away; raises what `grant` does, and NotFound where there was none."""
    if not tx.take_grant(tx.workspace_called(workspace).id, subject_of(tx, subject, removed=True)):
        raise NotFound(f"{subject} has no role in the workspace {workspace!r}", subject=subject, workspace=workspace)


def allow_model(tx: Tx, workspace: str, model_id: str, subjects: Sequence[str]) -> list[str]:
    """Say who may run a model, besides admins; nobody: everybody whose role lets run models. Raises what `grant` does.

    The answer is who may, by names.
    """
    workspace_id = tx.workspace_called(workspace).id
    tx.set_model_grants(workspace_id, model_id, [subject_of(tx, subject) for subject in subjects])
    return tx.model_grants(workspace_id).get(model_id, [])


def subject_of(tx: Tx, subject: str, removed: bool = False) -> str:
    """`user:<name>` or `group:<name>` with the id instead of the name; `removed`: also of a removed user.

    Raises:
        BadRequest: it is neither.
        UserNotFound, GroupNotFound: there is none of that name.
    """
    kind, _, name = subject.partition(":")
    if kind == "user":
        return f"user:{(tx.user(name) if removed else present(tx, name)).id}"
    if kind == "group":
        return f"group:{tx.group(name).id}"
    raise BadRequest(f"{subject!r} is none that a role can be given to; write user:NAME or group:NAME")
