"""Training jobs: made, listed, changed, deleted; which are due, and which of their firings may begin."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tunesmith.domain import (
    ENDED,
    ExperimentSpec,
    Job,
    JobState,
    Page,
    TrainingJob,
    TrainingPlan,
    TrainingStatus,
    Trial,
    utcnow,
)
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.domain.training import shown_status
from tunesmith.errors import BadRequest, DependedOn, NameTaken, StateForbids, TrainingNotFound
from tunesmith.storage import experiment_key
from tunesmith.store.attempts import AttemptQueries
from tunesmith.store.leases import held_back
from tunesmith.store.leftovers import LeftoverQueries
from tunesmith.store.queries import DIALECTS, ours
from tunesmith.store.rows import JOB_COLUMNS, TRAINING_COLUMNS, TRIAL_COLUMNS, job_of, training_of, trial_of
from tunesmith.store.tables import (
    clean,
    events,
    experiments,
    jobs,
    measurements,
    training_dependencies,
    training_jobs,
    trials,
)

OPEN = frozenset(JobState) - ENDED
DEPENDENCIES_LOCK = 7_286_110_414
"""PostgreSQL: one change of dependencies at a time (claims have the number before)."""
UNLESS_TAKEN = {
    name: dialect.insert(training_jobs).on_conflict_do_nothing().returning(training_jobs.c.id)
    for name, dialect in DIALECTS.items()
}
DUE = training_jobs.c.next_run_at.is_not(None) & training_jobs.c.paused.is_(False)
RUNNING, PAUSED = TrainingStatus.RUNNING.value, TrainingStatus.PAUSED.value
SHOWN = case((training_jobs.c.paused & (training_jobs.c.status != RUNNING), PAUSED), else_=training_jobs.c.status)
"""The same as `TrainingJob.shown`."""
on = training_jobs.alias("on")
READY = (
    training_jobs.c.scheduled.is_(False)
    & training_jobs.c.paused.is_(False)
    & training_jobs.c.id.in_(select(training_dependencies.c.training_id))
    & ~exists().where(
        training_dependencies.c.training_id == training_jobs.c.id,
        on.c.id == training_dependencies.c.on_id,
        (on.c.status != TrainingStatus.COMPLETED.value) | (on.c.completed_at <= training_jobs.c.fired_at),
    )
)
"""Without a schedule, and everything that it depends on has completed since it last fired.

Asked at every look, not told by whoever completes: so no two that complete at the same moment can miss one another.
"""
other = jobs.alias("other")
FREE = (
    (jobs.c.state == JobState.CREATED.value)
    & jobs.c.training_id.is_not(None)
    & ~exists().where(
        other.c.experiment_id == jobs.c.experiment_id,
        (other.c.active == 1) | ((other.c.state == jobs.c.state) & (other.c.run_number < jobs.c.run_number)),
    )
    & ~exists().where(
        training_dependencies.c.training_id == jobs.c.training_id,
        training_jobs.c.id == training_dependencies.c.on_id,
        training_jobs.c.status != TrainingStatus.COMPLETED.value,
    )
    & ~held_back(jobs.c.training_id)
)
"""A firing that waited and could begin: none of its training job is active or older, and what it needs is done."""
# Built once, as the dispatcher asks them all the time (see experiments.py).
NEXT_DUE = select(func.min(training_jobs.c.next_run_at)).where(DUE)
ANY_READY = select(training_jobs.c.id).where(READY).limit(1)
WAITING = select(*JOB_COLUMNS).where(FREE).order_by(jobs.c.queued_at, jobs.c.id).limit(bindparam("count"))
Order = Literal["created_at", "name", "next_run_at", "updated_at"]


class TrainingQueries(AttemptQueries, LeftoverQueries):
    """Queries on training jobs."""

    def create_training(
        self, workspace_id: str, name: str, spec: ExperimentSpec, plan: TrainingPlan, tags: Sequence[str] = ()
    ) -> TrainingJob:
        """Make one, with its experiment. Raises NameTaken."""
        training_id, now = f"train-{secrets.token_hex(4)}", utcnow()
        row = {
            "id": training_id,
            "workspace_id": workspace_id,
            "name": name,
            "experiment_id": self.own_experiment(workspace_id, training_id, name, spec, tags).id,
            "plan": plan,
            "status": TrainingStatus.PENDING.value,
            "scheduled": plan.schedule is not None,
            "created_at": now,
            "updated_at": now,
        }
        if self.connection.scalar(UNLESS_TAKEN[self.connection.dialect.name], row) is None:
            raise _taken(name)
        return self.training(training_id)

    def training(self, training_id: str) -> TrainingJob:
        """Read one. Raises TrainingNotFound."""
        query = select(*TRAINING_COLUMNS).where(training_jobs.c.id == training_id, ours(training_jobs))
        return self._one(query, training_id)

    def lock_training(self, training_id: str) -> TrainingJob:
        """Read one, and hold its open firings' rows, its experiment's, and its own to the end. Raises TrainingNotFound.

        In this order, which is that of whoever moves a job. Others may go on to refer to it meanwhile.
        """
        training = self.training(training_id)
        self.firings(training, OPEN, lock=True)
        self.lock_experiment(training.experiment_id)
        query = select(*TRAINING_COLUMNS).where(training_jobs.c.id == training_id, ours(training_jobs))
        return self._one(query.with_for_update(key_share=True), training_id)

    def hold_dependencies(self) -> None:
        """Let nobody else change dependencies until the end of the transaction; before any other row is held."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(select(func.pg_advisory_xact_lock(DEPENDENCIES_LOCK)))

    def training_named(self, workspace_id: str, name: str) -> TrainingJob | None:
        """The one of this name."""
        here = (training_jobs.c.workspace_id == workspace_id, training_jobs.c.name == name)
        row = self.connection.execute(select(*TRAINING_COLUMNS).where(*here)).first()
        return None if row is None else training_of(row)

    def trainings(
        self,
        status: TrainingStatus | None = None,
        text: str | None = None,
        order: Order = "created_at",
        descending: bool = True,
        offset: int = 0,
        limit: int = 50,
    ) -> tuple[list[TrainingJob], int]:
        """A page of them, newest first by default, and how many there are in all; `text`: a part of the name."""
        where: list[ColumnElement[bool]] = [ours(training_jobs)]
        if status is not None:
            where.append(SHOWN.in_([status.value]))
        if text:
            where.append(func.lower(training_jobs.c.name).contains(clean(text).lower(), autoescape=True))
        total = self.connection.scalar(select(func.count()).select_from(training_jobs).where(*where), self.scope) or 0
        columns = [training_jobs.c[order], training_jobs.c.id]
        directed = (column.desc() if descending else column.asc() for column in columns)
        query = select(*TRAINING_COLUMNS).where(*where).order_by(*(column.nulls_last() for column in directed))
        rows = self.connection.execute(query.offset(offset).limit(limit), self.scope)
        return [training_of(row) for row in rows], int(total)

    def training_counts(self) -> dict[TrainingStatus, int]:
        """Status -> how many training jobs stand there; those held back by a person count as paused."""
        standing = (training_jobs.c.status, training_jobs.c.paused)
        query = select(*standing, func.count()).where(ours(training_jobs)).group_by(*standing)
        rows = self.connection.execute(query, self.scope)
        found: Counter[TrainingStatus] = Counter()
        for status, paused, count in rows:
            found[shown_status(TrainingStatus(status), paused)] += count
        return {status: found.get(status, 0) for status in TrainingStatus}

    def change_training(self, training_id: str, **columns: Any) -> TrainingJob:
        """Write columns of one. Raises NameTaken, TrainingNotFound."""
        name = columns.get("name")
        if name is not None:
            mine = self.training(training_id)
            same = self.training_named(mine.workspace_id, name)
            if same is not None and same.id != training_id:
                raise _taken(name)
        if "plan" in columns:
            columns["scheduled"] = columns["plan"].schedule is not None
        changes = {**columns, "updated_at": utcnow()}
        try:
            self.connection.execute(update(training_jobs).where(training_jobs.c.id == training_id).values(changes))
        except IntegrityError as error:  # somebody else took the name meanwhile
            raise _taken(str(name)) from error
        return self.training(training_id)

    def change_program(self, experiment_id: int, spec: ExperimentSpec, tags: Sequence[str]) -> None:
        """Write what a training job runs."""
        changes = {"spec": spec, "name": spec.tool_name, "tags": list(tags)}
        self.connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(changes))

    def delete_training(self, training: TrainingJob) -> None:
        """Delete one with its firings, attempts and events; its files are left over.

        Raises DependedOn, StateForbids (it is running).
        """
        self.lock_training(training.id)
        needing = self.dependents(training.id)
        if needing:
            names = ", ".join(dependent.name for dependent in needing[:5])
            raise DependedOn(f"{names} depends on {training.name}; change or delete that first", dependents=names)
        mine = select(jobs.c.id).where(jobs.c.experiment_id == training.experiment_id)
        if any(job.state is JobState.RUNNING for job in self.firings(training, OPEN, lock=True)):
            raise StateForbids("The job is running; cancel it before you delete it", state="running")
        here = training.experiment_id
        for query in (
            delete(events).where(events.c.job_id.in_(mine)),
            delete(measurements).where(measurements.c.experiment_id == here),
            delete(trials).where(trials.c.experiment_id == here),
            delete(jobs).where(jobs.c.experiment_id == here),
            delete(training_dependencies).where(training_dependencies.c.training_id == training.id),
            delete(training_jobs).where(training_jobs.c.id == training.id),
            delete(experiments).where(experiments.c.id == here),
        ):
            self.connection.execute(query)
        self.leave([experiment_key(here)])

    def set_dependencies(self, training_id: str, on_ids: Collection[str]) -> None:
        """Let it depend on these. Raises BadRequest where that closes a circle."""
        here = training_dependencies.c.training_id == training_id
        self.connection.execute(delete(training_dependencies).where(here))
        if on_ids:
            self._refuse_circle(training_id, on_ids)
            rows = [{"training_id": training_id, "on_id": on_id} for on_id in dict.fromkeys(on_ids)]
            self.connection.execute(insert(training_dependencies), rows)

    def dependencies(self, training_ids: Collection[str]) -> dict[str, list[str]]:
        """Id -> the names of those that it depends on, sorted."""
        query = (
            select(training_dependencies.c.training_id, training_jobs.c.name)
            .join(training_jobs, training_jobs.c.id == training_dependencies.c.on_id)
            .where(training_dependencies.c.training_id.in_(list(training_ids)))
            .order_by(training_jobs.c.name)
        )
        found: dict[str, list[str]] = {training_id: [] for training_id in training_ids}
        for training_id, name in self.connection.execute(query):
            found[training_id].append(name)
        return found

    def dependents(self, training_id: str) -> list[TrainingJob]:
        """Those that depend on it."""
        ids = select(training_dependencies.c.training_id).where(training_dependencies.c.on_id == training_id)
        query = select(*TRAINING_COLUMNS).where(training_jobs.c.id.in_(ids)).order_by(training_jobs.c.name)
        return [training_of(row) for row in self.connection.execute(query)]

    def waits_for(self, training_id: str) -> list[str]:
        """The names of those that it depends on and that have not completed since it last fired."""
        query = (
            select(training_jobs.c.name)
            .join(training_dependencies, training_dependencies.c.on_id == training_jobs.c.id)
            .where(training_dependencies.c.training_id == training_id)
        )
        mine = self.training(training_id)
        pending = training_jobs.c.status != TrainingStatus.COMPLETED.value
        if mine.plan.schedule is None and mine.fired_at is not None:
            pending = pending | (training_jobs.c.completed_at <= mine.fired_at)
        return list(self.connection.scalars(query.where(pending).order_by(training_jobs.c.name)))

    def due_trainings(self, now: datetime, limit: int = 100) -> list[str]:
        """The ids of those that are due, longest due first; whoever takes one up locks it and looks again."""
        query = select(training_jobs.c.id).where(DUE, training_jobs.c.next_run_at <= now)
        due = list(self.connection.scalars(query.order_by(training_jobs.c.next_run_at).limit(limit)))
        return due + list(self.connection.scalars(select(training_jobs.c.id).where(READY).limit(limit - len(due))))

    def is_ready(self, training_id: str) -> bool:
        """Whether it has no schedule, and what it depends on has completed since it last fired."""
        query = select(training_jobs.c.id).where(READY, training_jobs.c.id == training_id)
        return self.connection.scalar(query) is not None

    def any_ready(self) -> bool:
        """Whether there is one of these."""
        return self.connection.scalar(ANY_READY) is not None

    def next_due(self) -> datetime | None:
        """When the next one is due."""
        moment: datetime | None = self.connection.scalar(NEXT_DUE)
        return moment

    def waiting_firings(self, limit: int = 100) -> list[Job]:
        """Firings that waited, and could begin now."""
        return list(map(job_of, self.connection.execute(WAITING, {"count": limit})))

    def latest_firing(self, training: TrainingJob) -> Job | None:
        """The firing that its status tells of."""
        query = select(*JOB_COLUMNS).where(
            jobs.c.experiment_id == training.experiment_id, jobs.c.run_number == training.latest_run
        )
        row = self.connection.execute(query).first()
        return None if row is None else job_of(row)

    def apply_policy(self, training: TrainingJob) -> None:
        """Let firings that have not ended follow the plan as it is now."""
        plan = training.plan
        changes = {"max_retries": plan.max_retries, "retry_backoff_s": plan.retry_backoff_s, "priority": plan.priority}
        held = [job.id for job in self.firings(training, OPEN)]
        self.connection.execute(update(jobs).where(jobs.c.id.in_(held)).values(changes))

    def firings(self, training: TrainingJob, states: Collection[JobState], lock: bool = False) -> list[Job]:
        """Its firings in these states, oldest first; `lock`: their rows are held to the end of the transaction."""
        query = select(*JOB_COLUMNS).where(
            jobs.c.experiment_id == training.experiment_id, jobs.c.state.in_([state.value for state in states])
        )
        query = query.order_by(jobs.c.id if lock else jobs.c.run_number)
        found = map(job_of, self.connection.execute(query.with_for_update() if lock else query))
        return sorted(found, key=lambda job: job.run_number)

    def executions(
        self, training: TrainingJob, run: int | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[tuple[Trial, Job]]:
        """A page of attempts with their firings, newest first; `run`: those of one firing. Raises InvalidCursor."""
        query = (
            select(*TRIAL_COLUMNS, *JOB_COLUMNS)
            .join(jobs, jobs.c.id == trials.c.job_id)
            .where(trials.c.experiment_id == training.experiment_id)
            .order_by(trials.c.number.desc())
            .limit(limit + 1)
        )
        if run is not None:
            query = query.where(trials.c.run_number == run)
        if cursor:
            query = query.where(trials.c.number < decode_cursor(cursor, int)[0])
        rows = self.connection.execute(query).all()
        wide = len(TRIAL_COLUMNS)
        found = [(trial_of(row[:wide]), job_of(row[wide:])) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1][0].number) if len(rows) > limit else None)

    def _one(self, query: Select[Any], training_id: str) -> TrainingJob:
        row = self.connection.execute(query, self.scope).first()
        if row is None:
            raise TrainingNotFound(f"No training job has the id {training_id!r}", job_id=training_id)
        return training_of(row)

    def _refuse_circle(self, training_id: str, on_ids: Collection[str]) -> None:
        seen: set[str] = set()
        ahead = set(on_ids)
        while ahead:
            if training_id in ahead:
                raise BadRequest(
                    "depends_on: these jobs depend on one another in a circle; none of them could ever begin",
                    field="depends_on",
                )
            seen |= ahead
            query = select(training_dependencies.c.on_id).where(training_dependencies.c.training_id.in_(list(ahead)))
            ahead = set(self.connection.scalars(query)) - seen


def _taken(name: str) -> NameTaken:
    return NameTaken(f"A training job has the name {name!r} already; choose another one", field="name", value=name)
