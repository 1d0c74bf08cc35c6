"""Who may do what, as services: roles of users and groups in workspaces, what tokens are cut to, and programs."""

from __future__ import annotations

import pytest
from hashes import quick_hashes  # noqa: F401

from tunesmith.errors import (
    BadRequest,
    Conflict,
    GroupNotFound,
    InvalidParameter,
    NotFound,
    Unauthenticated,
    UserNotFound,
    WorkspaceNotFound,
)
from tunesmith.services import grants, identity, principals, tokens
from tunesmith.store import Store

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.usefixtures("quick_hashes")


class TestWhoMayDoWhat:
    def test_the_best_of_ones_own_and_the_groups_roles_counts(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD, role="viewer")
        with store.write() as tx:
            grants.add_group(tx, "analysts")
            grants.join(tx, "analysts", "ada")
            grants.grant(tx, "main", "group:analysts", "runner")
            found = principals.of_user(tx, ada)
            assert (found.role, found.platform_admin, found.cut) == ("runner", False, False)
            assert found.scopes == {"read", "run"}
            assert found.may("model:any:run")
            assert not found.may("write")
            grants.leave(tx, "analysts", "ada")
            assert principals.of_user(tx, ada).role == "viewer"

    def test_an_admin_of_main_administrates_the_platform_wherever_it_works(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD, role="admin")
        with store.write() as tx:
            grants.add_workspace(tx, "lab")
            grants.grant(tx, "lab", "user:ada", "viewer")
            assert principals.of_user(tx, ada, "lab").platform_admin
            assert principals.of_user(tx, ada, "lab").scopes == {"read"}
            assert not principals.of_user(tx, ada, "lab", cut=["read", "write"]).platform_admin
            grants.grant(tx, "main", "user:ada", "editor")
            grants.grant(tx, "lab", "user:ada", "admin")
            assert not principals.of_user(tx, ada, "lab").platform_admin

    def test_without_a_role_one_may_do_nothing_in_ones_own_workspace(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD, role=None)
        with store.write() as tx:
            found = principals.of_user(tx, ada)
            assert (found.role, found.scopes, found.workspace_id) == (None, frozenset(), ada.workspace_id)
            with pytest.raises(WorkspaceNotFound):
                principals.of_user(tx, ada, "main")

    def test_whoever_needs_no_user_is_an_admin_everywhere(self, store: Store) -> None:
        with store.write() as tx:
            tx.default_workspace()
            grants.add_workspace(tx, "lab")
            for workspace in (None, "lab"):
                found = principals.operator(tx, workspace)
                assert (found.name, found.workspace, found.role) == ("api-key", workspace or "main", "admin")
                assert found.platform_admin
            with pytest.raises(WorkspaceNotFound):
                principals.operator(tx, "nowhere")

    def test_a_subject_is_a_user_or_a_group_that_there_is(self, store: Store) -> None:
        identity.add_user(store, "ada", PASSWORD)
        with store.write() as tx:
            for subject, error in (("ada", BadRequest), ("user:ben", UserNotFound), ("group:ada", GroupNotFound)):
                with pytest.raises(error):
                    grants.grant(tx, "main", subject, "viewer")
            with pytest.raises(WorkspaceNotFound):
                grants.grant(tx, "nowhere", "user:ada", "viewer")
            identity.remove_user(tx, "ada")
            with pytest.raises(UserNotFound):
                grants.grant(tx, "main", "user:ada", "viewer")
            grants.revoke(tx, "main", "user:ada")
            with pytest.raises(NotFound, match="has no role"):
                grants.revoke(tx, "main", "user:ada")

    @pytest.mark.parametrize("scope", ["", "everything", "model:run", "model::run", "model:a b:run", "READ"])
    def test_not_everything_is_a_scope(self, sqlite_store: Store, scope: str) -> None:
        ada = identity.add_user(sqlite_store, "ada", PASSWORD)
        with sqlite_store.write() as tx, pytest.raises(InvalidParameter, match="There is no scope"):
            tokens.issue(tx, ada, "test", scopes=["read", scope])

    def test_a_program_has_tokens_and_no_password(self, store: Store) -> None:
        robot = identity.add_user(store, "robot", None)
        assert robot.kind == "service"
        with pytest.raises(Unauthenticated):
            identity.authenticate(store, "robot", "")
        with pytest.raises(InvalidParameter, match="no password"):
            identity.set_password(store, "robot", PASSWORD)
        identity.add_user(store, "ada", PASSWORD)
        with store.write() as tx:
            assert identity.program(tx, "robot") == robot
            with pytest.raises(Conflict, match="is a person"):
                identity.program(tx, "ada")
