"""Scenarios: made, read with where their runs stand, and which of those that wait may begin."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Select, bindparam, delete, exists, func, or_, select, update

from tunesmith.domain import ACTIVE, Job, JobState, Scenario, Session, Standing, utcnow
from tunesmith.errors import JobActive, ScenarioNotFound
from tunesmith.store.datasets import OPEN, DatasetQueries
from tunesmith.store.queries import ours, taken
from tunesmith.store.rows import JOB_COLUMNS, given, job_of, new
from tunesmith.store.session_rows import (
    SCENARIO_COLUMNS,
    SESSION_COLUMNS,
    STANDING_COLUMNS,
    scenario_of,
    session_of,
    standing_of,
)
from tunesmith.store.tables import datasets, experiments, jobs, optimizations, scenarios, sessions, trials

WHOLE = (
    select(*SCENARIO_COLUMNS)
    .join_from(scenarios, datasets, datasets.c.id == scenarios.c.dataset_id)
    .outerjoin(jobs, jobs.c.id == scenarios.c.job_id)
    .outerjoin(experiments, experiments.c.id == jobs.c.experiment_id)
    .outerjoin(trials, trials.c.job_id == scenarios.c.job_id)
)
OF_ONE = WHOLE.where(scenarios.c.id == bindparam("id"), scenarios.c.session_id == bindparam("session_id"))
SET_RUN = (
    update(scenarios).where(scenarios.c.id == bindparam("of")).values(given(scenarios, ["experiment_id", "job_id"]))
)
# Built once, as hundreds of clients ask it all the time: one row of each table, found by its key.
STANDING = (
    select(*STANDING_COLUMNS)
    .join_from(scenarios, sessions, sessions.c.id == scenarios.c.session_id)
    .outerjoin(jobs, jobs.c.id == scenarios.c.job_id)
    .where(
        scenarios.c.id == bindparam("id"),
        or_(sessions.c.id == bindparam("sid"), sessions.c.display_name == bindparam("sid")),
        ours(sessions),
    )
)
# Few jobs are open, and many scenarios are complete: `|| ''` keeps SQLite from going through all of the session's.
OF_SESSION = scenarios.c.session_id.concat("") == bindparam("session_id")
CREATED, RUNNING = JobState.CREATED.value, JobState.RUNNING.value
other = jobs.alias("other")
WAITS = (jobs.c.state == CREATED) & ~exists().where(other.c.experiment_id == jobs.c.experiment_id, other.c.active == 1)
RUNS_NOW = WHOLE.where(jobs.c.state == RUNNING, OF_SESSION).order_by(jobs.c.started_at, scenarios.c.id).limit(1)
HOLD_SESSION_OF = (
    select(*SESSION_COLUMNS)
    .join_from(scenarios, sessions, sessions.c.id == scenarios.c.session_id)
    .where(scenarios.c.job_id == bindparam("job"))
    .with_for_update(of=sessions, key_share=True)
)
JOBS_OF = select(jobs.c.id).join_from(jobs, scenarios, scenarios.c.job_id == jobs.c.id)
ANY_WAITING = JOBS_OF.where(WAITS).limit(1)
BEGINNING = (
    JOBS_OF.with_only_columns(*JOB_COLUMNS)
    .where(WAITS, OF_SESSION)
    .order_by(jobs.c.queued_at, jobs.c.id)
    .limit(bindparam("count"))
    .with_for_update(of=jobs, skip_locked=True)
)
WITH_ROOM = (
    JOBS_OF.with_only_columns(scenarios.c.session_id)
    .join(sessions, sessions.c.id == scenarios.c.session_id)
    .where(jobs.c.state.in_(OPEN))
    .group_by(scenarios.c.session_id, sessions.c.max_parallel)
    .having(func.count().filter(jobs.c.state != CREATED) < sessions.c.max_parallel, func.count().filter(WAITS) > 0)
)


def _up_to(states: Sequence[str]) -> Select[Any]:
    """How many runs of a session are in these states, counted up to a number."""
    found = JOBS_OF.where(jobs.c.state.in_(states), OF_SESSION).limit(bindparam("count"))
    return select(func.count()).select_from(found.subquery())


COUNT_OPEN, COUNT_ACTIVE = _up_to(OPEN), _up_to([state.value for state in ACTIVE])


class ScenarioQueries(DatasetQueries):
    """Queries on scenarios. Whoever changes one holds its session's row."""

    def create_scenario(
        self,
        session_id: str,
        tag: str,
        dataset_id: str,
        algorithm: str,
        parameters: Mapping[str, JsonValue],
        data_parameters: Mapping[str, JsonValue],
    ) -> Scenario:
        """Make one. Raises NameTaken."""
        row = {
            "id": str(uuid.uuid4()),
            "session_id": session_id,
            "tag": tag,
            "dataset_id": dataset_id,
            "algorithm": algorithm,
            "parameters": dict(parameters),
            "data_parameters": dict(data_parameters),
            "created_at": utcnow(),
        }
        query = self.insert(scenarios).on_conflict_do_nothing().returning(scenarios.c.id)
        if self.connection.scalar(query, row) is None:
            raise taken("scenario", "tag", tag)
        return self.scenario(session_id, str(row["id"]))

    def tag_taken(self, session_id: str, tag: str) -> bool:
        """Whether a scenario of the session has this tag."""
        query = select(scenarios.c.id).where(scenarios.c.session_id == session_id, scenarios.c.tag == tag)
        return self.connection.scalar(query) is not None

    def scenarios(self, session_id: str) -> list[Scenario]:
        """All scenarios of a session, oldest first."""
        query = WHOLE.where(scenarios.c.session_id == session_id).order_by(scenarios.c.created_at, scenarios.c.id)
        return list(map(scenario_of, self.connection.execute(query)))

    def scenario(self, session_id: str, scenario_id: str) -> Scenario:
        """One of a session. Raises ScenarioNotFound."""
        found = self._found(OF_ONE, {"id": scenario_id, "session_id": session_id})
        if found is None:
            raise _missing(scenario_id)
        return found

    def scenario_status(self, sid: str, scenario_id: str) -> Standing:
        """Where one stands, in one query; `sid`: its session's id or name. Raises SessionNotFound, ScenarioNotFound."""
        row = self.connection.execute(STANDING, {"id": scenario_id, "sid": sid, **self.scope}).first()
        if row is None:
            self.session(sid)
            raise _missing(scenario_id)
        return standing_of(row)

    def processing(self, session_id: str) -> Scenario | None:
        """The scenario of a session that runs; of several the one that began first."""
        return self._found(RUNS_NOW, {"session_id": session_id})

    def set_run(self, scenario: Scenario, experiment_id: int | None, job_id: str | None) -> Scenario:
        """Write which experiment one is, and which job is its run."""
        changes = new({"experiment_id": experiment_id, "job_id": job_id})
        self.connection.execute(SET_RUN, {"of": scenario.id, **changes})
        return self.scenario(scenario.session_id, scenario.id)

    def delete_scenario(self, scenario: Scenario) -> None:
        """Delete one with its runs; their files are left over. Raises StateForbids: it runs."""
        own = [] if scenario.experiment_id is None else [scenario.experiment_id]
        self.hold_idle(own, "The scenario is running; cancel it before you delete it")
        self.connection.execute(delete(scenarios).where(scenarios.c.id == scenario.id))
        self.remove_experiments(own)

    def has_room(self, session: Session) -> bool:
        """Whether one more run may begin: fewer than that have not ended, those that wait for their turn counted."""
        count = {"session_id": session.id, "count": session.max_parallel}
        return int(self.connection.scalar(COUNT_OPEN, count) or 0) < session.max_parallel

    def waiting_scenarios(self) -> list[str]:
        """The ids of sessions with scenarios that wait, and could begin now."""
        if self.connection.scalar(ANY_WAITING) is None:
            return []
        return list(self.connection.scalars(WITH_ROOM))

    def session_of_run(self, job_id: str) -> Session | None:
        """The session of the scenario whose run a job is, its row held; None when it is none's."""
        row = self.connection.execute(HOLD_SESSION_OF, {"job": job_id}).first()
        return None if row is None else session_of(row)

    def begin_waiting(self, session: Session) -> list[Job]:
        """Queue runs of a session that waited for their turn, oldest first, as many as may run; its row is held."""
        count = {"session_id": session.id, "count": session.max_parallel}
        room = session.max_parallel - int(self.connection.scalar(COUNT_ACTIVE, count) or 0)
        if room <= 0:
            return []
        begun = []
        rows = self.connection.execute(BEGINNING, {"session_id": session.id, "count": room})
        for job in [job_of(row) for row in rows]:
            with suppress(JobActive):  # somebody runs its experiment by hand
                begun.append(self.set_job_state(job, JobState.QUEUED, queued_at=utcnow()))
        return begun

    def link_optimization(self, experiment_id: int, session_id: str, dataset_id: str) -> None:
        """Note which dataset an experiment over an algorithm's parameters is computed on."""
        insert = self.insert(optimizations)
        row = {"experiment_id": experiment_id, "session_id": session_id, "dataset_id": dataset_id}
        changes = {"session_id": insert.excluded.session_id, "dataset_id": insert.excluded.dataset_id}
        self.connection.execute(insert.on_conflict_do_update(index_elements=["experiment_id"], set_=changes), row)

    def optimized_dataset(self, experiment_id: int) -> str | None:
        """The id of the dataset that such an experiment is computed on."""
        query = select(optimizations.c.dataset_id).where(optimizations.c.experiment_id == experiment_id)
        found: str | None = self.connection.scalar(query)
        return found

    def _found(self, query: Select[Any], values: Mapping[str, Any]) -> Scenario | None:
        row = self.connection.execute(query, values).first()
        return None if row is None else scenario_of(row)


def _missing(scenario_id: str) -> ScenarioNotFound:
    return ScenarioNotFound(f"The session has no scenario {scenario_id!r}", scenario_id=scenario_id)
