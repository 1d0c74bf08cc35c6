"""What a task says while it is done: how far it is, without flooding whoever listens."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Sequence

from tuners.hosting import wire
from tuners.hosting.tasks import GivenUp

PAUSE_S = 0.05
"""Seconds between two words about the progress, at least; the last one is never lost."""
MAX_MESSAGE = 500
"""Characters of a message, at most."""


class ChildVoice:
    """A voice that speaks over the child's connection. Safe to use from threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._word: tuple[int, str | None] = (0, None)
        self._sent_at = 0.0
        self._timer: threading.Timer | None = None
        self._closed = False

    def begin(self, limit_s: float | None = None, limit: str = "its own timeout_s") -> None:
        """See Voice."""
        with self._lock:
            wire.send(self._connection, ("begin", limit_s, limit))

    def now(self, part: str) -> None:
        """See Voice."""
        with self._lock:
            wire.send(self._connection, ("now", part))

    def progress(self, percent: float, message: str | None = None) -> None:
        """See Voice. Beyond 0 to 100 counts as the end that it is beyond; NaN says nothing new."""
        share = float(percent)
        known = self._word[0] if math.isnan(share) else int(min(max(share, 0.0), 100.0))
        word = (known, self._word[1] if message is None else str(message)[:MAX_MESSAGE])
        with self._lock:
            if self._closed or word == self._word:
                return
            self._word = word
            pause_s = self._sent_at + PAUSE_S - time.monotonic()
            if pause_s <= 0:
                self._send()
            elif self._timer is None:
                self._timer = threading.Timer(pause_s, self._late)
                self._timer.daemon = True
                self._timer.start()

    def report(self, measured: Sequence[tuple[str, int, float]]) -> None:
        """See Voice."""
        with self._lock:
            wire.send(self._connection, ("report", list(measured)))
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            if poll.poll(0) and wire.receive(self._connection) in (None, (wire.STOP, [])):
                raise GivenUp

    def close(self) -> None:
        """The task is over: nothing is said any more."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            if not self._closed:
                self._send()

    def _send(self) -> None:
        wire.send(self._connection, ("progress", *self._word))
        self._sent_at = time.monotonic()
