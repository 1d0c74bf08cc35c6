"""Tallies: counters that outlive processes and are shared by replicas, for what nobody should count at each scrape."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from tunesmith.store.queries import Queries
from tunesmith.store.tables import tallies

BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 100_000.0)
"""Upper bounds of a histogram's buckets, in seconds; beyond lies one more."""


class TallyQueries(Queries):
    """Queries on tallies."""

    def add_tallies(self, more: Mapping[tuple[str, str], float]) -> None:
        """Add to many counters: (name, labels as JSON) -> what is added. In one order, so that no two writers wait."""
        insert = self.insert(tallies)
        upsert = insert.on_conflict_do_update(
            index_elements=["name", "labels"], set_={"value": tallies.c.value + insert.excluded.value}
        )
        rows = [{"name": name, "labels": labels, "value": value} for (name, labels), value in sorted(more.items())]
        if rows:
            self.connection.execute(upsert, rows)

    def tallies(self) -> list[tuple[str, Mapping[str, str], float]]:
        """Every counter: name, labels, value."""
        rows = self.connection.execute(select(tallies).order_by(tallies.c.name, tallies.c.labels))
        return [(row.name, json.loads(row.labels), row.value) for row in rows]


def tallied(name: str, **labels: str) -> tuple[str, str]:
    """A counter: its name, and its labels as JSON."""
    return name, json.dumps(labels, sort_keys=True)


def observed(name: str, seconds: float) -> dict[tuple[str, str], float]:
    """What an observation adds to a histogram: to its bucket, and to the sum (label `le` = "sum")."""
    return {tallied(name, le=bucket(BUCKETS, bisect_left(BUCKETS, seconds))): 1.0, tallied(name, le="sum"): seconds}


def bucket(bounds: Sequence[float], place: int) -> str:
    """The label `le` of the bucket at a place; behind the last one lies `+Inf`."""
    return str(bounds[place]) if place < len(bounds) else "+Inf"
