"""Queries that remove what is old: executions of training jobs, their logs, events; a batch a transaction.

An execution is old when its firing has ended before a moment, and a later firing of its training job has begun. Of a
search, the best trials stay, and nothing goes while it is active. The newest trial of an experiment always stays: its
number is what keeps others from being given out again, so nothing new ever lies where old files are removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, false, func, select, tuple_, update

from tunesmith.domain import ENDED, TrainingJob, TrialState
from tunesmith.errors import TrainingNotFound
from tunesmith.storage import run_key, trial_key
from tunesmith.store.leftovers import LeftoverQueries
from tunesmith.store.rows import TRAINING_COLUMNS, training_of
from tunesmith.store.tables import events, jobs, measurements, tallies, training_jobs, trials
from tunesmith.store.tallies import tallied
from tunesmith.store.trainings import TrainingQueries

BATCH = 500
"""Rows of a transaction, so that nobody waits for long."""
HELD = tallied("housekeeping")
"""The tally that says when housekeeping began last, in seconds since 1970."""
HAS_ENDED = jobs.c.state.in_([state.value for state in ENDED])
ARCHIVED = (
    *trials.c,
    training_jobs.c.id.label("training_id"),
    training_jobs.c.name.label("training_name"),
    jobs.c.state.label("firing_state"),
    jobs.c.scheduled_at,
)
"""What is kept of an execution: every column, and whose it is."""


class HousekeepingQueries(TrainingQueries, LeftoverQueries):
    """Queries of the housekeeping. Any number of housekeepers may be at work at once."""

    def claim_housekeeping(self, now: datetime, every_s: float) -> bool:
        """Whether nobody began within the last `every_s` seconds; then the caller has."""
        row = dict(zip(("name", "labels"), HELD, strict=True))
        self.connection.execute(self.insert(tallies).on_conflict_do_nothing(), {**row, "value": 0.0})
        moment = now.timestamp()
        mine = (tallies.c.name == HELD[0], tallies.c.labels == HELD[1], tallies.c.value <= moment - every_s)
        return self.connection.execute(update(tallies).where(*mine).values(value=moment)).rowcount == 1

    def trainings_with_old(self, before: datetime, after: str = "") -> list[TrainingJob]:
        """Training jobs with old firings, by id, a batch of those behind `after`."""
        old = exists().where(
            jobs.c.experiment_id == training_jobs.c.experiment_id,
            jobs.c.run_number < training_jobs.c.latest_run,
            *_ended_before(before),
        )
        query = select(*TRAINING_COLUMNS).where(training_jobs.c.id > after, old).order_by(training_jobs.c.id)
        return list(map(training_of, self.connection.execute(query.limit(BATCH))))

    def old_attempts(self, training: TrainingJob, before: datetime) -> Iterator[Row[Any]]:
        """The ARCHIVED columns of attempts that may go, by number, streamed."""
        query = select(*ARCHIVED).join(jobs, jobs.c.id == trials.c.job_id)
        query = query.join(training_jobs, training_jobs.c.id == jobs.c.training_id)
        query = query.where(*_old(training, before), *self._removable(training)).order_by(trials.c.number)
        yield from self.connection.execute(query.execution_options(yield_per=BATCH))

    def count_old(self, training: TrainingJob, before: datetime) -> tuple[int, int]:
        """How many attempts may go, and how many firings with them."""
        removable = self._removable(training)
        mine = select(func.count()).join_from(trials, jobs, jobs.c.id == trials.c.job_id)
        kept = exists().where(trials.c.job_id == jobs.c.id, ~and_(*removable))
        whole = select(func.count()).select_from(jobs).where(*_old(training, before), ~kept)
        attempts = self.connection.scalar(mine.where(*_old(training, before), *removable))
        return int(attempts or 0), int(self.connection.scalar(whole) or 0)

    def remove_attempts(self, training_id: str, before: datetime, ids: Sequence[int]) -> int:
        """Remove attempts of these row ids that still may go, with their measurements; how many."""
        training = self._held(training_id)
        if training is None:
            return 0
        firings = select(trials.c.job_id).where(trials.c.id.in_(ids))
        held = self._hold(training, before, jobs.c.id.in_(firings))
        query = delete(trials).where(trials.c.id.in_(ids), trials.c.job_id.in_(held), *self._removable(training))
        removed = self.connection.execute(query.returning(trials.c.number, trials.c.state)).all()
        here, numbers = training.experiment_id, [row.number for row in removed]
        of = (measurements.c.experiment_id == here, measurements.c.number.in_(numbers))
        self.connection.execute(delete(measurements).where(*of))
        counts = Counter(TrialState(row.state) for row in removed)
        self.count_states(here, {state: -count for state, count in counts.items()})
        self.leave([trial_key(here, number) for number in numbers])
        return len(removed)

    def remove_firings(self, training_id: str, before: datetime) -> tuple[int, int]:
        """Remove a batch of old firings that have no attempts any more; how many firings and events went."""
        training = self._held(training_id)
        if training is None:
            return 0, 0
        empty = ~exists().where(trials.c.job_id == jobs.c.id)
        held = self._hold(training, before, empty)
        # The events of a search are many: they go first, and it in a later batch.
        gone = self._remove_events(held, every=True)
        if gone < BATCH and held:
            runs = delete(jobs).where(jobs.c.id.in_(held)).returning(jobs.c.run_number)
            numbers = list(self.connection.scalars(runs))
            self.leave([run_key(training.experiment_id, number) for number in numbers])
            return len(numbers), gone
        return 0, gone

    def count_logs(self, training: TrainingJob, before: datetime) -> int:
        """How many logs of old firings there are."""
        query = select(func.count()).join_from(trials, jobs, jobs.c.id == trials.c.job_id)
        return int(self.connection.scalar(query.where(*_old(training, before), trials.c.log.is_not(None))) or 0)

    def remove_logs(self, training_id: str, before: datetime) -> list[str]:
        """Let a batch of attempts of old firings have no log any more; the keys of the logs, to be removed at once.

        They are no leftovers: the firing may be retried, and print to the same keys. What is not removed now goes with
        the execution.
        """
        training = self._held(training_id)
        if training is None:
            return []
        query = select(trials.c.id, trials.c.job_id, trials.c.log).join(jobs, jobs.c.id == trials.c.job_id)
        query = query.where(*_old(training, before), trials.c.log.is_not(None)).limit(BATCH)
        found = self.connection.execute(query).all()
        held = set(self._hold(training, before, jobs.c.id.in_({row.job_id for row in found})))
        mine = [row for row in found if row.job_id in held]
        changed = update(trials).where(trials.c.id.in_([row.id for row in mine])).values(log=None)
        self.connection.execute(changed)
        return [row.log for row in mine]

    def count_events(self, before: datetime) -> int:
        """How many events of jobs that ended before a moment may go."""
        query = select(func.count()).join_from(events, jobs, jobs.c.id == events.c.job_id)
        return int(self.connection.scalar(query.where(*_ended_before(before), events.c.seq < jobs.c.next_seq - 1)) or 0)

    def jobs_with_old_events(self, before: datetime, after: str = "") -> list[str]:
        """The ids of jobs that ended before a moment and have more than their last event; a batch behind `after`."""
        more = exists().where(events.c.job_id == jobs.c.id, events.c.seq < jobs.c.next_seq - 1)
        query = select(jobs.c.id).where(jobs.c.id > after, *_ended_before(before), more).order_by(jobs.c.id)
        return list(self.connection.scalars(query.limit(BATCH)))

    def remove_events(self, job_ids: Collection[str], before: datetime) -> int:
        """Remove a batch of the events of jobs that still have ended; their last one stays. How many."""
        query = select(jobs.c.id).where(jobs.c.id.in_(list(job_ids)), *_ended_before(before)).order_by(jobs.c.id)
        held = list(self.connection.scalars(query.with_for_update(skip_locked=True)))
        return self._remove_events(held, every=False)

    def _held(self, training_id: str) -> TrainingJob | None:
        """The training job, its experiment's row held: nothing of it begins meanwhile. None: it was deleted."""
        try:
            self.lock_experiment(self.training(training_id).experiment_id)
            return self.training(training_id)
        except TrainingNotFound:
            return None

    def _hold(self, training: TrainingJob, before: datetime, *where: ColumnElement[bool]) -> list[str]:
        """The old firings that nobody else holds at the moment; so no two transactions wait for one another."""
        query = select(jobs.c.id).where(*_old(training, before), *where).order_by(jobs.c.id).limit(BATCH)
        return list(self.connection.scalars(query.with_for_update(skip_locked=True)))

    def _removable(self, training: TrainingJob) -> list[ColumnElement[bool]]:
        """Which trials of old firings may go."""
        here, again = training.experiment_id, trials.alias("again")
        newest = select(func.max(again.c.number)).where(again.c.experiment_id == here).scalar_subquery()
        where = [trials.c.experiment_id == here, trials.c.number < newest]
        if training.plan.search is not None:
            best = [trial.number for trial in self.best_trials(self.experiment(here))[:1]]
            where += [trials.c.front.is_(False), trials.c.number.not_in(best)]
            if self.active_job(here) is not None:  # it may learn from any, and go on from what any of them kept
                where.append(false())
        return where

    def _remove_events(self, job_ids: Sequence[str], every: bool) -> int:
        key = tuple_(events.c.job_id, events.c.seq)
        query = select(events.c.job_id, events.c.seq).where(events.c.job_id.in_(job_ids))
        if not every:
            query = query.join(jobs, jobs.c.id == events.c.job_id).where(events.c.seq < jobs.c.next_seq - 1)
        return self.connection.execute(delete(events).where(key.in_(query.limit(BATCH)))).rowcount


def _ended_before(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return HAS_ENDED, jobs.c.ended_at < moment


def _old(training: TrainingJob, before: datetime) -> tuple[ColumnElement[bool], ...]:
    mine = jobs.c.experiment_id == training.experiment_id
    return mine, jobs.c.run_number < training.latest_run, *_ended_before(before)
