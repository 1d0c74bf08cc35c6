"""Housekeeping: what is older than the settings keep it is archived, then removed, a few rows at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Row

from tunesmith.domain import TrainingJob, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.services.archive import Archive
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store
from tunesmith.store.housekeeping import ARCHIVED, BATCH
from tunesmith.store.queries import chunks

log = logging.getLogger("tunesmith.housekeeping")

DAY_S = 86_400.0
Found = list[tuple[str, list[int]]]
"""Training job -> the row ids of its attempts that may go."""


@dataclass(frozen=True)
class Removed:
    """What went, or would go."""

    executions: int = 0
    """Attempts of training jobs."""
    firings: int = 0
    """Firings of which no attempt is left."""
    logs: int = 0
    """Logs of attempts that stay."""
    events: int = 0
    """Events of jobs that stay."""
    archive: str | None = None
    """The key of the file with the executions."""


@dataclass(frozen=True)
class Limits:
    """The moments before which things are old; None: never."""

    executions: datetime | None
    logs: datetime | None
    events: datetime | None

    @classmethod
    def of(cls, settings: Settings, now: datetime) -> Limits:
        """By the settings."""

        def ago(days: float | None) -> datetime | None:
            return None if days is None else now - timedelta(days=days)

        return cls(
            ago(settings.retention_executions_days),
            ago(settings.retention_logs_days),
            ago(settings.retention_events_days),
        )


def any_limit(settings: Settings) -> bool:
    """Whether the settings say how long anything is kept."""
    return Limits.of(settings, utcnow()) != Limits(None, None, None)


def survey(store: Store, settings: Settings, now: datetime | None = None) -> Removed:
    """What `housekeep` would remove now. Raises DatabaseUnavailable."""
    limits = Limits.of(settings, now or utcnow())
    executions = firings = logs = events = 0
    if limits.executions is not None:
        for training in _trainings(store, limits.executions):
            with store.read() as tx:
                attempts, whole = tx.count_old(training, limits.executions)
            executions, firings = executions + attempts, firings + whole
    if limits.logs is not None:
        for training in _trainings(store, limits.logs):
            with store.read() as tx:
                logs += tx.count_logs(training, limits.logs)
    if limits.events is not None:
        with store.read() as tx:
            events = tx.count_events(limits.events)
    return Removed(executions, firings, logs, events)


def housekeep(
    store: Store,
    storage: Storage,
    settings: Settings,
    now: datetime | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Removed:
    """Remove what is older than the settings keep it; `progress` is told how many rows went so far.

    Cut off at any moment it leaves things in the archive or in the database, or in both; the next time goes on.

    Raises:
        DatabaseUnavailable: the database is out of reach.
        StorageUnavailable: the archive cannot be written; then no execution was removed.
    """
    now = now or utcnow()
    done = Removed()
    for done in _steps(store, storage, settings, now):
        progress(done.executions + done.logs + done.events)
    remove_leftovers(store, storage)
    return done


def remove_leftovers(store: Store, storage: Storage) -> None:
    """Remove the files of what was removed; those that cannot be are left for the next time."""
    after = ""
    while True:
        with store.read() as tx:
            keys = tx.leftover_keys(after)
        if not keys:
            return
        gone = [key for key in keys if _remove(storage.remove_all, key)]
        with store.write() as tx:
            tx.settle_leftovers(gone)
        after = keys[-1]


def _remove(remove: Callable[[str], None], key: str) -> bool:
    try:
        remove(key)
    except StorageUnavailable as error:
        log.warning("%s could not be removed: %s", key, error)
        return False
    return True


def _steps(store: Store, storage: Storage, settings: Settings, now: datetime) -> Iterator[Removed]:
    """What went so far, after each transaction."""
    limits, done = Limits.of(settings, now), Removed()
    if limits.executions is not None:
        found, archive = _archive(store, storage, settings.archive, limits.executions, now)
        done = replace(done, archive=archive)
        for training_id, ids in found:
            for part in chunks(ids, BATCH):
                with store.write() as tx:
                    count = tx.remove_attempts(training_id, limits.executions, part)
                yield (done := replace(done, executions=done.executions + count))
        for training in _trainings(store, limits.executions):
            firings = _remove_firings(store, training.id, limits.executions)
            yield (done := replace(done, firings=done.firings + firings))
    if limits.logs is not None:
        for training in _trainings(store, limits.logs):
            for count in _log_batches(store, storage, training.id, limits.logs):
                yield (done := replace(done, logs=done.logs + count))
    if limits.events is not None:
        for count in _event_batches(store, limits.events):
            yield (done := replace(done, events=done.events + count))


def _trainings(store: Store, before: datetime) -> Iterator[TrainingJob]:
    after = ""
    while True:
        with store.read() as tx:
            found = tx.trainings_with_old(before, after)
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1].id


def _archive(store: Store, storage: Storage, wanted: bool, before: datetime, now: datetime) -> tuple[Found, str | None]:
    """The attempts that may go, and the key of the file that they were written to."""
    found: Found = []
    with Archive(storage, ARCHIVED, now) as archive:
        for training in _trainings(store, before):
            ids: list[int] = []
            with store.read() as tx:
                for rows in _grouped(tx.old_attempts(training, before)):
                    ids += [row.id for row in rows]
                    if wanted:
                        archive.add(rows)
            if ids:
                found.append((training.id, ids))
        return found, archive.close()


def _grouped(rows: Iterator[Row[Any]]) -> Iterator[list[Row[Any]]]:
    while part := list(islice(rows, BATCH)):
        yield part


def _remove_firings(store: Store, training_id: str, before: datetime) -> int:
    removed = 0
    while True:
        with store.write() as tx:
            firings, events = tx.remove_firings(training_id, before)
        removed += firings
        if not firings and not events:
            return removed


def _log_batches(store: Store, storage: Storage, training_id: str, before: datetime) -> Iterator[int]:
    while True:
        with store.write() as tx:
            keys = tx.remove_logs(training_id, before)
        if not keys:
            return
        for key in keys:
            _remove(storage.remove, key)
        yield len(keys)


def _event_batches(store: Store, before: datetime) -> Iterator[int]:
    after = ""
    while True:
        with store.read() as tx:
            job_ids = tx.jobs_with_old_events(before, after)
        if not job_ids:
            return
        while True:
            with store.write() as tx:
                count = tx.remove_events(job_ids, before)
            if not count:
                break
            yield count
        after = job_ids[-1]
