"""Queries on groups, and on the roles and models that users and groups are granted."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import case, delete, func, select

from tunesmith.domain import Grant, Group, Role, User, utcnow
from tunesmith.domain.identity import MAIN
from tunesmith.errors import GroupNotFound
from tunesmith.store.queries import Queries, taken
from tunesmith.store.tables import grants, groups, members, model_grants, users, workspaces

OF_USER, OF_GROUP = "user:" + users.c.id, "group:" + groups.c.id
BY_NAME = case((users.c.id.is_not(None), "user:" + users.c.name), else_="group:" + groups.c.name)
"""A subject by its name, where `grants` or `model_grants` is joined with users and groups."""


class GrantQueries(Queries):
    """Queries on groups and grants; a subject is `user:<id>` or `group:<id>` here."""

    def create_group(self, name: str) -> Group:
        """Make one without members. Raises NameTaken."""
        group = Group(id=str(uuid.uuid4()), name=name, created_at=utcnow())
        row = group.model_dump(exclude={"members"})
        query = self.insert(groups).values(row).on_conflict_do_nothing().returning(groups.c.id)
        if self.connection.scalar(query) is None:
            raise taken("group", "name", name)
        return group

    def groups(self) -> list[Group]:
        """All groups by name, with their members."""
        named: dict[str, list[str]] = {}
        query = select(members.c.group_id, users.c.name).join_from(members, users).order_by(users.c.name)
        for group_id, name in self.connection.execute(query):
            named.setdefault(group_id, []).append(name)
        rows = self.connection.execute(select(groups).order_by(groups.c.name)).mappings()
        return [Group(**row, members=tuple(named.get(row["id"], ()))) for row in rows]

    def group(self, name: str) -> Group:
        """The one of this name. Raises GroupNotFound."""
        row = self.connection.execute(select(groups).where(groups.c.name == name)).mappings().first()
        if row is None:
            raise GroupNotFound(f"There is no group {name!r}", group=name)
        query = select(users.c.name).join_from(members, users).where(members.c.group_id == row["id"])
        return Group(**row, members=tuple(self.connection.scalars(query.order_by(users.c.name))))

    def delete_group(self, group_id: str) -> None:
        """Take a group away, with what it was granted; its members lose that."""
        subject = f"group:{group_id}"
        self.connection.execute(delete(grants).where(grants.c.subject == subject))
        self.connection.execute(delete(model_grants).where(model_grants.c.subject == subject))
        self.connection.execute(delete(members).where(members.c.group_id == group_id))
        self.connection.execute(delete(groups).where(groups.c.id == group_id))

    def add_member(self, group_id: str, user_id: str) -> None:
        """Put a user into a group; one that is in it stays there."""
        row = {"group_id": group_id, "user_id": user_id}
        self.connection.execute(self.insert(members).values(row).on_conflict_do_nothing())

    def remove_member(self, group_id: str, user_id: str) -> None:
        """Take a user out of a group, if the user is in it."""
        here = (members.c.group_id == group_id) & (members.c.user_id == user_id)
        self.connection.execute(delete(members).where(here))

    def subjects(self, user: User) -> frozenset[str]:
        """Who a user is for grants: the user, and each of the user's groups."""
        found = self.connection.scalars(select(members.c.group_id).where(members.c.user_id == user.id))
        return frozenset({f"user:{user.id}", *(f"group:{group_id}" for group_id in found)})

    def grant(self, workspace_id: str, subject: str, role: Role) -> None:
        """Give a role in a workspace, instead of the one that the subject had there."""
        row = {"workspace_id": workspace_id, "subject": subject, "role": role}
        made = self.insert(grants).values(row)
        self.connection.execute(made.on_conflict_do_update(index_elements=["workspace_id", "subject"], set_=row))

    def take_grant(self, workspace_id: str, subject: str) -> bool:
        """Take a role in a workspace away; whether there was one."""
        here = (grants.c.workspace_id == workspace_id) & (grants.c.subject == subject)
        return self.connection.execute(delete(grants).where(here)).rowcount > 0

    def grants(self, workspace_id: str | None = None) -> list[Grant]:
        """The grants of a workspace, or of all, by names; those of removed users too."""
        query = select(workspaces.c.name.label("workspace"), BY_NAME.label("subject"), grants.c.role)
        query = query.join_from(grants, workspaces)
        query = query.outerjoin(users, grants.c.subject == OF_USER).outerjoin(groups, grants.c.subject == OF_GROUP)
        if workspace_id is not None:
            query = query.where(grants.c.workspace_id == workspace_id)
        rows = self.connection.execute(query.order_by(workspaces.c.name, "subject")).mappings()
        return [Grant(**row) for row in rows]

    def roles(self, subjects: Collection[str]) -> dict[str, tuple[str, list[Role]]]:
        """By name, the workspaces in which one of the subjects has a role: the id, and the roles."""
        query = select(workspaces.c.name, workspaces.c.id, grants.c.role).join_from(grants, workspaces)
        found: dict[str, tuple[str, list[Role]]] = {}
        for name, workspace_id, role in self.connection.execute(query.where(grants.c.subject.in_(subjects))):
            found.setdefault(name, (workspace_id, []))[1].append(role)
        return found

    def any_admin(self) -> bool:
        """Whether there is a user who is an admin of `main`: directly, or by a group."""
        of_group = select("group:" + members.c.group_id).where(members.c.user_id == users.c.id)
        query = (
            select(users.c.id)
            .join_from(grants, workspaces)
            .join(users, (grants.c.subject == OF_USER) | grants.c.subject.in_(of_group.scalar_subquery()))
        )
        admins = query.where(workspaces.c.name == MAIN, grants.c.role == "admin", ~users.c.disabled)
        return self.connection.scalar(admins.limit(1)) is not None

    def set_model_grants(self, workspace_id: str, model_id: str, subjects: Iterable[str]) -> None:
        """Say who may run a model, besides admins; nobody: everybody whose role lets run models."""
        here = (model_grants.c.workspace_id == workspace_id) & (model_grants.c.model_id == model_id)
        self.connection.execute(delete(model_grants).where(here))
        rows = [{"workspace_id": workspace_id, "model_id": model_id, "subject": one} for one in sorted(set(subjects))]
        if rows:
            self.connection.execute(self.insert(model_grants).on_conflict_do_nothing(), rows)

    def model_grants(self, workspace_id: str) -> dict[str, list[str]]:
        """By model, who may run it, by names; a model that is not there may be run by everybody who may run models."""
        query = select(model_grants.c.model_id, BY_NAME.label("subject")).select_from(model_grants)
        query = query.outerjoin(users, model_grants.c.subject == OF_USER)
        query = query.outerjoin(groups, model_grants.c.subject == OF_GROUP)
        query = query.where(model_grants.c.workspace_id == workspace_id)
        found: dict[str, list[str]] = {}
        for model_id, subject in self.connection.execute(query.order_by(model_grants.c.model_id, "subject")):
            found.setdefault(model_id, []).append(subject)
        return found

    def closed_models(self, workspace_id: str, subjects: Collection[str]) -> frozenset[str]:
        """The models that others are granted in a workspace, and none of these subjects is."""
        ours = func.max(case((model_grants.c.subject.in_(subjects), 1), else_=0))
        query = select(model_grants.c.model_id).where(model_grants.c.workspace_id == workspace_id)
        return frozenset(self.connection.scalars(query.group_by(model_grants.c.model_id).having(ours == 0)))
