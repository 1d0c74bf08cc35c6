"""Queries on quotas: how much of what a workspace has, and whether more fits in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, exists, func, or_, select

from tunesmith.domain import JobState
from tunesmith.errors import QuotaExceeded
from tunesmith.store.queries import Queries
from tunesmith.store.tables import datasets, experiments, jobs, sessions, workspaces

ALL = select(workspaces.c.id, workspaces.c.quotas)
OF = select(workspaces.c.quotas).where(workspaces.c.id == bindparam("workspace"))
OURS = jobs.c.workspace_id == bindparam("workspace")
RUNNING = select(func.count()).select_from(jobs).where(jobs.c.state == JobState.RUNNING.value, OURS)
ACTIVE = exists().where(jobs.c.experiment_id == experiments.c.id, jobs.c.active == 1)
FINISHED = experiments.c.n_complete + experiments.c.n_pruned + experiments.c.n_failed
# What an active job still has to do says its progress.
OPEN = case((ACTIVE, 0), else_=experiments.c.n_waiting + experiments.c.n_running)
TRIALS = select(func.coalesce(func.sum(FINISHED + OPEN), 0))
TRIALS = TRIALS.where(experiments.c.workspace_id == bindparam("workspace"))
PROGRESS = select(jobs.c.progress).where(jobs.c.active == 1, OURS)
FILES = select(datasets.c.files, func.max(datasets.c.bytes).label("bytes")).join_from(datasets, sessions)
FILES = FILES.where(sessions.c.workspace_id == bindparam("workspace")).group_by(datasets.c.files)
BYTES = select(func.coalesce(func.sum(FILES.subquery().c.bytes), 0))


class QuotaQueries(Queries):
    """Queries on quotas. A transaction that sees all workspaces is the platform's own: nothing is refused in it."""

    def check_trials(self, more: int) -> None:
        """Raise QuotaExceeded unless so many more trials may be made in the workspace."""
        quota = self._quota("trials")
        if quota is not None:
            planned = [row.progress for row in self.connection.execute(PROGRESS, self.scope)]
            to_do = sum(max(0, (each.get("total") or 0) - each.get("finished", 0)) for each in planned)
            self._check("trials", quota, int(self.connection.scalar(TRIALS, self.scope) or 0) + to_do, more)

    def check_storage(self, more: int) -> None:
        """Raise QuotaExceeded unless datasets of so many more bytes may lie in the workspace; copies share theirs."""
        quota = self._quota("storage_bytes")
        if quota is not None:
            self._check("storage_bytes", quota, int(self.connection.scalar(BYTES, self.scope) or 0), more)

    def room_for_jobs(self) -> dict[str, int]:
        """By workspace that has a quota of running jobs, how many more may run."""
        rows = self.connection.execute(ALL)
        most = {row.id: int(row.quotas["running_jobs"]) for row in rows if row.quotas.get("running_jobs") is not None}
        running = {each: self.connection.scalar(RUNNING, {"workspace": each}) or 0 for each in most}
        return {each: max(0, most[each] - running[each]) for each in most}

    def _quota(self, of: str) -> int | None:
        if self.workspace_id is None:
            return None
        found: int | None = (self.connection.scalar(OF, self.scope) or {}).get(of)
        return found

    def _check(self, of: str, quota: int, used: int, more: int) -> None:
        if used + more > quota:
            raise QuotaExceeded(
                f"The workspace may have {quota:,} {of.replace('_', ' ')}; it has or plans {used:,}, and this needs "
                f"{more:,} more. Delete something, or ask an administrator for a larger quota",
                quota=of,
                limit=quota,
                used=used,
                wanted=more,
            )


def within(
    room: Mapping[str, int], due: ColumnElement[bool], turn: Sequence[ColumnElement[Any]]
) -> ColumnElement[bool]:
    """Whether a job that is due is, in its turn, one of so many of its workspace; of the workspaces not named, any."""
    place = func.row_number().over(partition_by=jobs.c.workspace_id, order_by=turn).label("place")
    queue = select(jobs.c.id, jobs.c.workspace_id, place).where(due).subquery()
    most = case(room, value=queue.c.workspace_id)
    return jobs.c.id.in_(select(queue.c.id).where(or_(most.is_(None), queue.c.place <= most)))
