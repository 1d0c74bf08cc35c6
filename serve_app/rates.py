"""How often something may be asked for: the `limits` library, counting in the database that all replicas share."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from tunesmith.errors import DatabaseUnavailable, TooManyRequests
from tunesmith.store import Tx


class Counters(Storage):
    """Counters of one transaction: what it counted is forgotten if it is rolled back."""

    STORAGE_SCHEME = None

    def __init__(self, tx: Tx) -> None:
        super().__init__()
        self.tx = tx

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong in a transaction."""
        return DatabaseUnavailable

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count `amount` more in a window of `expiry` seconds; how many there are now."""
        return self.tx.count_request(key, expiry, amount)

    def get(self, key: str) -> int:
        """How many there are in the open window."""
        return self.tx.request_count(key)[0]

    def get_expiry(self, key: str) -> float:
        """When the open window ends, in seconds since the epoch; now, where none is open."""
        ends = self.tx.request_count(key)[1]
        return time.time() if ends is None else ends.timestamp()

    def check(self) -> bool:
        """Whether the database answers: the transaction is open, so it does."""
        return True

    def reset(self) -> int:
        """Forget every counter."""
        return self.tx.forget_requests()

    def clear(self, key: str) -> None:
        """Forget one counter."""
        self.tx.forget_requests(key)


def count(tx: Tx, rate: str | None, what: str, who: str) -> None:
    """Count something that somebody asks for, of which `rate` is allowed (`60/minute`; None: any number).

    Raises:
        TooManyRequests: it was too often; `retry_after_s` in the details says when it may be asked for again.
    """
    if rate is None:
        return
    limiter = FixedWindowRateLimiter(Counters(tx))
    if not limiter.hit(parse(rate), what, who):
        raise too_many(limiter, parse(rate), what, who)


def check(tx: Tx, rate: str, what: str, who: str) -> None:
    """The same without counting: for what is counted only when it turns out to be bad. Raises TooManyRequests."""
    limiter = FixedWindowRateLimiter(Counters(tx))
    if not limiter.test(parse(rate), what, who):
        raise too_many(limiter, parse(rate), what, who)


def too_many(limiter: FixedWindowRateLimiter, allowed: RateLimitItem, what: str, who: str) -> TooManyRequests:
    """The refusal of what was asked for too often; it says when it may be asked for again."""
    wait_s = max(1, math.ceil(limiter.get_window_stats(allowed, what, who).reset_time - time.time()))
    return TooManyRequests(
        f"Only {allowed} of {what}; try again in {wait_s} s", retry_after_s=wait_s, rate=str(allowed)
    )
