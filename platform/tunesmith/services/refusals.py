"""Counting refusals, so that whoever is refused all the time does not fill the audit log."""

from __future__ import annotations

import threading
import time

WINDOW_S, REFUSALS = 60.0, 60
"""Of an address, so many refusals of one kind are recorded in so many seconds."""
MAX_ADDRESSES = 10_000


class Refusals:
    """Refusals by their kind and address; safe to share between threads."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, key: str) -> int | None:
        """Count one: how many of this key were left out since the last one that was not; None: it is left out."""
        now = time.monotonic()
        with self._lock:
            ends, counted = self._windows.pop(key, (0.0, 0))
            before = max(0, counted - REFUSALS) if now >= ends else 0
            ends, counted = (ends, counted + 1) if now < ends else (now + self._window_s, 1)
            while len(self._windows) >= MAX_ADDRESSES:
                del self._windows[next(iter(self._windows))]
            self._windows[key] = ends, counted
        return before if counted <= REFUSALS else None
