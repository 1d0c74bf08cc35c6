"""Files that appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tunesmith.errors import BadRequest


def whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let a file be written beside its place, and put it there when it is whole. Raises BadRequest: it cannot."""
    directory = path.absolute().parent
    if not directory.is_dir():
        raise BadRequest(f"{path}: the directory {directory} does not exist")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=directory) as beside:
            partial = Path(beside, path.name)
            write(partial)
            partial.replace(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}") from error
