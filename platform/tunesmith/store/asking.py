"""Ask and tell: trials that workers anywhere hold under a lease, with a token that fences what they write."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, func, select, update

from tunesmith.domain import Experiment, Search, Trial, TrialState, utcnow
from tunesmith.errors import TrialFinished, TrialTaken
from tunesmith.store.jobs import JobQueries
from tunesmith.store.queries import chunks
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.rows import TRIAL_COLUMNS, trial_of
from tunesmith.store.tables import Notes, experiments, measurements, trials

MAX_ATTEMPTS = 5
"""A trial whose workers went silent this often fails, instead of taking down another one."""
SILENT = "its worker went silent while it held this trial, at attempt {attempt} of at most " + str(MAX_ATTEMPTS)
ASKED = "tunesmith:asked"
"""System attribute of a trial that workers may ask for: which one of those made for them, from 0; below, adopted."""
FIXED = "fixed_params"
"""System attribute, Optuna's, of an enqueued trial: its point, or a part of it."""
LEFT = "tunesmith:left"
"""System attribute of an enqueued trial that workers cannot get, and is left to Optuna's processes."""
# Built once, for every request asks these (see experiments.py).
OPEN = trials.c.experiment_id == bindparam("experiment")
NOBODYS = OPEN & (trials.c.state == TrialState.WAITING.value) & trials.c.job_id.is_(None)


def _noted(name: str) -> ColumnElement[bool]:
    return cast(trials.c.system_attrs, Text).like(f'%"{name}"%')


TO_ASK, ENQUEUED = _noted(ASKED), _noted(FIXED)
FREE = NOBODYS & TO_ASK
UNBEGUN = trials.c.started_at.is_(None) & (trials.c.attempt == 1)
TO_ADOPT = NOBODYS & ENQUEUED & ~TO_ASK & ~_noted(LEFT)
LEASED = (trials.c.state == TrialState.RUNNING.value) & trials.c.lease_token.is_not(None)
HELD = OPEN & LEASED
# Enqueued ones first. Those that are not adopted yet are among them: where they leave too few, the study adopts them.
WAITING_OF = (
    select(*TRIAL_COLUMNS).where(FREE | TO_ADOPT).order_by(~ENQUEUED, trials.c.number).limit(bindparam("count"))
)
ENQUEUED_OF = select(*TRIAL_COLUMNS).where(TO_ADOPT).order_by(trials.c.number).limit(bindparam("count"))
ADOPT = (
    update(trials)
    .where(OPEN, trials.c.number == bindparam("trial"))
    .values(params=bindparam("point", type_=trials.c.params.type), system_attrs=bindparam("attrs", type_=Notes()))
)
COUNT_WAITING = select(func.count()).select_from(select(trials.c.id).where(FREE).limit(bindparam("count")).subquery())
OPEN_COUNTS = select(experiments.c.n_waiting, experiments.c.n_running).where(
    experiments.c.id == bindparam("experiment")
)
HELD_BY = select(*TRIAL_COLUMNS).where(HELD, trials.c.worker == bindparam("of")).order_by(trials.c.number)
EXPIRED_OF = select(*TRIAL_COLUMNS).where(HELD, trials.c.lease_expires_at < bindparam("now"))
EXPIRED = select(trials.c.experiment_id).where(LEASED, trials.c.lease_expires_at < bindparam("now"))
HAND_OUT = (
    update(trials)
    .where(OPEN, trials.c.number == bindparam("trial"))
    .values(
        state=TrialState.RUNNING.value,
        worker=bindparam("by"),
        lease_token=bindparam("token"),
        lease_expires_at=bindparam("until"),
        started_at=bindparam("now"),
        attempt=bindparam("attempts"),
    )
)


class AskQueries(JobQueries, RecordingQueries):
    """Queries on trials that somebody asks for."""

    def set_asking(self, experiment_id: int, search: Search) -> None:
        """Choose points for workers in another way from now on; those that nobody took yet are dropped."""
        self.drop_prepared(experiment_id)
        chosen = search.evolve(asked_before=self.asked(experiment_id))
        self.connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(asking=chosen))

    def drop_prepared(self, experiment_id: int) -> None:
        """Remove the points that were prepared, and never handed out; enqueued ones are to be looked at anew."""
        self.lock_experiment(experiment_id)
        query = delete(trials).where(FREE, UNBEGUN, ~ENQUEUED)
        dropped = self.connection.execute(query, {"experiment": experiment_id}).rowcount
        self.count_states(experiment_id, {TrialState.WAITING: -dropped})
        looked_at = select(*TRIAL_COLUMNS).where(NOBODYS, UNBEGUN, ENQUEUED, ~TO_ADOPT).with_for_update()
        rows = self.connection.execute(looked_at, {"experiment": experiment_id}).all()
        self.adopt([_unadopted(trial) for trial in map(trial_of, rows)])

    def asked(self, experiment_id: int) -> int:
        """How many trials were made for workers to ask for, enqueued ones left out."""
        query = select(func.count()).select_from(trials).where(OPEN, trials.c.job_id.is_(None), TO_ASK, ~ENQUEUED)
        return int(self.connection.scalar(query, {"experiment": experiment_id}) or 0)

    def prepare_trials(self, experiment: Experiment, points: Sequence[Trial]) -> list[Trial]:
        """Add trials for workers to ask for; they get the experiment's next numbers, in order."""
        if not points:
            return []
        first = self.reserve_numbers(experiment.id, len(points))
        return self.write_trials(experiment, [trial.evolve(number=first + i) for i, trial in enumerate(points)])

    def waiting_trials(self, experiment_id: int, count: int) -> list[Trial]:
        """At most `count` trials that workers may take: enqueued ones, then the others, by number.

        Fewer than there are where enqueued ones come first that are still to be adopted.
        """
        rows = self.connection.execute(WAITING_OF, {"experiment": experiment_id, "count": count})
        return [trial for trial in map(trial_of, rows) if ASKED in (trial.system_attrs or {})]

    def enqueued_trials(self, experiment_id: int, count: int) -> list[Trial]:
        """At most `count` waiting trials that somebody enqueued, and no search has looked at yet, by number."""
        of = {"experiment": experiment_id, "count": count}
        return list(map(trial_of, self.connection.execute(ENQUEUED_OF, of)))

    def adopt(self, enqueued: Sequence[Trial]) -> None:
        """Write the points and system attributes that waiting trials have now, their experiment's row locked."""
        rows = [
            {
                "experiment": trial.experiment_id,
                "trial": trial.number,
                "point": trial.params,
                "attrs": trial.system_attrs,
            }
            for trial in enqueued
        ]
        if rows:
            self.connection.execute(ADOPT, rows)

    def count_waiting(self, experiment_id: int, limit: int) -> int:
        """How many trials workers may take, counted up to `limit`."""
        return int(self.connection.scalar(COUNT_WAITING, {"experiment": experiment_id, "count": limit}) or 0)

    def open_counts(self, experiment_id: int) -> tuple[int, int]:
        """How many trials of the experiment are waiting, and running, whoever made them."""
        row = self.connection.execute(OPEN_COUNTS, {"experiment": experiment_id}).first()
        return (0, 0) if row is None else (row[0], row[1])

    def held_trials(self, experiment_id: int, worker: str) -> list[Trial]:
        """The trials that a worker holds, by number."""
        return list(map(trial_of, self.connection.execute(HELD_BY, {"experiment": experiment_id, "of": worker})))

    def hand_out(self, experiment_id: int, found: Sequence[Trial], worker: str | None, lease_s: float) -> list[Trial]:
        """Give free trials to a worker under a new lease; one that it held already counts another attempt."""
        now, token = utcnow(), secrets.token_hex(16)
        given = [
            trial.evolve(
                state=TrialState.RUNNING,
                worker=worker,
                lease_token=token,
                lease_expires_at=now + timedelta(seconds=lease_s),
                started_at=now,
                attempt=trial.attempt + (trial.state is TrialState.RUNNING),
            )
            for trial in found
        ]
        self.forget_reports(experiment_id, [trial for trial in found if trial.state is TrialState.RUNNING])
        if given:
            self.connection.execute(HAND_OUT, [_handed(trial) for trial in given])
        fresh = sum(trial.state is TrialState.WAITING for trial in found)
        self.count_states(experiment_id, {TrialState.WAITING: -fresh, TrialState.RUNNING: fresh})
        return given

    def held_trial(self, experiment_id: int, number: int, token: str) -> Trial:
        """A trial that is held under the token, its experiment's row locked.

        Raises:
            TrialNotFound: the experiment has no such trial.
            TrialFinished: it is finished.
            TrialTaken: somebody else holds it, or nobody.
        """
        self.lock_experiment(experiment_id)
        trial = self.trial(experiment_id, number)
        if trial.state.finished:
            raise TrialFinished(f"Trial {number} is {trial.state}; what came of it stays", number=number)
        if trial.lease_token is None or not secrets.compare_digest(trial.lease_token, token):
            raise TrialTaken(
                f"Trial {number} is not held under this token (any more): its lease ran out, or it was never this "
                "worker's; ask for another trial",
                number=number,
            )
        return trial

    def prolong(self, trial: Trial, lease_s: float | None, usual_s: float) -> datetime:
        """Let a held trial's lease begin anew; when it ends. Without `lease_s`: in `usual_s`, or later as it was."""
        until = utcnow() + timedelta(seconds=usual_s if lease_s is None else lease_s)
        if lease_s is None and trial.lease_expires_at is not None:
            until = max(until, trial.lease_expires_at)
        where = (trials.c.experiment_id == trial.experiment_id, trials.c.number == trial.number)
        self.connection.execute(update(trials).where(*where).values(lease_expires_at=until))
        return until

    def expired_experiments(self) -> list[int]:
        """The experiments with trials whose lease ran out."""
        return sorted(
            set(self.connection.scalars(EXPIRED, {"now": utcnow()}))
        )  # DISTINCT makes SQLite go through all trials

    def put_back_expired(self, experiment: Experiment) -> int:
        """Let others take the trials whose lease ran out: same number, same point, one attempt more; how many."""
        self.lock_experiment(experiment.id)
        found = list(map(trial_of, self.connection.execute(EXPIRED_OF, {"experiment": experiment.id, "now": utcnow()})))
        self.put_back(experiment, found)
        return len(found)

    def put_back(self, experiment: Experiment, found: Sequence[Trial], silent: bool = True) -> None:
        """Take trials from their workers; what an attempt reported goes with it.

        `silent`: the workers were not heard of, and after MAX_ATTEMPTS the trial fails; else they gave it back.
        """
        self.forget_reports(experiment.id, found)
        self.write_trials(experiment, [_freed(trial, silent) for trial in found])

    def forget_reports(self, experiment_id: int, found: Sequence[Trial]) -> None:
        """Remove the intermediate values of trials that are begun anew."""
        for part in chunks([trial.number for trial in found]):
            here = (measurements.c.experiment_id == experiment_id, measurements.c.number.in_(part))
            self.connection.execute(delete(measurements).where(*here))


def _unadopted(trial: Trial) -> Trial:
    noted = trial.system_attrs or {}
    attrs = {name: value for name, value in noted.items() if name not in (ASKED, LEFT)}
    return trial.evolve(params={} if ASKED in noted else trial.params, system_attrs=attrs)


def _handed(trial: Trial) -> dict[str, Any]:
    return {
        "experiment": trial.experiment_id,
        "trial": trial.number,
        "by": trial.worker,
        "token": trial.lease_token,
        "until": trial.lease_expires_at,
        "now": trial.started_at,
        "attempts": trial.attempt,
    }


def _freed(trial: Trial, silent: bool) -> Trial:
    free = trial.evolve(lease_token=None, lease_expires_at=None, metrics={}, values=None)
    if silent and trial.attempt >= MAX_ATTEMPTS:
        error = SILENT.format(attempt=trial.attempt)
        return free.evolve(state=TrialState.FAILED, error=error, ended_at=utcnow())
    return free.evolve(state=TrialState.WAITING, worker=None, started_at=None, attempt=trial.attempt + 1)
