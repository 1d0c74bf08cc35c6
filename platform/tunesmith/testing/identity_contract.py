"""What users and their tokens promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import secrets
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tunesmith.domain import Token, User, utcnow
from tunesmith.errors import NameTaken, UserNotFound
from tunesmith.store import Store
from tunesmith.store.identity import KEEP_EXPIRED, USE_NOTED
from tunesmith.store.tables import tokens
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race


def new_user(store: Store, name: str | None = None) -> User:
    """Add one; no password has this hash."""
    with store.write() as tx:
        return tx.create_user(tx.default_workspace(), name or f"user-{secrets.token_hex(4)}", "a hash")


def new_token(store: Store, user: User, token_hash: str | None = None, lasts_s: float | None = None) -> Token:
    """Note a token."""
    expires_at = None if lasts_s is None else utcnow() + timedelta(seconds=lasts_s)
    with store.write() as tx:
        return tx.create_token(user.id, "a test", "ts_abc", token_hash or secrets.token_hex(32), expires_at)


def holder(store: Store, token_hash: str) -> str | None:
    """The name of whoever holds a token."""
    with store.read(single=True) as tx:
        found = tx.token_holder(token_hash)
    return None if found is None else found[0].name


def read_token(store: Store, token: Token) -> Token:
    """How it stands now."""
    with store.read() as tx:
        return next(found for found in tx.tokens(token.user_id) if found.id == token.id)


class IdentityContract(Contract):
    """Users and tokens."""

    def test_a_user_is_found_by_name(self, store: Store) -> None:
        ada, ben = new_user(store), new_user(store)
        with store.write() as tx:
            assert tx.user(ada.name) == ada
            assert (ada.kind, ada.disabled) == ("user", False)
            listed = [user for user in tx.users() if user in (ada, ben)]
            assert listed == sorted((ada, ben), key=lambda user: user.name)
            with pytest.raises(UserNotFound):
                tx.user("nobody's")

    def test_a_name_is_taken_once_however_many_want_it(self, store: Store) -> None:
        name = f"user-{secrets.token_hex(4)}"
        made = race(*[partial(new_user, store, name)] * 4)
        assert sorted(type(one).__name__ for one in made) == ["NameTaken"] * 3 + ["User"]
        with pytest.raises(NameTaken, match=name):
            new_user(store, name)

    def test_only_who_was_not_removed_may_sign_in(self, store: Store) -> None:
        user = new_user(store)
        with store.write() as tx:
            assert tx.credentials(user.name) == tx.credentials(user.name, hold=True) == (user, "a hash")
            assert tx.any_user()
            tx.change_user(user.id, password_hash="another")
            assert tx.credentials(user.name) == (user, "another")
            tx.change_user(user.id, disabled=True)
            assert tx.credentials(user.name) is None
            assert tx.user(user.name) == user.evolve(disabled=True)
            for other in tx.users():
                tx.change_user(other.id, disabled=True)
            assert not tx.any_user()

    def test_a_token_is_known_by_its_hash_alone(self, store: Store) -> None:
        user = new_user(store)
        token = new_token(store, user, "of a token " + user.id)
        assert holder(store, "of a token " + user.id) == user.name
        assert holder(store, "of another") is None
        assert holder(store, token.prefix) is None
        assert read_token(store, token) == token

    def test_a_token_that_has_expired_is_not_accepted(self, store: Store) -> None:
        user = new_user(store)
        new_token(store, user, "expired " + user.id, lasts_s=-1)
        new_token(store, user, "fresh " + user.id, lasts_s=60)
        assert holder(store, "expired " + user.id) is None
        assert holder(store, "fresh " + user.id) == user.name

    def test_tokens_are_taken_back_one_by_one_or_all_together(self, store: Store) -> None:
        user, other = new_user(store), new_user(store)
        first, second, third = (new_token(store, user, f"{number} of {user.id}") for number in range(3))
        theirs = new_token(store, other, f"theirs, not {user.id}")
        with store.write() as tx:
            (revoked,) = tx.revoke_tokens(user.id, [first.id, theirs.id])
            assert revoked.id == first.id
            assert revoked.revoked_at is not None
        assert [holder(store, f"{number} of {user.id}") for number in range(3)] == [None, user.name, user.name]
        assert holder(store, f"theirs, not {user.id}") == other.name
        with store.write() as tx:
            assert tx.revoke_tokens(user.id, [first.id]) == []
            assert {token.id for token in tx.revoke_tokens(user.id)} == {second.id, third.id}
            assert tx.revoke_tokens(user.id) == []

    def test_tokens_of_a_removed_user_are_not_accepted(self, store: Store) -> None:
        user = new_user(store)
        new_token(store, user, "of " + user.id)
        with store.write() as tx:
            tx.change_user(user.id, disabled=True)
        assert holder(store, "of " + user.id) is None

    def test_it_is_noted_to_a_minute_when_a_token_was_used(self, store: Store) -> None:
        token = new_token(store, new_user(store))
        assert token.last_used_at is None
        self._use(store, token)
        used = read_token(store, token)
        assert used.last_used_at is not None
        self._use(store, token)
        assert read_token(store, token) == used
        long_ago = used.last_used_at - USE_NOTED * 1.1
        with store.write() as tx:
            tx.connection.execute(tokens.update().where(tokens.c.id == token.id).values(last_used_at=long_ago))
        self._use(store, token)
        assert (read_token(store, token).last_used_at or long_ago) >= used.last_used_at

    def test_tokens_are_listed_newest_first_and_old_ones_forgotten(self, store: Store) -> None:
        user = new_user(store)
        expired = new_token(store, user, lasts_s=-KEEP_EXPIRED.total_seconds() - 60)
        ended = new_token(store, user, lasts_s=-60)
        lasting = new_token(store, user)
        with store.read() as tx:
            assert [token.id for token in tx.tokens(user.id)] == [lasting.id, ended.id]
            assert expired.id not in {token.id for token in tx.tokens(user.id)}

    def test_a_program_has_no_password_and_who_signs_in_elsewhere_is_known_from_there(self, store: Store) -> None:
        name = f"user-{secrets.token_hex(4)}"
        attributes = {"region": ("NA", "EU")}
        columns: dict[str, Any] = {"kind": "service", "issuer": "https://id", "subject": name, "attributes": attributes}
        with store.write() as tx:
            made = tx.create_user(tx.default_workspace(), name, **columns)
            assert made == tx.user(name) == tx.user_known_as("https://id", name)
            assert made.attributes == attributes
            assert tx.credentials(name) is None
            assert tx.user_known_as("https://another", name) is None
            with pytest.raises(NameTaken):
                tx.create_user(tx.default_workspace(), f"another-{name}", issuer="https://id", subject=name)

    def test_a_token_keeps_what_it_may_be_used_for(self, store: Store) -> None:
        user, scopes = new_user(store), ("read", "model:linear_reg:run")
        with store.write() as tx:
            for given in (scopes, None, ()):
                made = tx.create_token(user.id, "a test", "ts_abc", secrets.token_hex(32), None, given)
                assert (made.kind, made.scopes) == ("token", given)
                assert made in tx.tokens(user.id)
            session = tx.create_token(user.id, "a browser", "ts_abc", secrets.token_hex(32), kind="cookie")
            assert session.kind == "cookie"
            assert session in tx.tokens(user.id)

    def _use(self, store: Store, token: Token) -> None:
        with store.write() as tx:
            tx.note_token_use(token.id)
