"""A file from the platform: whole and checked, or not there."""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path

from tunesmith.client.connection import Connection
from tunesmith.client.job import SILENCE_S
from tunesmith.errors import ConnectionFailed

NAME = re.compile(r'filename="?([^";]+)"?')


def receive(connection: Connection, path: str, target: Path) -> Path:
    """Write what a GET gives to `target`, or into it under the server's name where it is a directory.

    Raises:
        ConnectionFailed: the connection broke off, or what came is not what the server's SHA-256 says.
        OSError: the file cannot be written.
    """
    with connection.stream(path, {}, {"Accept": "*/*"}, SILENCE_S) as response:
        if target.is_dir():
            named = NAME.search(response.headers.get("Content-Disposition", ""))
            target = target / Path(named.group(1) if named else "model").name
        promised = response.headers.get("X-Content-SHA256")
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        digest = hashlib.sha256()
        try:
            with partial.open("wb") as file:
                for piece in response.iter_bytes():
                    digest.update(piece)
                    file.write(piece)
            if promised is not None and promised != digest.hexdigest():
                raise ConnectionFailed(
                    f"What came from {connection.url}{path} is not what was sent: its SHA-256 is "
                    f"{digest.hexdigest()} and not {promised}; try again",
                    url=connection.url,
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return target
