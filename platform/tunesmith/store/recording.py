"""Recording what a runner found: trials, measurements, counters, Pareto front and events, in one fenced transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Update, bindparam, func, insert, select, update

from tunesmith.domain import FINISHED, Experiment, Measurement, Progress, Trial, TrialState, utcnow
from tunesmith.errors import LeaseLost
from tunesmith.store.pareto import changes_of
from tunesmith.store.queries import DIALECTS, Queries, chunks
from tunesmith.store.rows import MORE, given, new, trial_row
from tunesmith.store.tables import events, experiments, jobs, measurements, trials

KEPT = ("experiment_id", "number", "job_id", "run_number", "created_at")
"""Columns of a trial that never change."""


def _upsert(insert: Any) -> Any:
    updated = {c.name: insert.excluded[c.name] for c in trials.c if c.name != "id" and c.name not in KEPT}
    return insert.on_conflict_do_update(index_elements=["experiment_id", "number"], set_=updated)


# Built once: that takes SQLAlchemy longer than the database takes to write a trial.
UPSERT = {name: _upsert(dialect.insert(trials)) for name, dialect in DIALECTS.items()}
LARGER: dict[str, Any] = {"sqlite": func.max, "postgresql": func.greatest}
COUNT = {
    name: update(experiments)
    .where(experiments.c.id == bindparam("experiment"))
    .values(**MORE, next_number=larger(experiments.c.next_number, bindparam("highest")))
    for name, larger in LARGER.items()
}
KNOWN_STATE = select(trials.c.number, trials.c.state).where(
    trials.c.experiment_id == bindparam("experiment"), trials.c.number == bindparam("trial")
)

FENCE = (
    select(jobs.c.next_seq).where(jobs.c.id == bindparam("job"), jobs.c.lease_token == bindparam("token"))
).with_for_update()
ADD_EVENTS = insert(events)


@cache
def _noting(names: frozenset[str]) -> Update:
    values = {**given(jobs, names), "next_seq": jobs.c.next_seq + bindparam("more")}
    return update(jobs).where(jobs.c.id == bindparam("job")).values(values)


class RecordingQueries(Queries):
    """The write path of the runner."""

    def record(
        self,
        job_id: str,
        token: str,
        experiment: Experiment,
        found: Sequence[Trial],
        measured: Sequence[Measurement] = (),
        progress: Progress | None = None,
        message: str | None = None,
    ) -> None:
        """Write trials as they stand now, each as often as it changes and never again once it is finished.

        Raises:
            LeaseLost: the job is no longer held under the token; nothing was written.
            ValueError: a trial holds NaN or an infinity, or has not one value per objective.
        """
        seq = self._fence(job_id, token)
        written = self.write_trials(experiment, found)
        if measured:
            self.add_measurements(measured)
        finished = [trial for trial in written if trial.state in FINISHED]
        self._note(job_id, len(finished), progress, message)
        if finished:
            now = utcnow()
            rows = [
                {"job_id": job_id, "seq": seq + i, "kind": "trial", "data": _trial_event(trial), "at": now}
                for i, trial in enumerate(finished)
            ]
            self.connection.execute(ADD_EVENTS, rows)

    def write_trials(
        self, experiment: Experiment, found: Sequence[Trial], known: Mapping[int, TrialState] | None = None
    ) -> list[Trial]:
        """Insert or update trials, with the experiment's counters and Pareto front; those that were not finished yet.

        `known`: their states, where they were just read with the experiment's row held.

        Raises:
            ValueError: a trial holds NaN or an infinity, or has not one value per objective.
        """
        if not found:
            return []
        self.lock_experiment(experiment.id)
        latest = _latest(found)
        before = self._states(experiment.id, list(latest)) if known is None else known
        fresh = [trial for trial in latest.values() if before.get(trial.number) not in FINISHED]
        if not fresh:
            return []
        signs = tuple(objective.sign for objective in experiment.spec.objectives)
        rows = [trial_row(trial, signs) for trial in fresh]
        self.connection.execute(UPSERT[self.connection.dialect.name], rows)
        self._count(experiment.id, before, fresh)
        if len(signs) > 1:
            self._update_front(experiment.id, signs, [trial for trial in fresh if trial.feasible])
        return fresh

    def _fence(self, job_id: str, token: str) -> int:
        seq = self.connection.scalar(FENCE, {"job": job_id, "token": token})
        if seq is None:
            raise LeaseLost(f"The lease on {job_id} is held by another runner, or ended", job_id=job_id)
        return int(seq)

    def _note(self, job_id: str, count: int, progress: Progress | None, message: str | None) -> None:
        changes: dict[str, Any] = {}
        if progress is not None:
            changes["progress"] = progress.model_dump(mode="json")
        if message is not None:
            changes["message"] = message
        if count:
            changes["losses"] = 0
        self.connection.execute(_noting(frozenset(changes)), {"job": job_id, "more": count, **new(changes)})

    def _states(self, experiment_id: int, numbers: Sequence[int]) -> dict[int, TrialState]:
        if len(numbers) == 1:
            rows = self.connection.execute(KNOWN_STATE, {"experiment": experiment_id, "trial": numbers[0]})
            return {number: TrialState(state) for number, state in rows}
        known: dict[int, TrialState] = {}
        for part in chunks(numbers):
            query = select(trials.c.number, trials.c.state).where(
                trials.c.experiment_id == experiment_id, trials.c.number.in_(part)
            )
            known |= {number: TrialState(state) for number, state in self.connection.execute(query)}
        return known

    def _count(self, experiment_id: int, before: Mapping[int, TrialState], fresh: Sequence[Trial]) -> None:
        change = Counter(trial.state for trial in fresh)
        change.subtract(before[trial.number] for trial in fresh if trial.number in before)
        more = {f"more_{state}": change[state] for state in TrialState}
        highest = max(trial.number for trial in fresh) + 1
        self.connection.execute(
            COUNT[self.connection.dialect.name], {"experiment": experiment_id, "highest": highest, **more}
        )

    def _update_front(self, experiment_id: int, signs: tuple[float, ...], feasible: Sequence[Trial]) -> None:
        if not feasible:
            return
        here = trials.c.experiment_id == experiment_id
        query = select(trials.c.number, trials.c["values"]).where(here, trials.c.front.is_(True))
        front = {
            number: [float(v) * s for v, s in zip(values, signs, strict=True)]
            for number, values in self.connection.execute(query)
        }
        newcomers = {t.number: [v * s for v, s in zip(t.values or (), signs, strict=True)] for t in feasible}
        entered, left = changes_of(front, newcomers)
        for flag, numbers in ((False, left), (True, entered)):
            for part in chunks(sorted(numbers)):
                where = (here, trials.c.number.in_(part))
                self.connection.execute(update(trials).where(*where).values(front=flag))

    def add_measurements(self, measured: Sequence[Measurement]) -> None:
        """Write intermediate values; the last one of a step counts."""
        # Also within one batch: PostgreSQL takes a key only once a statement.
        rows = {(m.experiment_id, m.number, m.metric, m.step): m.model_dump() for m in measured}
        insert = self.insert(measurements)
        upsert = insert.on_conflict_do_update(
            index_elements=["experiment_id", "number", "metric", "step"], set_={"value": insert.excluded.value}
        )
        self.connection.execute(upsert, list(rows.values()))


def _latest(found: Sequence[Trial]) -> dict[int, Trial]:
    """Each trial as it stands last; a finished one stays so."""
    latest: dict[int, Trial] = {}
    for trial in found:
        if trial.number not in latest or latest[trial.number].state not in FINISHED:
            latest[trial.number] = trial
    return latest


def _trial_event(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.value,
        "values": None if trial.values is None else list(trial.values),
        "params": dict(trial.params),
        "duration_s": trial.duration_s,
        "error": None if trial.error is None else trial.error[:500],
    }
