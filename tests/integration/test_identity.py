"""Users and tokens as services: what a password and a token are worth, on every database."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from hashes import REAL, hashing, quick_hashes  # noqa: F401
from sqlalchemy import text

from serve_app.identities import Identities
from tunesmith.domain import utcnow
from tunesmith.errors import (
    DatabaseUnavailable,
    InvalidParameter,
    NameTaken,
    TokenNotFound,
    Unauthenticated,
    UserNotFound,
    WorkspaceNotFound,
)
from tunesmith.services import grants, identity, principals, tokens
from tunesmith.services.tokens import TokenCache, hashed
from tunesmith.store import Store, open_store
from tunesmith.store.tables import tokens as token_table
from tunesmith.store.tables import users as user_table
from tunesmith.testing import race
from tunesmith.testing.identity_contract import holder

PASSWORD, OTHER = "correct horse battery", "staple, correct horse"


pytestmark = pytest.mark.usefixtures("quick_hashes")


def remove(store: Store, name: str) -> None:
    with store.write() as tx:
        identity.remove_user(tx, name)


def sign_in(store: Store, name: str = "ada", password: str = PASSWORD) -> str:
    return identity.authenticate(store, name, password)[0]


class TestPasswords:
    def test_the_right_password_gives_a_token_for_a_day(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD)
        secret, token = identity.authenticate(store, "ada", PASSWORD)
        assert holder(store, hashed(secret)) == "ada"
        assert tokens.SHAPE.fullmatch(secret)
        assert secret.startswith(token.prefix)
        assert token.user_id == ada.id
        assert token.expires_at is not None
        assert abs(token.expires_at - utcnow() - timedelta(hours=24)) < timedelta(seconds=20)

    @pytest.mark.parametrize(("name", "password"), [("ada", OTHER), ("ben", PASSWORD), ("cleo", PASSWORD), ("ada", "")])
    def test_what_is_wrong_is_not_said(self, store: Store, name: str, password: str) -> None:
        identity.add_user(store, "ada", PASSWORD)
        identity.add_user(store, "cleo", PASSWORD)
        remove(store, "cleo")
        with pytest.raises(Unauthenticated) as refused:
            sign_in(store, name, password)
        assert refused.value.message == identity.WRONG
        assert not refused.value.details

    def test_a_user_that_is_none_takes_as_long_as_a_wrong_password(self, sqlite_store: Store) -> None:
        def seconds(name: str) -> float:
            times = []
            for _ in range(3):
                begun = time.process_time()
                with pytest.raises(Unauthenticated):
                    sign_in(sqlite_store, name, OTHER)
                times.append(time.process_time() - begun)
            return min(times)

        with hashing(REAL):
            identity.add_user(sqlite_store, "ada", PASSWORD)
            seconds("nobody")  # makes the hash that it compares with
            assert 0.5 < seconds("nobody") / seconds("ada") < 2

    def test_nothing_of_a_password_or_a_token_lies_in_the_database(self, sqlite_store: Store) -> None:
        identity.add_user(sqlite_store, "ada", PASSWORD)
        secret = sign_in(sqlite_store)
        with sqlite_store.read() as tx:
            rows = [*tx.connection.execute(user_table.select()), *tx.connection.execute(token_table.select())]
        kept = " ".join(str(value) for row in rows for value in row)
        assert "$argon2id$" in kept
        assert PASSWORD not in kept
        assert secret[: tokens.PREFIX] in kept
        assert secret[: tokens.PREFIX + 1] not in kept

    def test_another_password_ends_the_old_one_and_all_tokens(self, store: Store) -> None:
        identity.add_user(store, "ada", PASSWORD)
        secret = sign_in(store)
        identity.set_password(store, "ada", OTHER)
        assert holder(store, hashed(secret)) is None
        with pytest.raises(Unauthenticated):
            sign_in(store)
        assert holder(store, hashed(sign_in(store, password=OTHER))) == "ada"

    def test_whoever_signs_in_while_the_password_changes_is_left_with_nothing(self, postgres_store: Store) -> None:
        for _ in range(3):
            identity.add_user(postgres_store, "ada", PASSWORD)
            secret, _ = race(
                lambda: sign_in(postgres_store), lambda: identity.set_password(postgres_store, "ada", OTHER)
            )
            assert isinstance(secret, Unauthenticated) or holder(postgres_store, hashed(str(secret))) is None
            remove(postgres_store, "ada")

    def test_a_hash_of_weaker_parameters_is_renewed_at_the_next_sign_in(self, sqlite_store: Store) -> None:
        identity.add_user(sqlite_store, "ada", PASSWORD)
        with hashing(REAL):
            sign_in(sqlite_store)
        with sqlite_store.read() as tx:
            found = tx.credentials("ada")
        assert found is not None
        assert "m=65536" in found[1]
        assert REAL.verify(PASSWORD, found[1])


class TestUsers:
    @pytest.mark.parametrize("name", ["", " ada", "a b", "ada\n", "-ada", "a/b", "Anonymous", "api-key", "a" * 101])
    def test_not_everything_is_a_name(self, sqlite_store: Store, name: str) -> None:
        with pytest.raises(InvalidParameter, match="cannot be a user's name"):
            identity.add_user(sqlite_store, name, PASSWORD)

    @pytest.mark.parametrize("password", ["", "seven77", "x" * 1001])
    def test_not_everything_is_a_password_and_none_is_quoted(self, sqlite_store: Store, password: str) -> None:
        with pytest.raises(InvalidParameter, match="8 to 1000 characters") as refused:
            identity.add_user(sqlite_store, "ada", password)
        assert not password or password not in str(refused.value)

    def test_a_removed_user_is_as_none_until_added_again(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD)
        secret = sign_in(store)
        remove(store, "ada")
        with pytest.raises(UserNotFound, match="user add ada"):
            identity.set_password(store, "ada", OTHER)
        with pytest.raises(UserNotFound, match="was removed"):
            remove(store, "ada")
        assert identity.add_user(store, "ada", OTHER) == ada
        assert holder(store, hashed(secret)) is None
        assert sign_in(store, password=OTHER)
        with pytest.raises(NameTaken, match="user password ada"):
            identity.add_user(store, "ada", PASSWORD)

    def test_the_admin_of_the_settings_is_made_and_given_the_password(self, store: Store) -> None:
        identity.keep_admin(store, PASSWORD)
        secret = sign_in(store, "admin")
        identity.keep_admin(store, PASSWORD)
        assert holder(store, hashed(secret)) == "admin"
        identity.keep_admin(store, OTHER)
        assert holder(store, hashed(secret)) is None
        remove(store, "admin")
        identity.keep_admin(store, PASSWORD)
        assert holder(store, hashed(sign_in(store, "admin"))) == "admin"
        with store.write() as tx:
            assert principals.of_user(tx, tx.user("admin")).platform_admin
            grants.revoke(tx, "main", "user:admin")
        identity.keep_admin(store, PASSWORD)
        with store.read() as tx:
            assert principals.of_user(tx, tx.user("admin")).platform_admin


class TestRevoking:
    def test_a_token_is_named_by_its_id_or_how_it_begins(self, store: Store) -> None:
        ada = identity.add_user(store, "ada", PASSWORD)
        with store.write() as tx:
            secrets, made = zip(*[tokens.issue(tx, ada, "test") for _ in range(3)], strict=True)
            assert all(token.expires_at is None for token in made)
            revoked = tokens.revoke(tx, ada, [made[0].id, made[1].prefix, made[0].id])
            assert {token.id for token in revoked} == {made[0].id, made[1].id}
        assert [holder(store, hashed(secret)) for secret in secrets] == [None, None, "ada"]
        with store.write() as tx:
            for which in (made[0].id, secrets[2], "ts_", ""):
                with pytest.raises(TokenNotFound) as refused:
                    tokens.revoke(tx, ada, [made[2].id, which])
                assert refused.value.details["token"] == which
            assert [token.id for token in tokens.revoke(tx, ada)] == [made[2].id]


class TestTokenCache:
    def test_an_answer_counts_for_a_while_and_not_beyond_the_tokens_end(self, sqlite_store: Store) -> None:
        ada = identity.add_user(sqlite_store, "ada", PASSWORD)
        with sqlite_store.write() as tx:
            lasting, _ = tokens.issue(tx, ada, "test")
            ending, _ = tokens.issue(tx, ada, "test", timedelta(seconds=0.4))
        cache = TokenCache(sqlite_store)
        for secret in (lasting, ending):
            assert cache.known(secret) is None
            found = cache.look_up(secret)
            assert found is not None
            assert found[0] == cache.known(secret)
            assert found[0].name == ada.name
        time.sleep(0.45)
        assert cache.known(lasting) is not None
        assert (cache.known(ending), cache.look_up(ending)) == (None, None)

    def test_an_answer_is_about_one_workspace(self, sqlite_store: Store) -> None:
        ada = identity.add_user(sqlite_store, "ada", PASSWORD)
        with sqlite_store.write() as tx:
            secret, _ = tokens.issue(tx, ada, "test", scopes=["read", "model:linear_reg:run"])
            tx.grant(grants.add_workspace(tx, "lab").id, f"user:{ada.id}", "viewer")
            grants.add_workspace(tx, "other")
        cache = TokenCache(sqlite_store)
        own, lab = (cache.look_up(secret, name) for name in (None, "lab"))
        assert own is not None
        assert lab is not None
        assert (own[0].workspace, own[0].role, sorted(own[0].scopes)) == (
            "main",
            "editor",
            ["model:linear_reg:run", "read"],
        )
        assert (lab[0].workspace, lab[0].role, sorted(lab[0].scopes)) == ("lab", "viewer", ["read"])
        assert (cache.known(secret), cache.known(secret, "lab")) == (own[0], lab[0])
        for name in ("other", "nowhere"):
            with pytest.raises(WorkspaceNotFound, match=name):
                cache.look_up(secret, name)
            assert cache.known(secret, name) is None

    def test_a_revoked_token_is_forgotten_when_the_answer_is_old(self, sqlite_store: Store) -> None:
        ada = identity.add_user(sqlite_store, "ada", PASSWORD)
        secret = sign_in(sqlite_store)
        cache = TokenCache(sqlite_store, fresh_s=0.2)
        assert cache.look_up(secret)
        with sqlite_store.write() as tx:
            tx.revoke_tokens(ada.id)
        deadline = time.monotonic() + 2
        while cache.known(secret) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cache.look_up(secret) is None
        assert tokens.FRESH_S < 5

    def test_it_remembers_so_many_and_the_latest_answers(
        self, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "MAX_KNOWN", 3)
        ada = identity.add_user(sqlite_store, "ada", PASSWORD)
        with sqlite_store.write() as tx:
            secrets = [tokens.issue(tx, ada, "test")[0] for _ in range(4)]
        cache = TokenCache(sqlite_store)
        for secret in [*secrets[:3], secrets[0], secrets[3]]:
            cache.look_up(secret)
        assert [cache.known(secret) is not None for secret in secrets] == [True, False, True, True]


class TestIdentities:
    def test_the_event_loop_goes_on_while_the_database_is_asked(self, postgres_store: Store) -> None:
        ada = identity.add_user(postgres_store, "ada", PASSWORD)
        secret = sign_in(postgres_store)
        identities = Identities(postgres_store)

        async def ask() -> None:
            with postgres_store.write() as tx:
                tx.connection.execute(text("LOCK TABLE tokens"))
                asked = asyncio.create_task(identities.holder(secret))
                done, _ = await asyncio.wait([asked], timeout=0.1)
                assert not done
            found = await asked
            assert found is not None
            assert found.user_id == ada.id
            assert await identities.holder(secret) == found

        asyncio.run(ask())
        identities.close()
        with postgres_store.read() as tx:
            (token,) = tx.tokens(ada.id)
        assert token.last_used_at is not None

    def test_what_looks_like_no_token_is_none_without_a_question(self) -> None:
        identities = Identities(open_store("postgresql://nobody@127.0.0.1:1/nothing"))
        for given in ("", "x" * 46, "ts_", "ts_" + "a" * 42, "ts_" + "a" * 44, "TS_" + "a" * 43, "ts_" + "é" * 43):
            assert asyncio.run(identities.holder(given)) is None
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(identities.holder("ts_" + "a" * 43))
        identities.close()

    def test_whether_there_is_anybody_is_seen_soon(self, sqlite_store: Store) -> None:
        identities = Identities(sqlite_store, fresh_s=0.05)
        assert not asyncio.run(identities.anybody())
        identity.add_user(sqlite_store, "ada", PASSWORD)
        deadline = time.monotonic() + 2
        while not asyncio.run(identities.anybody()):
            assert time.monotonic() < deadline
        identities.close()
