"""The handle of a job: wait for it, follow it, stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx2

from tunesmith.client.answers import parsed_job
from tunesmith.client.connection import Connection
from tunesmith.client.retry import Patience
from tunesmith.errors import ConnectionFailed, Unavailable
from tunesmith.schemas.jobs import JobAnswer

SILENCE_S = 45.0
"""Seconds of silence after which an event stream is taken for dead; the server says something every 15."""
PATIENCE_S = 60.0
"""Seconds that `wait` and `events` bear a server that does not answer, for instance while it restarts."""
ENDED = frozenset({"succeeded", "finished", "failed", "cancelled", "stopped"})
"""Words for states that only a retry leaves."""


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened to a job."""

    seq: int
    """1, 2, 3, ... within the job; `events(last_event_id=seq)` goes on after it."""
    kind: str
    """`state`, `trial` or `message`."""
    data: Mapping[str, Any]
    """The details: a trial's number, values and parameters, or the job's new state."""


class Job:
    """A job of the platform. Every method that asks the server raises TunesmithError, JobNotFound among them."""

    warnings: tuple[str, ...]
    """What looked like a slip in the request that made it."""

    def __init__(
        self,
        connection: Connection,
        job_id: str,
        info: JobAnswer | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._connection = connection
        self._info = info
        self._path = f"/api/v1/jobs/{quote(job_id, safe='')}"
        self.id = job_id
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"Job({self.id!r}, {self._info.job_status if self._info else 'not asked yet'!r})"

    @property
    def info(self) -> JobAnswer:
        """The job as it stood when the server was last asked."""
        return self._info if self._info is not None else self.refresh()

    def refresh(self) -> JobAnswer:
        """The job as it stands now."""
        self._info = parsed_job(self._connection, self._connection.get(self._path))
        return self._info

    def wait(self, timeout: float | None = None, on_progress: Callable[[JobAnswer], object] | None = None) -> JobAnswer:
        """Wait until the job has ended, well or badly, and return it; its `job_status` says which.

        `on_progress` is called with every new standing. A server that restarts meanwhile is waited for.

        Raises:
            TimeoutError: the job goes on after `timeout` seconds.
            TunesmithError: the server cannot be reached for a minute, or knows no such job.
        """
        patience = Patience(PATIENCE_S if timeout is None else min(timeout, PATIENCE_S))
        begun, last = time.monotonic(), None
        while True:
            try:
                info = self.refresh()
                patience.restored()
            except (ConnectionFailed, Unavailable) as error:
                patience.bear(error)
                continue
            if on_progress is not None and info != last:
                on_progress(info)
            if info.ended:
                return info
            last, waited = info, time.monotonic() - begun
            if timeout is not None and waited >= timeout:
                raise TimeoutError(f"{self.id} is still {info.job_status} after {timeout:g} s; it goes on")
            pause = min(1.0, max(0.02, waited / 20))  # noticed at most a twentieth too late
            time.sleep(pause if timeout is None else min(pause, timeout - waited))

    def events(self, last_event_id: int | None = None) -> Iterator[JobEvent]:
        """What happened and happens to the job, until it has ended; after `last_event_id` only.

        A stream that breaks off is taken up where it broke. Raises TunesmithError when that fails for a minute.
        """
        seen, patience, known_ended = last_event_id or 0, Patience(PATIENCE_S), False
        while True:
            event = None
            try:
                for event in self._stream(seen):
                    seen = event.seq
                    patience.restored()
                    yield event
                # A clean end is the job's only if its last event was, or if it had ended before and nothing came.
                if _is_end(event) or (event is None and known_ended):
                    return
                known_ended = self.refresh().ended
            except (ConnectionFailed, Unavailable) as error:
                patience.bear(error)
            else:
                patience.pause()

    def logs(self, trial: int | None = None, follow: bool = False) -> Iterator[str]:
        """The lines of the log of one trial or of all; with `follow`, those that are still to come as well."""
        params = {"trial": trial, "follow": "true" if follow else None}
        silence_s = None if follow else SILENCE_S
        with self._connection.stream(f"{self._path}/logs", params, {"Accept": "text/plain"}, silence_s) as response:
            yield from response.iter_lines()

    def cancel(self) -> JobAnswer:
        """Stop it; its finished trials stay. Raises StateForbids where it has ended."""
        return self._ask("cancel")

    def pause(self) -> JobAnswer:
        """Start no more trials until `resume`. Raises StateForbids."""
        return self._ask("pause")

    def resume(self) -> JobAnswer:
        """Let it go on after `pause`. Raises StateForbids."""
        return self._ask("resume")

    def retry(self) -> JobAnswer:
        """Queue it again after its end; its failed trials run once more. Raises StateForbids, JobActive."""
        return self._ask("retry")

    def _ask(self, what: Literal["cancel", "pause", "resume", "retry"]) -> JobAnswer:
        self._info = parsed_job(self._connection, self._connection.post(f"{self._path}/{what}"))
        return self._info

    def _stream(self, seen: int) -> Iterator[JobEvent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if seen:
            headers["Last-Event-ID"] = str(seen)
        with self._connection.stream(f"{self._path}/events", {}, headers, SILENCE_S) as response:
            for sent in httpx2.EventSource(response):
                yield _event_of(self._connection, sent)


def _event_of(connection: Connection, sent: httpx2.ServerSentEvent) -> JobEvent:
    try:
        return JobEvent(seq=int(sent.id), kind=sent.event, data=dict(json.loads(sent.data)))
    except (TypeError, ValueError) as error:
        raise connection.not_ours(f"event {sent.id!r}: {sent.data[:100]!r}") from error


def _is_end(event: JobEvent | None) -> bool:
    return event is not None and event.kind == "state" and event.data.get("state") in ENDED
