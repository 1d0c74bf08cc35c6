"""Queries on events: numbered per job, in the order of their commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import bindparam, insert, select, update

from tunesmith.domain import Event, Job, utcnow
from tunesmith.store.queries import Queries
from tunesmith.store.rows import event_of
from tunesmith.store.tables import events, jobs

# Built once, for every change of a job writes these (see experiments.py).
NEXT = update(jobs).where(jobs.c.id == bindparam("of")).values(next_seq=jobs.c.next_seq + 1).returning(jobs.c.next_seq)
ADD = insert(events).returning(events.c.seq)
"""With RETURNING many rows travel in one statement."""


class EventQueries(Queries):
    """Queries on events."""

    def add_event(self, job_id: str, kind: Literal["state", "trial", "message"], data: Mapping[str, Any]) -> None:
        """Append one. The job's row hands out the number and stays locked, so that numbers follow commits."""
        after = self.connection.scalar(NEXT, {"of": job_id})
        assert after is not None
        row = {"job_id": job_id, "seq": after - 1, "kind": kind, "data": dict(data), "at": utcnow()}
        self.connection.execute(ADD, row)

    def add_state_events(self, found: Sequence[Job], numbers: Sequence[int]) -> None:
        """Append the present states of jobs under numbers that their rows have handed out."""
        now = utcnow()
        rows = [
            {"job_id": job.id, "seq": seq, "kind": "state", "data": _state_of(job), "at": now}
            for job, seq in zip(found, numbers, strict=True)
        ]
        self.connection.execute(ADD, rows[0] if len(rows) == 1 else rows)

    def events(self, job_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's events with a number above `after`, in order."""
        query = select(events).where(events.c.job_id == job_id, events.c.seq > after).order_by(events.c.seq)
        return [event_of(row) for row in self.connection.execute(query.limit(limit))]


def _state_of(job: Job) -> dict[str, Any]:
    data: dict[str, Any] = {"state": job.state.value, "message": job.message, "attempt": job.attempt}
    if job.state.ended:
        data |= {"progress": job.progress.model_dump(mode="json"), "error": job.error}
    return data
