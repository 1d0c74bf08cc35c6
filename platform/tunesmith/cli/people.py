"""Commands on groups and workspaces; they work on the database of the settings, whether the platform runs or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import print_json, print_table
from tunesmith.cli.users import database, tell
from tunesmith.domain import Quotas, Role

GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.")]
Members = Annotated[list[str], typer.Argument(metavar="USER...", help="Names of users.")]
WorkspaceName = Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's name.")]
Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="user:NAME or group:NAME.")]
Subjects = Annotated[
    list[str] | None, typer.Argument(metavar="[SUBJECT]...", help="user:NAME or group:NAME; none: whoever may run.")
]


def add_group(group: GroupName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a group, without members."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        made = grants.add_group(tx, group)
    tell(made, as_json, f"{group} was made")


def list_groups(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the groups with their members."""
    with database(data_dir) as store, store.read() as tx:
        found = tx.groups()
    if as_json:
        print_json(found)
    else:
        rows = ((group.name, ", ".join(group.members), group.created_at) for group in found)
        print_table(("name", "members", "made"), rows, empty="no groups")


def remove_group(group: GroupName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Remove a group, with all that it was granted."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        grants.remove_group(tx, group)
    tell({"name": group, "removed": True}, as_json, f"{group} was removed")


def join(group: GroupName, user: Members, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Put users into a group."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        for name in user:
            grants.join(tx, group, name)
        found = tx.group(group)
    tell(found, as_json, f"{group} has {', '.join(found.members)}")


def leave(group: GroupName, user: Members, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Take users out of a group."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        for name in user:
            grants.leave(tx, group, name)
        found = tx.group(group)
    tell(found, as_json, f"{group} has {', '.join(found.members) or 'no members'}")


def add_workspace(workspace: WorkspaceName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a workspace; `workspace grant` says who may do what in it."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        made = grants.add_workspace(tx, workspace)
    tell(made, as_json, f"{workspace} was made")


def list_workspaces(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the workspaces with their quotas."""
    with database(data_dir) as store, store.read() as tx:
        found = tx.workspaces()
    if as_json:
        print_json(found)
        return
    rows = ((one.name, *one.quotas.model_dump().values(), one.created_at) for one in found)
    print_table(("name", *Quotas.model_fields, "made"), rows, empty="no workspaces")


def set_quotas(
    workspace: WorkspaceName,
    running_jobs: Annotated[int | None, typer.Option("--running-jobs", min=0, help="Jobs at once.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=0, help="Trials of all experiments.")] = None,
    storage_bytes: Annotated[int | None, typer.Option("--storage-bytes", min=0, help="Bytes of all datasets.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say how much may be in a workspace; what is not named has no limit."""
    from tunesmith.services import grants

    quotas = Quotas(running_jobs=running_jobs, trials=trials, storage_bytes=storage_bytes)
    with database(data_dir) as store, store.write() as tx:
        changed = grants.set_quotas(tx, workspace, quotas)
    tell(changed, as_json, f"{workspace} has other quotas")


def list_grants(workspace: WorkspaceName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List who has which role in a workspace."""
    with database(data_dir) as store, store.read() as tx:
        found = tx.grants(tx.workspace_called(workspace).id)
    if as_json:
        print_json(found)
    else:
        print_table(("subject", "role"), ((one.subject, one.role) for one in found), empty="nobody has a role")


def grant(
    workspace: WorkspaceName,
    subject: Subject,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, runner, editor or admin.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Give a user or a group a role in a workspace, instead of the one before."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        given = grants.grant(tx, workspace, subject, role)
    tell(given, as_json, f"{subject} is {role} in {workspace}")


def revoke(workspace: WorkspaceName, subject: Subject, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Take a role in a workspace away."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        grants.revoke(tx, workspace, subject)
    tell(
        {"workspace": workspace, "subject": subject, "revoked": True}, as_json, f"{subject} has no role in {workspace}"
    )


def allow_model(
    workspace: WorkspaceName,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's id.")],
    subject: Subjects = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say who may run a model in a workspace, besides its admins."""
    from tunesmith.services import grants

    with database(data_dir) as store, store.write() as tx:
        allowed = grants.allow_model(tx, workspace, model, subject or ())
    who = ", ".join(allowed) or "everybody who may run models"
    tell({"model": model, "subjects": allowed}, as_json, f"{model}: {who}, and admins")


GROUP_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("add", add_group),
    ("list", list_groups),
    ("remove", remove_group),
    ("join", join),
    ("leave", leave),
)
WORKSPACE_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("add", add_workspace),
    ("list", list_workspaces),
    ("quota", set_quotas),
    ("grants", list_grants),
    ("grant", grant),
    ("revoke", revoke),
    ("model", allow_model),
)
