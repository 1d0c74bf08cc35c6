"""What workspaces, groups and grants promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import secrets
from functools import partial

import pytest

from tunesmith.domain import Grant, Quotas, Role, User, Workspace
from tunesmith.errors import GroupNotFound, NameTaken, WorkspaceNotFound
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.identity_contract import new_user
from tunesmith.testing.races import race


def new_workspace(store: Store, name: str | None = None) -> Workspace:
    """Make one."""
    with store.write() as tx:
        return tx.create_workspace(name or f"workspace-{secrets.token_hex(4)}")


def new_group(store: Store, *members: User) -> tuple[str, str]:
    """Make one with these members: its name and its subject."""
    with store.write() as tx:
        group = tx.create_group(f"group-{secrets.token_hex(4)}")
        for user in members:
            tx.add_member(group.id, user.id)
    return group.name, f"group:{group.id}"


class GrantContract(Contract):
    """Workspaces, groups and what they are granted."""

    def test_a_workspace_is_found_by_its_name_alone(self, store: Store) -> None:
        made = new_workspace(store)
        with store.write() as tx:
            tx.default_workspace()
            assert made == tx.workspace_called(made.name) == tx.workspace_of(made.id)
            listed = [each.name for each in tx.workspaces()]
            assert {"main", made.name} <= set(listed)
            assert listed == sorted(listed)
            with pytest.raises(WorkspaceNotFound, match="nowhere"):
                tx.workspace_called("nowhere")

    def test_a_workspaces_name_is_taken_once_however_many_want_it(self, store: Store) -> None:
        name = f"workspace-{secrets.token_hex(4)}"
        made = race(*[partial(new_workspace, store, name)] * 4)
        assert sorted(type(one).__name__ for one in made) == ["NameTaken"] * 3 + ["Workspace"]

    def test_quotas_are_none_until_they_are_set(self, store: Store) -> None:
        made = new_workspace(store)
        with store.write() as tx:
            assert made.quotas == tx.quotas(made.id) == Quotas()
            tx.set_quotas(made.id, Quotas(trials=1000, storage_bytes=2**40))
            assert tx.quotas(made.id) == tx.workspace_of(made.id).quotas == Quotas(trials=1000, storage_bytes=2**40)
            tx.set_quotas(made.id, Quotas(running_jobs=0))
            assert tx.quotas(made.id) == Quotas(running_jobs=0)

    def test_users_come_into_groups_and_go(self, store: Store) -> None:
        ada, ben = sorted((new_user(store), new_user(store)), key=lambda user: user.name)
        name, subject = new_group(store, ben, ada, ada)
        with store.write() as tx:
            group = tx.group(name)
            assert group.members == (ada.name, ben.name)
            assert group in tx.groups()
            assert tx.subjects(ada) == {f"user:{ada.id}", subject}
            tx.remove_member(group.id, ada.id)
            assert tx.group(name).members == (ben.name,)
            assert tx.subjects(ada) == {f"user:{ada.id}"}
            with pytest.raises(NameTaken, match=name):
                tx.create_group(name)
            with pytest.raises(GroupNotFound, match="nobodies"):
                tx.group("nobodies")

    def test_a_subject_has_one_role_in_a_workspace(self, store: Store) -> None:
        made, ada = new_workspace(store), new_user(store)
        subject = f"user:{ada.id}"
        roles: tuple[Role, ...] = ("viewer", "admin", "runner")
        with store.write() as tx:
            for role in roles:
                tx.grant(made.id, subject, role)
            assert tx.grants(made.id) == [Grant(workspace=made.name, subject=f"user:{ada.name}", role="runner")]
            assert tx.grants(made.id)[0] in tx.grants()
            assert tx.take_grant(made.id, subject)
            assert not tx.take_grant(made.id, subject)
            assert tx.grants(made.id) == []

    def test_roles_are_those_of_all_ones_subjects_by_workspace(self, store: Store) -> None:
        one, two, other = new_workspace(store), new_workspace(store), new_workspace(store)
        ada, ben = new_user(store), new_user(store)
        _, group = new_group(store, ada)
        with store.write() as tx:
            tx.grant(one.id, f"user:{ada.id}", "viewer")
            tx.grant(one.id, group, "editor")
            tx.grant(two.id, group, "runner")
            tx.grant(other.id, f"user:{ben.id}", "admin")
            roles = {name: (found, set(held)) for name, (found, held) in tx.roles(tx.subjects(ada)).items()}
        assert roles == {one.name: (one.id, {"viewer", "editor"}), two.name: (two.id, {"runner"})}

    def test_a_group_that_goes_takes_what_it_was_granted_along(self, store: Store) -> None:
        made, ada = new_workspace(store), new_user(store)
        name, subject = new_group(store, ada)
        with store.write() as tx:
            tx.grant(made.id, subject, "editor")
            tx.set_model_grants(made.id, "a model", [subject])
            tx.delete_group(tx.group(name).id)
            assert tx.subjects(ada) == {f"user:{ada.id}"}
            assert (tx.grants(made.id), tx.model_grants(made.id)) == ([], {})
            with pytest.raises(GroupNotFound):
                tx.group(name)

    def test_a_model_is_for_whoever_it_is_granted_to_in_that_workspace(self, store: Store) -> None:
        made, other, ada, ben = new_workspace(store), new_workspace(store), new_user(store), new_user(store)
        name, group = new_group(store, ada)
        with store.write() as tx:
            tx.set_model_grants(made.id, "first", [group, f"user:{ben.id}", group])
            tx.set_model_grants(made.id, "second", [f"user:{ben.id}"])
            granted = {"first": [f"group:{name}", f"user:{ben.name}"], "second": [f"user:{ben.name}"]}
            assert tx.model_grants(made.id) == granted
            assert tx.closed_models(made.id, tx.subjects(ada)) == {"second"}
            assert tx.closed_models(made.id, tx.subjects(ben)) == frozenset()
            assert tx.closed_models(made.id, ()) == {"first", "second"}
            assert tx.closed_models(other.id, tx.subjects(ada)) == frozenset()
            tx.set_model_grants(made.id, "second", [])
            assert tx.closed_models(made.id, tx.subjects(ada)) == frozenset()
