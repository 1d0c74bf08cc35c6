"""What all queries share: a connection, an upsert that both databases know, and reading in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, literal, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from tunesmith.domain import Page
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.errors import InvalidCursor
from tunesmith.store.tables import CleanText, UTCTime, experiments

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


def newest_first(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """A page of a list by `created_at` and `id`, with one row more where there is a next one. Raises InvalidCursor."""
    here = tuple_(table.c.created_at, table.c.id)
    page = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
    if not cursor:
        return page
    moment, last = decode_cursor(cursor, str, str)
    try:
        edge = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidCursor(cursor=cursor) from error
    return page.where(here < tuple_(literal(edge, UTCTime), literal(last, CleanText)))


def page_of(found: Sequence[T], limit: int, key: Callable[[T], tuple[datetime, str]]) -> Page[T]:
    """The page that `newest_first` found; `key`: an item's `created_at` and `id`."""
    if len(found) <= limit:
        return Page(list(found), None)
    moment, last = key(found[limit - 1])
    return Page(list(found[:limit]), encode_cursor(moment.isoformat(), last))


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
