"""Trying again: what a lost connection, a 429 or a 503 asks for, with exponential backoff and jitter."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tunesmith.errors import TunesmithError

T = TypeVar("T")
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LONGEST_RETRY_AFTER_S = 60.0


class Transient(Exception):
    """A failure that may be gone in a moment, and when the server said to come back."""

    def __init__(self, error: TunesmithError, after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


def pause_s(attempt: int, after_s: float | None = None) -> float:
    """Seconds to wait after an attempt (0, 1, 2, ...): what the server said, else backoff with jitter."""
    if after_s is not None:
        return min(after_s, LONGEST_RETRY_AFTER_S)
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt) * random.uniform(0.5, 1.0)


def retrying(call: Callable[[], T], retries: int) -> T:
    """Call until it succeeds, `retries` more times than once. Raises what the last attempt's Transient carries."""
    for attempt in range(retries + 1):
        try:
            return call()
        except Transient as failure:
            if attempt == retries:
                raise failure.error from failure.__cause__
            time.sleep(pause_s(attempt, failure.after_s))
    raise AssertionError("retries is negative")


class Patience:
    """How long an outage is borne: from the first failure until `limit_s` later, pausing longer each time."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._attempt = 0
        self._since: float | None = None

    def restored(self) -> None:
        """The server answered: the next failure is a new outage."""
        self._attempt, self._since = 0, None

    def bear(self, error: TunesmithError) -> None:
        """Pause after a failure. Raises the error when the outage is too long."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self.limit_s:
            raise error
        self.pause()

    def pause(self) -> None:
        """Wait a moment, longer each time until `restored`."""
        time.sleep(min(2.0, pause_s(self._attempt)))
        self._attempt += 1
