"""Answers that are kept until they are not true any more, and made once however many ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock


class Cache:
    """Bytes by name, the least recently used forgotten first; safe to share between threads.

    Answers are made one at a time, on a thread of the cache's own: however many are asked for, the others go on.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._making: dict[str, Future[bytes]] = {}
        self._lock = Lock()
        self._maker = ThreadPoolExecutor(1, "analysis")

    def get(self, name: str, make: Callable[[], bytes]) -> Future[bytes]:
        """The answer of this name, which `make` makes where nobody has yet; an error is raised for all who wait."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                done: Future[bytes] = Future()
                done.set_result(self._kept[name])
                return done
            if name not in self._making:
                self._making[name] = self._maker.submit(self._make, name, make)
            return self._making[name]

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def _make(self, name: str, make: Callable[[], bytes]) -> bytes:
        try:
            made = make()
        except BaseException:
            with self._lock:
                del self._making[name]
            raise
        with self._lock:
            del self._making[name]
            if len(made) <= self._max_bytes:
                self._kept[name] = made
                self._size += len(made)
            while self._size > self._max_bytes:
                _, forgotten = self._kept.popitem(last=False)
                self._size -= len(forgotten)
        return made
