"""Queries on jobs: making, reading, and the transitions that people ask for."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, bindparam, insert, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from tunesmith.domain import (
    ACTIVE,
    NOT_EVALUATED,
    TRANSITIONS,
    Job,
    JobState,
    Page,
    Progress,
    Search,
    TrialState,
    utcnow,
)
from tunesmith.errors import ExperimentNotFound, JobActive, JobNotFound, StateForbids
from tunesmith.store.following import FollowingQueries
from tunesmith.store.queries import newest_first, ours, page_of
from tunesmith.store.quotas import QuotaQueries
from tunesmith.store.rows import JOB_COLUMNS, given, job_of, new
from tunesmith.store.tables import experiments, jobs, trials
from tunesmith.store.trials import UNFINISHED, TrialQueries

# Built once, for every request asks these (see experiments.py).
BY_ID = select(*JOB_COLUMNS).where(jobs.c.id == bindparam("id"), ours(jobs))
LOCKED = BY_ID.with_for_update()
ACTIVE_OF = select(*JOB_COLUMNS).where(jobs.c.experiment_id == bindparam("experiment_id"), jobs.c.active == 1)
NUMBERED = (
    update(experiments)
    .where(experiments.c.id == bindparam("experiment"))
    .values(next_run=experiments.c.next_run + 1)
    .returning(experiments.c.next_run, experiments.c.workspace_id)
)
ADD = insert(jobs).returning(*JOB_COLUMNS)
ONE, AMONG = jobs.c.id == bindparam("of"), jobs.c.id.in_(bindparam("ids", expanding=True))
OPEN_AMONG = (
    select(trials.c.job_id, trials.c.state)
    .where(trials.c.job_id.in_(bindparam("jobs", expanding=True)), trials.c.state.in_(UNFINISHED))
    .distinct()
)


def moving(which: ColumnElement[bool], columns: Mapping[str, Any]) -> ReturningUpdate[Any]:
    """An update that moves the jobs of a condition to another state, and hands out the number of the event."""
    values = {**columns, "next_seq": jobs.c.next_seq + 1}
    return update(jobs).where(which).values(values).returning(*JOB_COLUMNS, jobs.c.next_seq)


@cache
def _moving(which: ColumnElement[bool], names: frozenset[str]) -> ReturningUpdate[Any]:
    return moving(which, given(jobs, names))


class JobQueries(FollowingQueries, TrialQueries, QuotaQueries):
    """Queries on jobs."""

    def create_job(
        self,
        experiment_id: int,
        search: Search,
        total: int | None = None,
        priority: int = 10,
        submitted_by: str | None = None,
        note: str | None = None,
        state: JobState = JobState.QUEUED,
        **columns: Any,
    ) -> Job:
        """Make a job, with the experiment's next run number; `columns`: more of its row.

        Raises:
            ExperimentNotFound: there is no such experiment.
            JobActive: the experiment has a job that is queued, running, paused or waiting for a retry.
            QuotaExceeded: the workspace may not have so many trials as it plans.
        """
        self.check_trials(total or 1)
        numbered = self.connection.execute(NUMBERED, {"experiment": experiment_id}).first()
        if numbered is None:
            raise ExperimentNotFound(f"No experiment has the id {experiment_id}", experiment_id=experiment_id)
        row = {
            "id": f"job-{secrets.token_hex(6)}",
            "experiment_id": experiment_id,
            "workspace_id": numbered.workspace_id,
            "run_number": numbered.next_run - 1,
            "state": state.value,
            "priority": priority,
            "search": search.model_dump(mode="json", exclude_none=True),
            "progress": Progress(total=total).model_dump(mode="json"),
            "note": note,
            "submitted_by": submitted_by,
            "queued_at": utcnow(),
            "active": 1 if state in ACTIVE else None,
            "next_seq": 2,
        }
        if state in ACTIVE:
            self._refuse_second(experiment_id)
        job = job_of(self.connection.execute(ADD, row | columns).one())
        self.add_state_events([job], [1])
        self.follow_jobs([state], [job])
        return job

    def job(self, job_id: str) -> Job:
        """Read one. Raises JobNotFound."""
        row = self.connection.execute(BY_ID, {"id": job_id, **self.scope}).first()
        if row is None:
            raise JobNotFound(f"No job has the id {job_id!r}", job_id=job_id)
        return job_of(row)

    def active_job(self, experiment_id: int) -> Job | None:
        """The experiment's job that is queued, running, paused or waiting for a retry."""
        row = self.connection.execute(ACTIVE_OF, {"experiment_id": experiment_id}).first()
        return None if row is None else job_of(row)

    def jobs(
        self,
        states: Collection[JobState] | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        experiment_id: int | None = None,
    ) -> Page[Job]:
        """A page of jobs in the given states (all by default), newest first. Raises InvalidCursor."""
        query = newest_first(select(*JOB_COLUMNS).where(ours(jobs)), jobs.c.queued_at, jobs.c.id, cursor, limit)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if experiment_id is not None:
            query = query.where(jobs.c.experiment_id == experiment_id)
        found = list(map(job_of, self.connection.execute(query, self.scope)))
        return page_of(found, limit, lambda job: (job.queued_at, job.id))

    def move_job(self, job_id: str, to: JobState, allowed: Collection[JobState], **changes: Any) -> Job:
        """Move a job to another state, from one of the allowed ones.

        Raises:
            JobNotFound: there is no such job.
            StateForbids: it is in another state, or the state machine knows no such step.
            JobActive: it would become active beside another job of its experiment.
        """
        job = self.lock_job(job_id)
        if job.state not in allowed or to not in TRANSITIONS[job.state]:
            raise StateForbids(f"The job is {job.state}; it cannot become {to}", job_id=job_id, state=job.state.value)
        return self.set_job_state(job, to, **changes)

    def ask_job(self, job_id: str, wanted: Literal["cancelled", "paused"] | None) -> Job:
        """Leave a wish for the runner of a running job, or take it back (None). Raises JobNotFound, StateForbids."""
        job = self.lock_job(job_id)
        if job.state is not JobState.RUNNING:
            raise StateForbids(f"The job is {job.state}, not running", job_id=job_id, state=job.state.value)
        if job.wanted == "cancelled" != wanted:
            raise StateForbids("The job is being cancelled", job_id=job_id, state=job.state.value)
        message = {"cancelled": "stopping", "paused": "pausing: its running trials finish first"}.get(wanted or "")
        self.connection.execute(update(jobs).where(jobs.c.id == job_id).values(wanted=wanted, message=message))
        return self.job(job_id)

    def change_search(self, job_id: str, search: Search) -> None:
        """Write how a job searches anew."""
        changed = search.model_dump(mode="json")
        self.connection.execute(update(jobs).where(jobs.c.id == job_id).values(search=changed))

    def retry_job(self, job_id: str) -> Job:
        """Queue an ended job again: its failed trials are evaluated once more, and what was left goes on.

        Raises:
            JobNotFound: there is no such job.
            StateForbids: it has not ended.
            JobActive: another job of its experiment is active.
        """
        job = self.lock_job(job_id)
        if not job.state.ended:
            raise StateForbids(f"The job is {job.state}; only an ended one can be retried", state=job.state.value)
        self.lock_experiment(job.experiment_id)
        self._refuse_second(job.experiment_id)
        self.requeue_trials(job, {TrialState.FAILED})
        kept = sum(count for state, count in self.job_summary(job_id).items() if state.finished)
        progress = job.progress.evolve(finished=kept, failed=0)
        return self.set_job_state(
            job,
            JobState.QUEUED,
            error=None,
            ended_at=None,
            queued_at=utcnow(),
            available_at=None,
            losses=0,
            progress=progress.model_dump(mode="json"),
        )

    def set_job_state(self, job: Job, to: JobState, **changes: Any) -> Job:
        """Write a new state with its event; leaving `running` drops the lease, ending settles the open trials.

        Raises:
            JobActive: it would become active beside another job of its experiment.
        """
        if to in ACTIVE and not job.state.active:
            self.lock_experiment(job.experiment_id)
            self._refuse_second(job.experiment_id)
        return self.set_job_states([job], to, **changes)[0]

    def set_job_states(self, found: Sequence[Job], to: JobState, **changes: Any) -> list[Job]:
        """The same for many jobs, whose rows are locked; those that become active have no other job beside them."""
        if not found:
            return []
        before = {job.id: job.state for job in found}
        here, of = (ONE, {"of": found[0].id}) if len(before) == 1 else (AMONG, {"ids": list(before)})
        changed = {job.id: job for job in self.move_jobs(here, of, before, to, **changes)}
        return [changed[job.id] for job in found]

    def move_jobs(
        self,
        which: ColumnElement[bool],
        of: Mapping[str, Any],
        before: JobState | Mapping[str, JobState],
        to: JobState,
        **changes: Any,
    ) -> list[Job]:
        """Write a new state of the jobs that a condition names, in any order.

        `which`: a constant, for a statement is kept for each; `of`: its parameters; `before`: see `moved`.
        """
        columns: dict[str, Any] = {"state": to.value, "active": 1 if to in ACTIVE else None, "message": None, **changes}
        if to is not JobState.RUNNING:
            columns |= {"wanted": None, "lease_owner": None, "lease_token": None, "lease_expires_at": None}
        if to.ended:
            columns.setdefault("ended_at", utcnow())
        if to is JobState.SUCCEEDED:
            columns.setdefault("error", None)  # of an earlier attempt
        query = _moving(which, frozenset(columns))
        return self.moved(self.connection.execute(query, {**of, **new(columns)}).all(), before, to)

    def moved(self, rows: Sequence[Row[Any]], before: JobState | Mapping[str, JobState], to: JobState) -> list[Job]:
        """The jobs that `moving` answered, with all that follows from their new state; `before`: theirs, or each's."""
        if not rows:
            return []
        changed = list(map(job_of, rows))
        states = [before if isinstance(before, JobState) else before[job.id] for job in changed]
        left = [job for job, state in zip(changed, states, strict=True) if state is JobState.RUNNING]
        self._leave_running(left)
        self._settle_open(changed if to.ended else left, to)
        self.add_state_events(changed, [row.next_seq - 1 for row in rows])
        self.follow_jobs(states, changed)
        return changed

    def lock_job(self, job_id: str) -> Job:
        """Read one and hold its row to the end of the transaction. Raises JobNotFound."""
        row = self.connection.execute(LOCKED, {"id": job_id, **self.scope}).first()
        if row is None:
            raise JobNotFound(f"No job has the id {job_id!r}", job_id=job_id)
        return job_of(row)

    def _leave_running(self, found: Sequence[Job]) -> None:
        """Take back the numbers that runners reserved and did not use."""
        for experiment_id in self.untidy_numbers([job.experiment_id for job in found]):
            self.trim_numbers(experiment_id)

    def _settle_open(self, found: Sequence[Job], to: JobState) -> None:
        """Fail the open trials of jobs that end; of others, those that were running wait again."""
        if not found:
            return
        states = UNFINISHED if to.ended else (TrialState.RUNNING.value,)
        rows = self.connection.execute(OPEN_AMONG, {"jobs": [job.id for job in found]})
        unsettled = {job_id for job_id, state in rows if state in states}
        for job in found:
            if job.id in unsettled and to.ended:
                self.settle_trials(job, f"{NOT_EVALUATED}{to.value}")
            elif job.id in unsettled:
                self.requeue_trials(job, {TrialState.RUNNING})

    def _refuse_second(self, experiment_id: int) -> None:
        # Whoever makes a job active holds the experiment's row, so this look is safe, and the unique key never blocks.
        if (other := self.active_job(experiment_id)) is not None:
            raise JobActive(job_id=other.id)
