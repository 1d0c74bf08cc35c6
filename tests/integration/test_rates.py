"""Rate limits: counted in the database, by all processes together, without a race."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from limits import parse
from limits.strategies import FixedWindowRateLimiter

from serve_app.rates import Counters, count
from tunesmith.domain import utcnow
from tunesmith.errors import TooManyRequests
from tunesmith.store import Store
from tunesmith.store.tables import rate_counters

ASKING = """
import sys
from serve_app.rates import count
from tunesmith.errors import TooManyRequests
from tunesmith.store import open_store

store, allowed = open_store(sys.argv[1]), 0
for _ in range(40):
    try:
        with store.write() as tx:
            count(tx, "50/hour", "runs", "ann")
        allowed += 1
    except TooManyRequests:
        pass
print(allowed)
"""


def ask(store: Store, rate: str | None = "3/minute", who: str = "ann") -> None:
    with store.write() as tx:
        count(tx, rate, "runs", who)


def expire(store: Store) -> None:
    """Let every open window end."""
    with store.write() as tx:
        tx.connection.execute(rate_counters.update().values(expires_at=utcnow() - timedelta(seconds=1)))


def keys(store: Store) -> list[str]:
    with store.read() as tx:
        return sorted(tx.connection.scalars(rate_counters.select().with_only_columns(rate_counters.c.key)))


def test_so_many_are_allowed_and_then_it_says_when_to_come_back(store: Store) -> None:
    for _ in range(3):
        ask(store)
    with pytest.raises(TooManyRequests, match="3 per 1 minute") as refused:
        ask(store)
    assert 50 < refused.value.details["retry_after_s"] <= 60
    ask(store, who="ben")
    ask(store, rate=None)


def test_what_is_refused_or_rolled_back_is_not_counted(store: Store) -> None:
    def fail() -> None:
        with store.write() as tx:
            count(tx, "1/minute", "runs", "ann")
            raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()
    ask(store, "1/minute")


def test_the_next_window_counts_from_the_beginning_and_expired_counters_go(store: Store) -> None:
    for who in ("ann", "ann", "ann", "ben"):
        ask(store, who=who)
    assert len(keys(store)) == 2
    expire(store)
    for _ in range(3):
        ask(store)
    with pytest.raises(TooManyRequests):
        ask(store)
    assert [key.split("/")[2] for key in keys(store)] == ["ann"]


def test_the_library_reads_and_clears_what_was_counted(store: Store) -> None:
    limit = parse("5/minute")
    with store.write() as tx:
        counters = Counters(tx)
        limiter = FixedWindowRateLimiter(counters)
        assert limiter.get_window_stats(limit, "a").remaining == 5
        assert limiter.hit(limit, "a", cost=4)
        assert limiter.get_window_stats(limit, "a").remaining == 1
        assert limiter.test(limit, "a")
        assert not limiter.hit(limit, "a", cost=2)
        limiter.clear(limit, "a")
        assert limiter.get_window_stats(limit, "a").remaining == 5
        assert limiter.hit(limit, "a")
        assert counters.check()
        assert counters.reset() == 1
        assert counters.get(limit.key_for("a")) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.slow
def test_processes_that_count_at_once_never_allow_more(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    processes = [
        subprocess.Popen([sys.executable, "-c", ASKING, url], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        allowed = [int(process.communicate(timeout=60)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert sum(allowed) == 50
