"""What all queries share: a connection, an upsert that both databases know, and reading in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from tunesmith.store.tables import experiments

T = TypeVar("T")
DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}
"""Whose INSERT knows ON CONFLICT."""
CHUNK = 500
"""Values of one IN list, at most."""


class Queries:
    """Queries on one connection, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT, on either database."""
        return DIALECTS[self.connection.dialect.name].insert(table)

    def lock_experiment(self, experiment_id: int) -> None:
        """Hold the experiment's row to the end of the transaction: before its trials, counters or front change.

        The order of locks is: session, job, experiment, trials. So no two transactions wait for one another.
        """
        if self.connection.dialect.name == "postgresql":
            query = select(experiments.c.id).where(experiments.c.id == experiment_id)
            self.connection.execute(query.with_for_update(key_share=True))


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
