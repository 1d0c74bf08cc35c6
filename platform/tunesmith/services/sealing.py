"""Sealing: text that is encrypted with the platform's key, and can be opened only as what it was sealed for.

AES-256-GCM. Of several keys the first one seals and all can open, so that a key can be changed: put the new one first.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tunesmith.errors import InvalidSettings, SecretUnusable
from tunesmith.settings import MIN_SECRET_KEY, Settings, secret_token

KEY_FILE = "secret_key"
"""In the data directory: the key of a platform that was given none."""
NONCE = 12
"""Bytes of a nonce."""


class Keyring:
    """The keys that seal and open."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = [AESGCM(_derived(key)) for key in keys]

    def seal(self, text: str, purpose: str) -> str:
        """The text, encrypted; `purpose`: what it is, which is not kept in it."""
        nonce = os.urandom(NONCE)
        sealed = self._ciphers[0].encrypt(nonce, text.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The text. Raises SecretUnusable: no key opens it, or it was sealed as something else."""
        data = base64.b64decode(sealed)
        for cipher in self._ciphers:
            with contextlib.suppress(InvalidTag):
                return cipher.decrypt(data[:NONCE], data[NONCE:], purpose.encode()).decode()
        raise SecretUnusable


def keyring(settings: Settings) -> Keyring:
    """The keys in force; one is made in the data directory where none was given. Raises InvalidSettings."""
    if settings.secret_key is not None:
        return Keyring([key.strip() for key in settings.secret_key.split(",")])
    path = settings.secret_key_file or settings.data_dir.absolute() / KEY_FILE
    if settings.secret_key_file is None:
        _make(path)
    try:
        keys = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise InvalidSettings(f"the key of the secrets cannot be read: {error}") from error
    if not keys or min(map(len, keys)) < MIN_SECRET_KEY:
        raise InvalidSettings(f"{path}: a key of secrets has {MIN_SECRET_KEY} characters or more, on a line of its own")
    return Keyring(keys)


def _make(path: Path) -> None:
    """A file that is there as a whole or not at all, for its owner alone; one that is there stays."""
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secret_token() + "\n")
    try:
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(name, path)
    finally:
        os.unlink(name)


def _derived(key: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"tunesmith secrets").derive(key.encode())
