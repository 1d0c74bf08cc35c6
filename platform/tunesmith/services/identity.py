"""Users: added, removed, given other passwords, and signed in. Passwords are kept as Argon2 hashes.

To hash a password takes long on purpose, so these functions take the store and hash while no transaction is open.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from tunesmith.domain import Token, User
from tunesmith.domain.identity import MAX_PASSWORD, MIN_PASSWORD, is_user_name
from tunesmith.errors import InvalidParameter, NameTaken, Unauthenticated, UserNotFound
from tunesmith.services.tokens import issue
from tunesmith.store import Store, Tx

log = logging.getLogger("tunesmith.identity")

ADMIN = "admin"
"""The user whose password is a setting."""
SIGNED_IN = timedelta(hours=24)
"""How long a token lasts that was given for a password."""
WRONG = "The user name or the password is wrong"
"""One sentence for both, and for users that were removed: nobody learns here who there is."""
PASSWORDS = PasswordHash((Argon2Hasher(),))


def add_user(store: Store, name: str, password: str) -> User:
    """Add a user, or bring a removed one back. Raises InvalidParameter (name or password), NameTaken."""
    _check_name(name)
    password_hash = _hashed(password)
    with store.write() as tx:
        try:
            known = tx.user(name)
        except UserNotFound:
            return tx.create_user(tx.default_workspace(), name, password_hash)
        if not known.disabled:
            raise NameTaken(f"There is a user {name!r} already; `tunesmith user password {name}` changes the password")
        tx.change_user(known.id, password_hash=password_hash, disabled=False)
        return tx.user(name)


def set_password(store: Store, name: str, password: str) -> User:
    """Give a user another password, and take back all tokens. Raises InvalidParameter, UserNotFound (also: removed)."""
    password_hash = _hashed(password)
    with store.write() as tx:
        user = present(tx, name)
        tx.change_user(user.id, password_hash=password_hash)
        tx.revoke_tokens(user.id)
        return user


def remove_user(tx: Tx, name: str) -> tuple[User, list[Token]]:
    """Let a user in no more; the tokens that this took back. The name stays. Raises UserNotFound (also: removed)."""
    user = present(tx, name)
    tx.change_user(user.id, disabled=True)
    return tx.user(name), tx.revoke_tokens(user.id)


def present(tx: Tx, name: str) -> User:
    """A user who was not removed. Raises UserNotFound."""
    user = tx.user(name)
    if user.disabled:
        raise UserNotFound(f"The user {name!r} was removed; `tunesmith user add {name}` brings it back", user=name)
    return user


def keep_admin(store: Store, password: str) -> None:
    """See to it that the user `admin` is there, with this password. Tokens are taken back only if it is another one."""
    with store.read() as tx:
        found = tx.credentials(ADMIN)
    if found is None:
        add_user(store, ADMIN, password)
        log.info("the user %s was added", ADMIN)
    elif not PASSWORDS.verify(password, found[1]):
        set_password(store, ADMIN, password)
        log.info("the user %s has another password; its tokens were revoked", ADMIN)


def authenticate(store: Store, name: str, password: str) -> tuple[str, Token]:
    """A new token for whoever knows the password: the secret, which is shown this once, and what is kept of it.

    It takes equally long, whether there is such a user or not.

    Raises:
        Unauthenticated: they do not go together.
    """
    with store.read() as tx:
        found = tx.credentials(name)
    right, renewed = PASSWORDS.verify_and_update(password, _nobodys_hash() if found is None else found[1])
    if found is None or not right:
        raise Unauthenticated(WRONG)
    user, _ = found
    with store.write() as tx:
        if tx.credentials(name, hold=True) != found:  # removed, or given another password, at this moment
            raise Unauthenticated(WRONG)
        if renewed is not None:
            tx.change_user(user.id, password_hash=renewed)
        return issue(tx, user, "sign-in", SIGNED_IN)


def _check_name(name: str) -> None:
    if not is_user_name(name):
        raise InvalidParameter(
            f"{name!r} cannot be a user's name: letters, digits and ._@+- (100 at most; a letter or digit first), "
            "but not anonymous or api-key"
        )


def _hashed(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidParameter(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return PASSWORDS.hash(password)


@cache
def _nobodys_hash() -> str:
    """What a password is compared with where there is no user."""
    return PASSWORDS.hash("nobody's")
