"""Users: added, removed, given other passwords, and signed in. Passwords are kept as Argon2 hashes.

To hash a password takes long on purpose, so these functions take the store and hash while no transaction is open.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cache
from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from tunesmith.domain import Role, Token, User
from tunesmith.domain.identity import MAIN, MAX_PASSWORD, MIN_PASSWORD, is_user_name
from tunesmith.errors import Conflict, InvalidParameter, NameTaken, Unauthenticated, UserNotFound
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


def add_user(
    store: Store, name: str, password: str | None, workspace: str = MAIN, role: Role | None = "editor"
) -> User:
    """Add a user, or bring a removed one back, with this role in this workspace; without a password: a program.

    Raises:
        InvalidParameter: the name or the password is none.
        NameTaken: there is a user of this name.
        WorkspaceNotFound: there is no such workspace.
    """
    check_name(name, "user")
    password_hash = None if password is None else hashed(password)
    with store.write() as tx:
        if workspace == MAIN:
            tx.default_workspace()  # the first user may come before the first start
        kind = "service" if password is None else "user"
        return put_user(tx, name, workspace, role, password_hash=password_hash, kind=kind)


def put_user(tx: Tx, name: str, workspace: str, role: Role | None, **columns: Any) -> User:
    """Add a user, or bring a removed one back, whose own workspace this is, with this role in it.

    `columns`: as `Tx.create_user` takes them, and the password's hash; None of it: nobody can sign in so.

    Raises:
        InvalidParameter: the name is none.
        NameTaken: there is a user of this name.
        WorkspaceNotFound: there is no such workspace.
    """
    check_name(name, "user")
    workspace_id = tx.workspace_called(workspace).id
    try:
        known = tx.user(name)
    except UserNotFound:
        user = tx.create_user(workspace_id, name, **columns)
    else:
        if not known.disabled:
            raise NameTaken(f"There is a user {name!r} already; `tunesmith user password {name}` changes the password")
        tx.change_user(known.id, **columns, disabled=False, workspace_id=workspace_id)
        user = tx.user(name)
    if role is not None:
        tx.grant(workspace_id, f"user:{user.id}", role)
    return user


def set_password(store: Store, name: str, password: str) -> User:
    """Give a user another password, and take back all tokens. Raises InvalidParameter, UserNotFound (also: removed)."""
    password_hash = hashed(password)
    with store.write() as tx:
        user = present(tx, name)
        if user.kind == "service":
            raise InvalidParameter(f"{name} is a program, which has no password; it gets tokens")
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


def program(tx: Tx, name: str) -> User:
    """A service account that was not removed. Raises UserNotFound, Conflict (people make their tokens themselves)."""
    user = present(tx, name)
    if user.kind != "service":
        raise Conflict(f"{name} is a person, who makes tokens after signing in; only programs are given some")
    return user


def keep_admin(store: Store, password: str) -> None:
    """See to it that the user `admin` is there, an admin, with this password; tokens go only with another one."""
    with store.read() as tx:
        found = tx.credentials(ADMIN)
    if found is None:
        add_user(store, ADMIN, password, role="admin")
        log.info("the user %s was added", ADMIN)
    elif not PASSWORDS.verify(password, found[1]):
        set_password(store, ADMIN, password)
        log.info("the user %s has another password; its tokens were revoked", ADMIN)
    with store.write() as tx:  # it may have lost that role
        tx.grant(tx.default_workspace(), f"user:{tx.user(ADMIN).id}", "admin")


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


def check_name(name: str, kind: str) -> None:
    """Raise InvalidParameter unless something of this kind (`user`, `group`, `workspace`) may be called so."""
    if not is_user_name(name):
        raise InvalidParameter(
            f"{name!r} cannot be a {kind}'s name: letters, digits and ._@+- (100 at most; a letter or digit first), "
            "but not anonymous or api-key"
        )


def hashed(password: str) -> str:
    """What is kept of a password; it takes long. Raises InvalidParameter."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidParameter(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return PASSWORDS.hash(password)


@cache
def _nobodys_hash() -> str:
    """What a password is compared with where there is no user."""
    return PASSWORDS.hash("nobody's")
