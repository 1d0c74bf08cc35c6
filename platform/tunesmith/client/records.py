"""Whole trials over REST: read page by page, and added in batches that fit into a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.errors import PayloadTooLarge, TunesmithError
from tunesmith.schemas.records import Record, RecordAnswer, RecordPage, RecordsAnswer, StudyForm

BATCH_BYTES = 1_000_000
"""Size of a request at which it is sent; smaller ones follow where the platform takes less."""
BATCH = 500
"""Records of a request, at most."""
Progress = Callable[[int], None]
"""Is told how many records are done so far."""


@dataclass(frozen=True)
class Imported:
    """What came of adding records."""

    count: int
    """Trials."""
    outside: int
    """Of these, how many lie outside the space: samplers do not learn from them."""


def read_records(connection: Connection, path: str, progress: Progress | None = None) -> Iterator[RecordAnswer]:
    """Every record of an experiment, by number. Raises TunesmithError."""
    done = 0
    with ThreadPoolExecutor(1) as ahead:  # the platform works on the next page while this one is used
        pending: Future[Any] | None = ahead.submit(connection.get, f"{path}/records")
        while pending is not None:
            body = pending.result()
            cursor = body.get("next_cursor") if isinstance(body, dict) else None
            pending = ahead.submit(connection.get, f"{path}/records", cursor=cursor) if cursor else None
            page = parsed(connection, RecordPage, body)
            yield from page.records
            done += len(page.records)
            if progress is not None:
                progress(done)


def read_study(connection: Connection, path: str) -> StudyForm:
    """What the experiment is as a study: its name, and what was noted about it. Raises TunesmithError."""
    return parsed(connection, RecordPage, connection.get(f"{path}/records", limit=1)).study


def send_records(
    connection: Connection,
    path: str,
    records: Iterable[Record],
    keep_numbers: bool | None = None,
    noted: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Add records to an experiment; a batch is added whole or not at all, and never twice.

    `keep_numbers` unset: they keep them where the experiment had none before the first batch. `noted`: `user_attrs` and
    `system_attrs` of the experiment, sent along with the first batch.

    Raises:
        InvalidBody, Conflict: a record does not fit; `details` has `added`, how many were added before it.
        TunesmithError: the platform did not answer; `details` has `added` too.
    """
    if keep_numbers is None:
        keep_numbers = not parsed(connection, RecordPage, connection.get(f"{path}/records", limit=1)).records
    added = outside = 0
    extra = dict(noted or {})
    try:
        for batch in _batches(records):
            for answer in _send(connection, f"{path}/records", batch, {"keep_numbers": keep_numbers, **extra}):
                added, outside, extra = added + answer.count, outside + answer.outside, {}
            if progress is not None:
                progress(added)
        if extra:
            connection.post(f"{path}/records", {"records": [], **extra})
    except TunesmithError as error:
        error.details = {**error.details, "added": added}
        raise
    return Imported(added, outside)


def _send(connection: Connection, path: str, batch: Sequence[Any], rest: Mapping[str, Any]) -> Iterator[RecordsAnswer]:
    """Send a batch, in halves where it is too large for the platform."""
    try:
        body = connection.post(path, {"records": batch, **rest})
    except PayloadTooLarge:
        if len(batch) == 1:
            raise
        middle = len(batch) // 2
        yield from _send(connection, path, batch[:middle], rest)
        yield from _send(connection, path, batch[middle:], {"keep_numbers": rest["keep_numbers"]})
    else:
        yield parsed(connection, RecordsAnswer, body)


def _batches(records: Iterable[Record]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        wire = record.wire()
        length = len(json.dumps(wire))
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH):
            yield batch
            batch, size = [], 0
        batch.append(wire)
        size += length
    if batch:
        yield batch
