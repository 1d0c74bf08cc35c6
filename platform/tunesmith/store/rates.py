"""Queries on rate counters: how often something was asked for in a window of time, counted without a race."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import case, delete, select

from tunesmith.domain import utcnow
from tunesmith.store.queries import Queries, chunks
from tunesmith.store.tables import rate_counters as counters


class RateQueries(Queries):
    """Queries on rate counters."""

    def count_request(self, key: str, window_s: float, amount: int = 1) -> int:
        """Count one more, in the window that is open or in a new one; how many there are now.

        Others who count under the key wait for the end of this transaction. A new window takes out expired ones.
        """
        now = utcnow()
        ends = now + timedelta(seconds=window_s)
        over = counters.c.expires_at <= now
        insert = self.insert(counters).values(key=key, count=amount, expires_at=ends)
        upsert = insert.on_conflict_do_update(
            index_elements=[counters.c.key],
            set_={
                "count": case((over, amount), else_=counters.c.count + amount),
                "expires_at": case((over, insert.excluded.expires_at), else_=counters.c.expires_at),
            },
        ).returning(counters.c.count)
        count = int(self.connection.execute(upsert).scalar_one())
        if count == amount:
            self._remove_expired(now)
        return count

    def add_requests(self, counts: Mapping[str, tuple[int, datetime]]) -> dict[str, int]:
        """Add to many counters: by key how many, and when its window ends, the same for all who count; the totals."""
        totals: dict[str, int] = {}
        for keys in chunks(sorted(counts)):  # in one order, so that no two transactions wait for one another
            rows = [{"key": key, "count": counts[key][0], "expires_at": counts[key][1]} for key in keys]
            insert = self.insert(counters).values(rows)
            added = insert.on_conflict_do_update(
                index_elements=[counters.c.key], set_={"count": counters.c.count + insert.excluded["count"]}
            ).returning(counters.c.key, counters.c["count"])
            totals |= {row["key"]: row["count"] for row in self.connection.execute(added).mappings()}
        if any(totals[key] == count for key, (count, _) in counts.items()):  # a new window
            self._remove_expired(utcnow())
        return totals

    def request_count(self, key: str) -> tuple[int, datetime | None]:
        """How many were counted in the open window, and when it ends; (0, None) where none is open."""
        query = select(counters.c.count, counters.c.expires_at)
        found = self.connection.execute(query.where(counters.c.key == key, counters.c.expires_at > utcnow())).first()
        if found is None:
            return 0, None
        count, ends = found
        return int(count), ends

    def forget_requests(self, key: str | None = None) -> int:
        """Forget what was counted under a key, or under every one; how many windows that were."""
        query = delete(counters) if key is None else delete(counters).where(counters.c.key == key)
        return self.connection.execute(query).rowcount

    def _remove_expired(self, now: datetime) -> None:
        # Those that somebody else counts in at the moment are left: no two transactions wait for one another.
        expired = select(counters.c.key).where(counters.c.expires_at <= now).with_for_update(skip_locked=True)
        self.connection.execute(delete(counters).where(counters.c.key.in_(expired)))
