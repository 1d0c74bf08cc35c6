"""Work that is put off for a moment, so that much of it is done at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tunesmith.errors import DatabaseUnavailable

log = logging.getLogger("tunesmith.later")


class Later:
    """Does something in a thread of its own, so many seconds after it was asked for; safe to share between threads."""

    def __init__(self, work: Callable[[], None], after_s: float) -> None:
        """`work` must not run while somebody asks: it may begin as soon as one has."""
        self._work, self._after_s = work, after_s
        self._lock, self._working = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None

    def ask(self) -> None:
        """See to it that the work is done; asked for again before it begins, it is done once."""
        if self._timer is not None:
            return
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._after_s, self._begin)
                self._timer.daemon = True
                self._timer.start()

    def now(self) -> None:
        """Do it at once, in this thread; what goes wrong is logged."""
        with self._working:
            try:
                self._work()
            except DatabaseUnavailable as error:
                log.warning("it is tried again when the database is back: %s", error)
            except Exception:
                log.exception("work that was put off failed")

    def close(self) -> None:
        """Do now what was asked for."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.now()

    def _begin(self) -> None:
        self._timer = None  # who asks from now on is served by the next one
        self.now()
