"""A file that is taken away, as bytes, while it is written."""

from __future__ import annotations

import io


class Sink(io.RawIOBase):
    """What a writer writes to, and a stream takes from."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: object) -> int:
        """Take bytes."""
        taken = bytes(memoryview(data))  # type: ignore[arg-type]
        self._held.append(taken)
        self._written += len(taken)
        return len(taken)

    def tell(self) -> int:
        """How many bytes were written in all."""
        return self._written

    def drain(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._held)
        self._held.clear()
        return taken
