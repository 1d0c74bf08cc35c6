"""Password hashes that cost little, for tests that make many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from tunesmith.services import identity

REAL, QUICK = identity.PASSWORDS, PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024),))


@contextmanager
def hashing(passwords: PasswordHash) -> Iterator[None]:
    """Passwords are hashed so while the block runs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(identity, "PASSWORDS", passwords)
        identity._nobodys_hash.cache_clear()
        yield
    identity._nobodys_hash.cache_clear()


@pytest.fixture
def quick_hashes() -> Iterator[None]:
    """Passwords are hashed quickly."""
    with hashing(QUICK):
        yield
