"""`client.training_jobs`: programs on a schedule, with retries: made, found, checked and counted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.client.training_job import PATH, TrainingHandle
from tunesmith.errors import TrainingNotFound
from tunesmith.schemas.training_answers import StatsAnswer, TrainingAnswer, TrainingChecked, TrainingPage

ID = re.compile(r"train-[0-9a-f]{8}")
PAGE = 100
"""Jobs that are asked for at once."""


class TrainingJobs:
    """The training jobs of a platform.

    job = client.training_jobs.create("nightly", ["python", "train.py"], schedule="0 2 * * *", max_retries=3)
    job.run()
    job.wait(raise_on_failure=True)
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, command: Sequence[str], **fields: Any) -> TrainingHandle:
        """Make a training job; further fields as in `TrainingRequest`. Without a schedule it fires at once.

        Raises:
            NameTaken: there is one of this name.
            InvalidBody, InvalidSchedule, InvalidSpace: the server refuses it; `details` names the field.
        """
        return self._handle(
            parsed(self._connection, TrainingAnswer, self._connection.post(PATH, _body(name, command, fields)))
        )

    def validate(self, name: str, command: Sequence[str], **fields: Any) -> TrainingChecked:
        """Check what `create` takes, and make nothing: its schedule in words, and the next five firings.

        Raises:
            TunesmithError: what `create` would raise.
        """
        body = self._connection.post(f"{PATH}/validate", _body(name, command, fields))
        return parsed(self._connection, TrainingChecked, body)

    def get(self, name_or_id: str) -> TrainingHandle:
        """The one of this id, or else of this name.

        Raises:
            TrainingNotFound: there is none; the message has names that are near.
        """
        if ID.fullmatch(name_or_id):
            handle = TrainingHandle(self._connection, name_or_id)
            try:
                handle.refresh()
            except TrainingNotFound:
                pass  # a name may look like an id
            else:
                return handle
        for handle in self.list(q=name_or_id):
            if handle.name == name_or_id:
                return handle
        raise self._unknown(name_or_id)

    def list(
        self, status: str | None = None, q: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> Iterator[TrainingHandle]:
        """Those of a status, and whose name holds `q` (all by default), page after page, at most `limit`.

        Newest first, or by `sort`: `created_at`, `name`, `next_run_at`, `updated_at`, with `-` before it downwards.
        """
        seen: set[str] = set()
        number = 1
        while limit is None or len(seen) < limit:
            page = self.page(number, PAGE, status, q, sort)
            for info in page.jobs:
                if info.job_id not in seen and len(seen) != limit:  # a new one moves others to the next page
                    seen.add(info.job_id)
                    yield self._handle(info)
            if number * PAGE >= page.total:
                return
            number += 1

    def page(
        self,
        number: int = 1,
        page_size: int = 50,
        status: str | None = None,
        q: str | None = None,
        sort: str | None = None,
    ) -> TrainingPage:
        """One page of what `list` gives, of at most 100 jobs, and how many there are in all. Raises BadRequest."""
        options: Mapping[str, Any] = {"status_filter": status, "q": q, "sort": sort}
        body = self._connection.get(PATH, page=number, page_size=page_size, **options)
        return parsed(self._connection, TrainingPage, body)

    def stats(self) -> StatsAnswer:
        """How many there are in each status."""
        return parsed(self._connection, StatsAnswer, self._connection.get("/stats"))

    def _handle(self, info: TrainingAnswer) -> TrainingHandle:
        return TrainingHandle(self._connection, info.job_id, info)

    def _unknown(self, name: str) -> TrainingNotFound:
        names = [handle.name for handle in self.list(limit=1000)]
        near = difflib.get_close_matches(name, names, n=3) or [
            word for word in names if name.casefold() in word.casefold()
        ]
        hint = f"is it {' or '.join(map(repr, near[:3]))}?" if near else "`tunesmith jobs list` lists them"
        return TrainingNotFound(f"No training job has the name or id {name!r}; {hint}", name=name, near=near[:3])


def _body(name: str, command: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "command": command, **fields}
