"""The handle of a training job: change it, steer it, wait for it, read what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from tunesmith.client.answers import paged, parsed
from tunesmith.client.connection import Connection
from tunesmith.client.job import SILENCE_S
from tunesmith.client.waiting import await_end
from tunesmith.errors import TunesmithError
from tunesmith.schemas.training_answers import ExecutionAnswer, TrainingAnswer

PATH = "/jobs"
LONGEST_PAUSE_S = 5.0
"""Seconds between two looks at a job that is waited for, at most."""


class TrainingHandle:
    """A training job. Every method that asks the server raises TunesmithError, TrainingNotFound among them."""

    def __init__(self, connection: Connection, job_id: str, info: TrainingAnswer | None = None) -> None:
        self._connection = connection
        self._info = info
        self._path = f"{PATH}/{quote(job_id, safe='')}"
        self.id = job_id

    def __repr__(self) -> str:
        return f"TrainingHandle({self.id!r}, {self._info.name if self._info else 'not asked yet'!r})"

    @property
    def info(self) -> TrainingAnswer:
        """All fields of the job as it stood when the server was last asked."""
        return self._info if self._info is not None else self.refresh()

    @property
    def name(self) -> str:
        """What people call it."""
        return self.info.name

    @property
    def status(self) -> str:
        """`pending`, `running`, `paused`, `retrying`, `completed`, `failed` or `cancelled`."""
        return self.info.status

    @property
    def ended(self) -> bool:
        """Whether its latest execution is over, well or badly."""
        return is_over(self.info)

    @property
    def retry_count(self) -> int:
        """How often its latest execution was begun anew."""
        return self.info.retry_count

    @property
    def next_run_at(self) -> datetime | None:
        """When it fires next; None: no schedule says so."""
        return self.info.next_run_at

    @property
    def started_at(self) -> datetime | None:
        """When its latest execution began."""
        return self.info.started_at

    @property
    def completed_at(self) -> datetime | None:
        """When that one ended."""
        return self.info.completed_at

    @property
    def error_message(self) -> str | None:
        """Why its last attempt failed."""
        return self.info.error_message

    def refresh(self) -> TrainingAnswer:
        """The job as it stands now."""
        return self._taken(self._connection.get(self._path))

    def update(self, **fields: Any) -> TrainingAnswer:
        """Change fields of the request that made it; others stay, and None is null: `update(schedule=None)`.

        Raises:
            StateForbids: it is running.
            NameTaken: another one has the new name.
            InvalidBody, InvalidSchedule: the server refuses a value; `details` names the field.
        """
        return self._taken(self._connection.put(self._path, fields))

    def delete(self) -> None:
        """Delete it with its executions and their logs. Raises StateForbids (it is running), DependedOn."""
        self._connection.delete(self._path)

    def run(self) -> TrainingAnswer:
        """Fire it now, whatever its schedule says. Raises StateForbids where it is running, or queued."""
        return self._ask("run")

    def retry(self) -> TrainingAnswer:
        """Begin its latest execution anew, from its checkpoint unless it completed. Raises StateForbids."""
        return self._ask("retry")

    def cancel(self) -> TrainingAnswer:
        """Stop its execution; the schedule stays. Raises StateForbids where there is none."""
        return self._ask("cancel")

    def pause(self) -> TrainingAnswer:
        """Let it keep its schedule, but not fire; what runs ends by itself. Raises StateForbids."""
        return self._ask("pause")

    def resume(self) -> TrainingAnswer:
        """Let it fire again after `pause`. Raises StateForbids."""
        return self._ask("resume")

    def executions(self, number: int | None = None, limit: int | None = None) -> Iterator[ExecutionAnswer]:
        """Every attempt of every execution, or of one, newest first, page after page, at most `limit`."""
        path = f"{self._path}/executions"
        return paged(self._connection, path, "executions", ExecutionAnswer, limit, number=number)

    def logs(self, execution: int | None = None, trial: int | None = None, follow: bool = False) -> Iterator[str]:
        """The lines that its newest attempt wrote; or those of all attempts of an execution, each after a header line.

        `trial`: that of one attempt, as `executions` says. With `follow`, also the lines that are still to come, until
        the execution has ended, through its retries; a job that has not fired yet is waited for.
        """
        params = {"execution": execution, "trial": trial, "follow": "true" if follow else None}
        silence_s = None if follow else SILENCE_S
        with self._connection.stream(f"{self._path}/logs", params, {"Accept": "text/plain"}, silence_s) as response:
            yield from response.iter_lines()

    def wait(
        self,
        timeout_s: float | None = None,
        raise_on_failure: bool = False,
        on_progress: Callable[[TrainingAnswer], object] | None = None,
    ) -> TrainingAnswer:
        """Wait until its latest execution is over, or its first one if it never fired; the `status` says how it ended.

        `on_progress` is called with every new standing. A server that restarts meanwhile is waited for.

        Raises:
            TimeoutError: it goes on after `timeout_s` seconds.
            TunesmithError: with `raise_on_failure`: it failed, or was cancelled. Else: the server cannot be reached for
                a minute, or knows no such job.
        """
        info = await_end(
            self.refresh,
            is_over,
            timeout_s,
            on_progress,
            lambda now: f"{now.name} is still {now.status}",
            LONGEST_PAUSE_S,
        )
        if raise_on_failure and (reason := failure(info)) is not None:
            raise TunesmithError(reason, job_id=self.id, status=info.status)
        return info

    def _ask(self, what: Literal["run", "retry", "cancel", "pause", "resume"]) -> TrainingAnswer:
        return self._taken(self._connection.post(f"{self._path}/{what}"))

    def _taken(self, body: Any) -> TrainingAnswer:
        self._info = parsed(self._connection, TrainingAnswer, body)
        return self._info


def is_over(info: TrainingAnswer) -> bool:
    """Whether the latest execution is over; a paused job's status does not say so, but its end does."""
    return info.status in ("completed", "failed", "cancelled") or (
        info.status == "paused" and info.completed_at is not None
    )


def failure(info: TrainingAnswer) -> str | None:
    """Why the latest execution did not complete, in a sentence; None when it did."""
    if info.status not in ("failed", "cancelled") and not (info.status == "paused" and info.error_message):
        return None
    word = "failed" if info.status == "paused" else info.status
    lines = (info.error_message or "").strip().splitlines()
    return f"{info.name} {word}: {lines[0]}" if lines else f"{info.name} {word}"
