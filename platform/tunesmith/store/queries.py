"""What all queries share: a connection, an upsert that both databases know, and reading in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, bindparam, literal, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from tunesmith.domain import Page
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.errors import InvalidCursor, NameTaken
from tunesmith.store.tables import CleanText, UTCTime, experiments

T = TypeVar("T")
DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}
"""Whose INSERT knows ON CONFLICT."""
CHUNK = 500
"""Values of one IN list, at most."""
SCOPE = bindparam("workspace", type_=Text)


def ours(table: Table) -> ColumnElement[bool]:
    """Which rows of a table with workspaces the transaction sees. The statement is executed with `**self.scope`."""
    return or_(SCOPE.is_(None), table.c.workspace_id == SCOPE)


class Queries:
    """Queries on one connection, inside one transaction."""

    def __init__(self, connection: Connection, workspace_id: str | None = None) -> None:
        """`workspace_id`: the one workspace whose things are found; None: those of all."""
        self.connection, self.workspace_id = connection, workspace_id
        self.scope = {"workspace": workspace_id}

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


def newest_first(
    query: Select[Any], moment: ColumnElement[datetime], key: ColumnElement[str], cursor: str | None, limit: int
) -> Select[Any]:
    """A page of a list by a moment and an id, with one row more where there is a next one. Raises InvalidCursor."""
    page = query.order_by(moment.desc(), key.desc()).limit(limit + 1)
    if not cursor:
        return page
    text, last = decode_cursor(cursor, str, str)
    try:
        edge = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidCursor(cursor=cursor) from error
    return page.where(tuple_(moment, key) < tuple_(literal(edge, UTCTime), literal(last, CleanText)))


def page_of(found: Sequence[T], limit: int, key: Callable[[T], tuple[datetime, str]]) -> Page[T]:
    """The page that `newest_first` found; `key`: an item's moment and id."""
    if len(found) <= limit:
        return Page(list(found), None)
    moment, last = key(found[limit - 1])
    return Page(list(found[:limit]), encode_cursor(moment.isoformat(), last))


def taken(kind: str, field: str, name: str) -> NameTaken:
    """The refusal of a name that another one of its kind has."""
    return NameTaken(f"A {kind} has the name {name!r} already; choose another one", field=field, value=name)


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
