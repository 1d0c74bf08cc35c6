"""Server-sent events of a job: its state changes and finished trials, in order, resumable after any of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from tunesmith.domain import Event, render_time
from tunesmith.errors import BadRequest, DatabaseUnavailable
from tunesmith.schemas.words import state_in_words
from tunesmith.store import Store, Tx

POLL_S = 0.2
"""Seconds between two looks at the database while things happen ..."""
IDLE_POLL_S = 1.0
"""... and when nothing does."""
KEEP_ALIVE_S = 15.0
"""Seconds of silence after which a comment goes out, so that no proxy gives the connection up."""
BATCH = 500
"""Events read at once."""
SCHEMA = {
    "type": "object",
    "description": "One event: `id` for `Last-Event-ID`, `event` is `state`, `trial` or `message`, `data` is JSON.",
    "required": ["id", "event", "data"],
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def check_resumable(tx: Tx, job_id: str, after: int) -> None:
    """Raise BadRequest unless the job has had an event of that number (0: from the beginning)."""
    if after > 0 and not tx.events(job_id, after - 1, limit=1):
        raise BadRequest(f"Last-Event-ID: {job_id} has had no event {after}; leave it out to start from the first one")


async def stream(store: Store, job_id: str, after: int = 0) -> AsyncIterator[bytes]:
    """The job's events after a number, until it has ended. Whoever sends the stream cancels it on disconnect."""
    pause, quiet_since = POLL_S, time.monotonic()
    while True:
        ended, found = await run_in_threadpool(_news, store, job_id, after)
        if found:
            yield b"".join(render(event) for event in found)
            after, pause, quiet_since = found[-1].seq, POLL_S, time.monotonic()
        if len(found) == BATCH:
            continue
        if ended:
            return
        if time.monotonic() - quiet_since >= KEEP_ALIVE_S:
            yield b": keep-alive\n\n"
            quiet_since = time.monotonic()
        await anyio.sleep(pause)
        pause = min(pause * 1.2, IDLE_POLL_S)


def render(event: Event) -> bytes:
    """An event on the wire: its number is the id, its kind the event's name, its data JSON on one line."""
    data = {"job_id": event.job_id, "at": render_time(event.at), **event.data}
    if event.kind == "state":
        data = state_in_words(data)
        data["job_status"] = data["state"]
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), to_json(data, inf_nan_mode="null"))


def _news(store: Store, job_id: str, after: int) -> tuple[bool, list[Event]]:
    """(whether the job has ended, its next events); a database that is away for a while has no news."""
    try:
        with store.read() as tx:
            ended = tx.job(job_id).state.ended  # read first: no event of an ended job is missed
            return ended, tx.events(job_id, after, limit=BATCH)
    except DatabaseUnavailable:
        return False, []
