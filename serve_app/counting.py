"""Counts the requests of a replica: in memory, and from there in the database, where all replicas' counts are one."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.errors import DatabaseUnavailable
from tunesmith.services.metrics import REQUEST_BUCKETS, REQUEST_SECONDS, REQUESTS
from tunesmith.store import Store
from tunesmith.store.tallies import bucket, tallied

log = logging.getLogger("tunesmith.api")

WRITE_S = 10.0
"""Seconds from the first request that is not written yet until it is."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""The label of a path that is none of ours, of a request that was refused before its route was known, of a method."""
GONE = 499
"""The status of a request whose client went away before the answer began."""


class RequestCounts:
    """What was counted and is not written yet; safe to share between threads. Without requests nothing is written."""

    def __init__(self, store: Store, write_s: float = WRITE_S) -> None:
        """`write_s`: seconds until a request is written."""
        self._store, self._write_s = store, write_s
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._timer: threading.Timer | None = None

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request whose answer ended."""
        with self._lock:
            self._answers[method, route, status] += 1
            self._buckets[route, bisect_left(REQUEST_BUCKETS, seconds)] += 1
            self._seconds[route] = self._seconds.get(route, 0.0) + seconds
            if self._timer is None:
                self._timer = threading.Timer(self._write_s, self._write_late)
                self._timer.daemon = True
                self._timer.start()

    def write(self) -> None:
        """Add to the database what was counted. Raises DatabaseUnavailable; then it is kept for the next time."""
        with self._writing:
            with self._lock:
                taken = self._answers, self._buckets, self._seconds
                self._answers, self._buckets, self._seconds = Counter(), Counter(), {}
            if not taken[0]:
                return
            try:
                with self._store.write() as tx:
                    tx.add_tallies(_tallies(*taken))
            except BaseException:
                self._put_back(*taken)
                raise

    def close(self) -> None:
        """Write the rest, if the database is there."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._try_to_write()

    def _write_late(self) -> None:
        with self._lock:
            self._timer = None  # the next request starts another one
        self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self.write()
        except DatabaseUnavailable as error:
            log.warning("the counts of requests are kept until the database is back: %s", error)
        except Exception:
            log.exception("the counts of requests could not be written")

    def _put_back(
        self, answers: Counter[tuple[str, str, int]], buckets: Counter[tuple[str, int]], seconds: dict[str, float]
    ) -> None:
        with self._lock:
            self._answers.update(answers)
            self._buckets.update(buckets)
            for route, more in seconds.items():
                self._seconds[route] = self._seconds.get(route, 0.0) + more


class CountRequests:
    """The ASGI middleware that counts; outside of all that may refuse a request."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self.app, self.counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when its answer has ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = GONE, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            # The router writes the route into the scope, which everybody on the way shares.
            route = getattr(scope.get("route"), "path", OTHER)
            self.counts.add(method, route, status, time.perf_counter() - begun)


def _tallies(
    answers: Counter[tuple[str, str, int]], buckets: Counter[tuple[str, int]], seconds: dict[str, float]
) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for (method, route, status), count in answers.items():
        found[tallied(REQUESTS, method=method, route=route, status=str(status))] = count
    for (route, place), count in buckets.items():
        found[tallied(REQUEST_SECONDS, route=route, le=bucket(REQUEST_BUCKETS, place))] = count
    for route, total in seconds.items():
        found[tallied(REQUEST_SECONDS, route=route, le="sum")] = total
    return found
