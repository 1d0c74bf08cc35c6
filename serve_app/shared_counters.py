"""Counters of rate limits that all replicas share, without asking the database for every request.

Each process counts in memory, and once a second adds what it counted to the database, which tells what the others did.
So all replicas together allow a little more than the limit: what comes in one second.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from limits.storage import Storage

from tunesmith.errors import DatabaseUnavailable
from tunesmith.services.later import Later
from tunesmith.store import Store

EXCHANGE_S = 1.0
"""Seconds between two exchanges with the other replicas, while there are requests."""
MAX_KEYS = 10_000
"""Counters that are remembered."""


@dataclass
class Window:
    """What was counted in the window of time that is open."""

    ends: float
    """Seconds since the epoch; the same on all replicas."""
    known: int = 0
    """Counted by everybody, as of the last exchange."""
    more: int = 0
    """Counted here since."""


class SharedCounters(Storage):
    """A storage of the `limits` library; safe to share between threads."""

    STORAGE_SCHEME = None

    def __init__(self, store: Store, exchange_s: float = EXCHANGE_S) -> None:
        super().__init__()
        self._store = store
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._later = Later(self._exchange, exchange_s)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong in the database; it stops no counting."""
        return DatabaseUnavailable

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count `amount` more in a window of `expiry` seconds; how many there are now, as far as is known here."""
        now = time.time()
        with self._lock:
            window = self._windows.get(key)
            if window is None or window.ends <= now:
                window = self._open(key, (now // expiry + 1) * expiry, now)
            window.more += amount
            count = window.known + window.more
        self._later.ask()
        return count

    def get(self, key: str) -> int:
        """How many there are in the open window."""
        window = self._windows.get(key)
        return window.known + window.more if window is not None and window.ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the open window ends, in seconds since the epoch; now, where none is open."""
        window = self._windows.get(key)
        return time.time() if window is None else window.ends

    def check(self) -> bool:
        """Whether it can count: always."""
        return True

    def reset(self) -> int:
        """Forget what was counted here."""
        with self._lock:
            forgotten = len(self._windows)
            self._windows.clear()
        return forgotten

    def clear(self, key: str) -> None:
        """Forget what was counted under a key here."""
        with self._lock:
            self._windows.pop(key, None)

    def close(self) -> None:
        """Add what was counted here to the others' counts."""
        self._later.close()

    def _open(self, key: str, ends: float, now: float) -> Window:
        if len(self._windows) >= MAX_KEYS:
            self._windows = {name: window for name, window in self._windows.items() if window.ends > now}
        while len(self._windows) >= MAX_KEYS:  # the oldest: a limit that many share is found again in the database
            del self._windows[next(iter(self._windows))]
        self._windows[key] = window = Window(ends)
        return window

    def _exchange(self) -> None:
        with self._lock:
            taken = {key: (window, window.more) for key, window in self._windows.items() if window.more}
            for window, more in taken.values():
                window.known, window.more = window.known + more, 0
        if not taken:
            return
        counts = {
            f"{key}@{window.ends:.0f}": (more, datetime.fromtimestamp(window.ends, UTC))
            for key, (window, more) in taken.items()
        }
        try:
            with self._store.write() as tx:
                totals = tx.add_requests(counts)
        except BaseException:
            with self._lock:
                for window, more in taken.values():
                    window.known, window.more = window.known - more, window.more + more
            raise
        with self._lock:
            for key, (window, _) in taken.items():
                window.known = totals[f"{key}@{window.ends:.0f}"]
