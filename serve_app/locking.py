"""The lock on a data directory: who holds it knows that nobody else works there."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def take_lock(directory: Path) -> IO[str] | None:
    """The directory's lock file, held until it is closed or this process ends; the directory is made if need be.

    None: another process holds it. Raises OSError when it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stream = (directory / "lock").open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream
