"""Leftovers: key prefixes of files that nobody needs any more, and of uploads that nobody has finished yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select

from tunesmith.domain import utcnow
from tunesmith.store.queries import Queries, chunks
from tunesmith.store.tables import datasets, leftovers

UPLOAD = timedelta(days=1)
"""How long an upload may take; what nobody finished goes then."""
READERS = timedelta(hours=1)
"""How long the files of a dataset stay after it was replaced or deleted, for those who are reading them."""
BATCH = 500
"""Keys that are read at once."""
FILES_LOCK = 7_286_110_415
"""PostgreSQL: one look at a time at whether anybody still has a dataset's files (dependencies have the number before).
"""


class LeftoverQueries(Queries):
    """Queries on files that are to be removed."""

    def leave(self, keys: Collection[str], not_before: datetime | None = None) -> None:
        """Note that what lies under these key prefixes is to be removed, at once or after a moment."""
        rows = [{"key": key, "not_before": not_before} for key in sorted(set(keys))]
        for part in chunks(rows):
            self.connection.execute(self.insert(leftovers).on_conflict_do_nothing(), part)

    def begin_upload(self, files: str) -> None:
        """Note, before the first byte is written, that files are to lie under a key prefix.

        Call it in a transaction of its own. Whoever stores what was uploaded takes the note out again; where nobody
        does, for a crash or an error, the files are removed a day later.
        """
        self.leave([files], utcnow() + UPLOAD)

    def end_upload(self, files: str) -> bool:
        """Take the note out; False when there is none, or the files may be removed by now."""
        query = delete(leftovers).where(leftovers.c.key == files, leftovers.c.not_before > utcnow())
        return self.connection.execute(query).rowcount == 1

    def release_files(self, files: Collection[str]) -> None:
        """Leave the files of datasets that were replaced or deleted just now, where no other dataset shares them."""
        if self.connection.dialect.name == "postgresql":  # two that let go at once would each see the other
            self.connection.execute(select(func.pg_advisory_xact_lock(FILES_LOCK)))
        for part in chunks(sorted(files)):
            shared = set(self.connection.scalars(select(datasets.c.files).where(datasets.c.files.in_(part))))
            self.leave(set(part) - shared, utcnow() + READERS)

    def leftover_keys(self, after: str = "") -> list[str]:
        """Key prefixes of files that nobody needs any more, a batch of those behind `after`."""
        due = or_(leftovers.c.not_before.is_(None), leftovers.c.not_before <= utcnow())
        query = select(leftovers.c.key).where(leftovers.c.key > after, due).order_by(leftovers.c.key)
        return list(self.connection.scalars(query.limit(BATCH)))

    def settle_leftovers(self, keys: Sequence[str]) -> None:
        """Note that there is nothing under these keys any more."""
        self.connection.execute(delete(leftovers).where(leftovers.c.key.in_(keys)))
