"""Queries on trials: pages, the best, a job's open ones, and the history that a search learns from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from sqlalchemy import Float, Integer, Select, bindparam, func, literal, or_, select, tuple_, update

from tunesmith.domain import FINISHED, Experiment, Job, Measurement, Page, Trial, TrialState, utcnow
from tunesmith.domain.page import decode_cursor, encode_cursor
from tunesmith.errors import ExperimentNotFound, InvalidCursor, TrialNotFound
from tunesmith.store.queries import Queries, chunks
from tunesmith.store.rows import MORE, TRIAL_COLUMNS, measurement_of, trial_of
from tunesmith.store.tables import experiments, measurements, trials

MAX_NUMBER = 2**31
"""Numbers of trials stay below, as the column is an integer of 32 bits."""
UNFINISHED = (TrialState.WAITING.value, TrialState.RUNNING.value)
MAX_FRONT = 1000
"""Trials of a Pareto front that are answered at once."""
# Built once, for every request asks these (see experiments.py).
OF_EXPERIMENT = select(*TRIAL_COLUMNS).where(trials.c.experiment_id == bindparam("experiment_id"))
BY_NUMBER = OF_EXPERIMENT.where(trials.c.number == bindparam("number"))
COUNT = update(experiments).where(experiments.c.id == bindparam("experiment")).values(MORE)
BEST_OF = OF_EXPERIMENT.where(trials.c.score.is_not(None)).order_by(trials.c.score, trials.c.number).limit(1)
FRONT_OF = OF_EXPERIMENT.where(trials.c.front.is_(True)).order_by(trials.c.number).limit(MAX_FRONT)
# The sum keeps SQLite from going through all trials of the experiment: the newest ids are looked at first.
BY_ID = trials.c.experiment_id + 0 == bindparam("experiment_id")
NEWEST = select(trials.c.id).where(BY_ID).order_by(trials.c.id.desc()).limit(1)
NOT_OF = or_(trials.c.job_id.is_(None), trials.c.job_id != bindparam("not_of"))
UNFINISHED_OF = select(trials.c.number).where(
    trials.c.experiment_id == bindparam("experiment_id"), trials.c.state.in_(UNFINISHED), NOT_OF
)
ADDED = select(*TRIAL_COLUMNS).where(BY_ID, trials.c.id > bindparam("above"), NOT_OF)
OPEN_OF = (
    select(*TRIAL_COLUMNS)
    .where(trials.c.job_id == bindparam("job_id"), trials.c.state.in_(UNFINISHED))
    .order_by(trials.c.number)
)
HISTORY = (
    OF_EXPERIMENT.where(trials.c.state.in_([state.value for state in FINISHED]))
    .order_by(trials.c.number)
    .execution_options(yield_per=1000)
)
HISTORY_OF_JOB = HISTORY.where(trials.c.job_id == bindparam("job_id"))
RESERVE = (
    update(experiments)
    .where(experiments.c.id == bindparam("experiment"))
    .values(next_number=experiments.c.next_number + bindparam("count"))
    .returning(experiments.c.next_number)
)
HIGHEST = select(func.max(trials.c.number)).where(trials.c.experiment_id == experiments.c.id).scalar_subquery()
UNTIDY = select(experiments.c.id).where(
    experiments.c.id.in_(bindparam("ids", expanding=True)),
    experiments.c.next_number > func.coalesce(HIGHEST + 1, 0),
)
AMONG = OF_EXPERIMENT.where(trials.c.number.in_(bindparam("numbers", expanding=True)), NOT_OF)


class TrialQueries(Queries):
    """Queries on trials."""

    def trial(self, experiment_id: int, number: int) -> Trial:
        """Read one. Raises TrialNotFound."""
        known = 0 < experiment_id < 2**63 and 0 <= number < MAX_NUMBER
        of = {"experiment_id": experiment_id, "number": number}
        row = self.connection.execute(BY_NUMBER, of).first() if known else None
        if row is None:
            raise TrialNotFound(f"Experiment {experiment_id} has no trial {number}", number=number)
        return trial_of(row)

    def trials(
        self,
        experiment: Experiment,
        state: TrialState | None = None,
        order: Literal["number", "value"] = "number",
        cursor: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
        job_id: str | None = None,
    ) -> Page[Trial]:
        """A page: by number, or by the first objective's value, best first (trials without one are left out then).

        Raises:
            InvalidCursor: the cursor is not one of this list.
        """
        query = select(*TRIAL_COLUMNS).where(trials.c.experiment_id == experiment.id).limit(limit + 1)
        if state is not None:
            query = query.where(trials.c.state == state.value)
        if job_id is not None:
            query = query.where(trials.c.job_id == job_id)
        if order == "value":
            query = _by_value(query, experiment.spec.objectives[0].sign < 0, cursor)
        else:
            query = _by_number(query, newest_first, cursor)
        rows = self.connection.execute(query).all()
        found = [trial_of(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(found, None)
        last = found[-1]
        return Page(
            found,
            encode_cursor(*(last.values or ())[:1], last.number) if order == "value" else encode_cursor(last.number),
        )

    def best_trials(self, experiment: Experiment) -> list[Trial]:
        """The best feasible trial, or the Pareto front (at most MAX_FRONT of it); empty before the first one."""
        query = FRONT_OF if len(experiment.spec.objectives) > 1 else BEST_OF
        return [trial_of(row) for row in self.connection.execute(query, {"experiment_id": experiment.id})]

    def open_trials(self, job_id: str) -> list[Trial]:
        """The job's trials that are waiting or running, by number."""
        return [trial_of(row) for row in self.connection.execute(OPEN_OF, {"job_id": job_id})]

    def history(self, experiment_id: int, job_id: str | None = None) -> Iterator[Trial]:
        """Every finished trial of an experiment, or of one of its jobs, by number, streamed."""
        query = HISTORY if job_id is None else HISTORY_OF_JOB
        for row in self.connection.execute(query, {"experiment_id": experiment_id, "job_id": job_id}):
            yield trial_of(row)

    def job_summary(self, job_id: str) -> dict[TrialState, int]:
        """The job's trials, counted per state."""
        query = select(trials.c.state, func.count()).where(trials.c.job_id == job_id).group_by(trials.c.state)
        return {TrialState(state): count for state, count in self.connection.execute(query)}

    def next_number(self, experiment_id: int) -> int:
        """The number that the experiment's next trial gets."""
        query = select(experiments.c.next_number).where(experiments.c.id == experiment_id)
        return int(self.connection.scalar(query) or 0)

    def reserve_numbers(self, experiment_id: int, count: int) -> int:
        """The first of `count` numbers that nobody else gets. Raises ExperimentNotFound."""
        reserved = self.connection.scalar(RESERVE, {"experiment": experiment_id, "count": count})
        if reserved is None:
            raise ExperimentNotFound(f"No experiment has the id {experiment_id}", experiment_id=experiment_id)
        return int(reserved) - count

    def untidy_numbers(self, experiment_ids: Collection[int]) -> list[int]:
        """Those of the experiments that have numbers reserved above every trial."""
        return list(self.connection.scalars(UNTIDY, {"ids": list(experiment_ids)})) if experiment_ids else []

    def trim_numbers(self, experiment_id: int) -> None:
        """Take back the reserved numbers above every trial, which their owner did not use."""
        self.lock_experiment(experiment_id)
        highest = select(func.max(trials.c.number)).where(trials.c.experiment_id == experiment_id).scalar_subquery()
        following = func.coalesce(highest + 1, 0)
        query = update(experiments).where(experiments.c.id == experiment_id, experiments.c.next_number > following)
        self.connection.execute(query.values(next_number=following))

    def newest_id(self, experiment_id: int) -> int:
        """The id of the row that was added last: where `changed_trials` goes on; 0 before the first one."""
        return int(self.connection.scalar(NEWEST, {"experiment_id": experiment_id}) or 0)

    def unfinished_numbers(self, experiment_id: int, not_of: str | None = None) -> list[int]:
        """The numbers of the trials that are waiting or running, those of the job `not_of` left out."""
        return list(self.connection.scalars(UNFINISHED_OF, {"experiment_id": experiment_id, "not_of": not_of or ""}))

    def changed_trials(
        self, experiment_id: int, above: int, among: Collection[int] = (), not_of: str | None = None
    ) -> list[Trial]:
        """What is new since somebody looked: trials that were added, and those that were unfinished then; by number.

        `above`: the `newest_id` of that look (rows of an experiment are added in the order of their ids); `among`: the
        numbers of the unfinished ones; `not_of`: a job whose trials are left out.
        """
        of = {"experiment_id": experiment_id, "not_of": not_of or ""}
        found = {trial.number: trial for trial in map(trial_of, self.connection.execute(ADDED, {**of, "above": above}))}
        for part in chunks(sorted(set(among) - found.keys())):
            rows = self.connection.execute(AMONG, {**of, "numbers": part})
            found |= {trial.number: trial for trial in map(trial_of, rows)}
        return [found[number] for number in sorted(found)]

    def measurements(self, experiment_id: int, number: int) -> list[Measurement]:
        """The intermediate values of a trial, by metric and step."""
        query = (
            select(measurements)
            .where(measurements.c.experiment_id == experiment_id, measurements.c.number == number)
            .order_by(measurements.c.metric, measurements.c.step)
        )
        return [measurement_of(row) for row in self.connection.execute(query)]

    def curves(self, experiment_id: int, metric: str) -> dict[int, dict[int, float]]:
        """Trial number -> step -> intermediate value of a metric, of every trial of an experiment."""
        query = (
            select(measurements.c.number, measurements.c.step, measurements.c.value)
            .where(
                measurements.c.experiment_id == experiment_id,
                measurements.c.metric == metric,
                measurements.c.value.is_not(None),
            )
            .execution_options(yield_per=10_000)
        )
        found: dict[int, dict[int, float]] = {}
        for number, step, value in self.connection.execute(query):
            found.setdefault(number, {})[step] = value
        return found

    def requeue_trials(self, job: Job, states: Collection[TrialState]) -> int:
        """Put the job's trials in these states back to waiting, with the same number and parameters; how many."""
        return self._move_trials(
            job,
            states,
            TrialState.WAITING,
            values=None,
            value=None,
            score=None,
            violation=None,
            metrics={},
            error=None,
            worker=None,
            started_at=None,
            ended_at=None,
        )

    def settle_trials(self, job: Job, error: str) -> int:
        """Fail the job's open trials, because nobody will evaluate them; how many."""
        open_states = {TrialState.WAITING, TrialState.RUNNING}
        return self._move_trials(job, open_states, TrialState.FAILED, error=error, ended_at=utcnow())

    def count_states(self, experiment_id: int, changes: dict[TrialState, int]) -> None:
        """Add to the experiment's counters."""
        if any(changes.values()):
            more = {f"more_{state}": changes.get(state, 0) for state in TrialState}
            self.connection.execute(COUNT, {"experiment": experiment_id, **more})

    def _move_trials(self, job: Job, states: Collection[TrialState], to: TrialState, **changes: Any) -> int:
        self.lock_experiment(job.experiment_id)
        moved = 0
        for state in sorted(states):
            query = (
                update(trials)
                .where(trials.c.job_id == job.id, trials.c.state == state.value)
                .values(state=to.value, **changes)
            )
            count = self.connection.execute(query).rowcount
            self.count_states(job.experiment_id, {state: -count, to: count} if state is not to else {})
            moved += count
        return moved


def _by_number(query: Select[Any], newest_first: bool, cursor: str | None) -> Select[Any]:
    number = trials.c.number
    if cursor:
        edge = _checked(decode_cursor(cursor, int)[0], cursor)
        query = query.where(number < edge if newest_first else number > edge)
    return query.order_by(number.desc() if newest_first else number)


def _checked(number: int, cursor: str) -> int:
    if not 0 <= number < MAX_NUMBER:
        raise InvalidCursor(cursor=cursor)
    return number


def _by_value(query: Select[Any], descending: bool, cursor: str | None) -> Select[Any]:
    value, number = trials.c.value, trials.c.number
    query = query.where(value.is_not(None))
    if cursor:
        edge, last = decode_cursor(cursor, (int, float), int)
        _checked(last, cursor)
        # Compared as a pair, so that the index leads straight to the next row.
        here, behind = tuple_(value, number), tuple_(literal(float(edge), Float(53)), literal(last, Integer))
        query = query.where(here < behind if descending else here > behind)
    return query.order_by(value.desc(), number.desc()) if descending else query.order_by(value, number)
