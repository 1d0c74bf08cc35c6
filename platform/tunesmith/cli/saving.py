"""Writing what was downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

from tunesmith.errors import BadRequest


def save(data: bytes, output: Path | None) -> None:
    """Write to a file, which is whole or not there, or to stdout. Raises BadRequest where it cannot be written."""
    if output is None:
        sys.stdout.buffer.write(data)
        return
    partial = output.with_name(output.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(output)
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}") from error
