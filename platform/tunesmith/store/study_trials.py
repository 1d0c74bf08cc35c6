"""Writing the trials of Optuna's studies: statements that are built once, and no read where none is needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Row, Text, bindparam, func, or_, select, type_coerce, update

from tunesmith.domain import Experiment, Trial, TrialState
from tunesmith.store.queries import DIALECTS
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.rows import COUNTERS
from tunesmith.store.tables import experiments, measurements, trials

ID: BindParameter[int] = bindparam("of_trial")
REMOTE = "grpc:"
"""What the worker of a trial begins with that an Optuna server handed out, under a lease of its own."""
NOTES = ("user_attrs", "system_attrs")
"""Columns that are read and written as the JSON texts that they are."""
RUNNING = trials.c.state == TrialState.RUNNING.value
FREE = func.coalesce(trials.c.job_id, trials.c.lease_token).is_(None)
"""Neither a job's nor handed out under a token: what Optuna's processes may write to.

As one term, which no index knows: PostgreSQL, before it has counted the rows of a new database, would look through
all that are no job's instead of going by the id.
"""


def _more(state: TrialState, n: int) -> dict[str, Any]:
    column = COUNTERS[state]
    return {column: experiments.c[column] + n}


OF = experiments.c.id == bindparam("of_experiment")
ADDED = {
    state: update(experiments)
    .where(OF)
    .values(**_more(state, 1), next_number=experiments.c.next_number + 1)
    .returning(experiments.c.next_number)
    for state in TrialState
}
"""The counters when a trial is added; the experiment's row stays locked, so its trials are added in order."""
MOVED = {
    (old, new): update(experiments).where(OF).values(**_more(old, -1), **_more(new, 1))
    for old in TrialState
    for new in TrialState
    if old is not new
}
INSERT = trials.insert().returning(trials.c.id)


@lru_cache(maxsize=256)
def _inserted(state: TrialState, names: tuple[str, ...]) -> Any:
    """Both in one statement, which PostgreSQL knows; a new id is drawn when the counters are locked."""
    counted = ADDED[state].returning(experiments.c.id).cte("counted")
    given: dict[str, Any] = {name: bindparam(f"new_{name}", type_=trials.c[name].type) for name in names}
    given |= {"experiment_id": counted.c.id, "number": counted.c.next_number - 1}
    return trials.insert().from_select(list(given), select(*given.values())).returning(trials.c.id, trials.c.number)


def _new(*names: str) -> dict[str, Any]:
    """Columns from parameters named `new_...`, for SQLAlchemy keeps the plain names to itself."""
    texts = {name: Text() for name in NOTES}
    return {name: bindparam(f"new_{name}", type_=texts.get(name, trials.c[name].type)) for name in names}


def _keys(query: Any) -> list[str]:
    """The parameters that a statement takes, for SQLAlchemy refuses others."""
    return [key for key in query.compile().params if key.startswith(("new_", "seen_", "of_"))]


OPEN_COLUMNS = ("params", *NOTES)
"""What changes while a trial runs."""
COLUMNS = (
    *OPEN_COLUMNS,
    *("state", "values", "metrics", "value", "score", "violation", "error", "started_at", "ended_at"),
)
"""What its end may change."""
UNCHANGED = (
    (trials.c.id == ID)
    & RUNNING
    & FREE
    & (trials.c.attempt == bindparam("seen_attempt"))
    & type_coerce(trials.c.user_attrs, Text).is_not_distinct_from(bindparam("seen_user_attrs", type_=Text))
    & type_coerce(trials.c.system_attrs, Text).is_not_distinct_from(bindparam("seen_system_attrs", type_=Text))
)
"""Still as its process saw it last: then it may write without looking."""
KEPT = func.coalesce(bindparam("new_worker", type_=Text), trials.c.worker)
NOTE = {False: update(trials).where(trials.c.id == ID).values(_new(*OPEN_COLUMNS))}
NOTE[True] = NOTE[False].where(UNCHANGED)
END = {
    False: update(trials)
    .where(trials.c.id == ID)
    .values(**_new(*COLUMNS), worker=KEPT, front=False, lease_expires_at=None)
}
END[True] = END[False].where(UNCHANGED)


def _ended(state: TrialState) -> Any:
    """The end of a running trial and its counters in one statement, which PostgreSQL knows; locked in our order."""
    held = select(experiments.c.id).where(OF).with_for_update(key_share=True).cte("held")
    # Nothing is added, but so it goes by the trial's id, and never through the trials of the experiment.
    ended = END[True].where(trials.c.experiment_id + 0 == held.c.id).returning(held.c.id).cte("ended")
    return MOVED[TrialState.RUNNING, state].where(experiments.c.id == ended.c.id)


ENDED: dict[TrialState, Any] = {state: _ended(state) for state in TrialState if state is not TrialState.RUNNING}
NOTE_KEYS = {look: _keys(query) for look, query in NOTE.items()}
END_KEYS = {look: _keys(query) for look, query in END.items()}
ENDED_KEYS = [*END_KEYS[True], "of_experiment"]
LOCKED = (
    select(
        trials.c.experiment_id,
        trials.c.state,
        trials.c.job_id,
        trials.c.lease_token,
        trials.c.attempt,
        *(type_coerce(trials.c[name], Text).label(name) for name in NOTES),
    )
    .where(trials.c.id == ID)
    .with_for_update()
)
EXPERIMENT_OF = select(trials.c.experiment_id).where(trials.c.id == ID)
TRIAL_ID = select(trials.c.id).where(
    trials.c.experiment_id == bindparam("of_experiment"), trials.c.number == bindparam("of_number")
)
BEAT = update(trials).where(trials.c.id == ID, RUNNING, FREE).values(lease_expires_at=bindparam("until"))
STALE = select(trials.c.id).where(
    trials.c.experiment_id == bindparam("of_experiment"),
    RUNNING,
    FREE,
    trials.c.lease_expires_at < bindparam("now"),
    or_(trials.c.worker.is_(None), trials.c.worker.not_like(f"{REMOTE}%")),  # their server puts these back
)
TAKEN = select(trials.c.id).where(
    trials.c.experiment_id == bindparam("of_experiment"), trials.c.state == TrialState.WAITING.value, ~FREE
)
HERE = (trials.c.experiment_id == bindparam("of_experiment")) & (trials.c.state == TrialState.COMPLETE.value)
BEST = {
    sign: select(trials.c.id)
    .where(HERE, trials.c.value.is_not(None))
    .order_by(trials.c.value if sign > 0 else trials.c.value.desc(), trials.c.number)
    .limit(1)
    for sign in (1.0, -1.0)
}


def _upsert(insert: Any) -> Any:
    key = ["experiment_id", "number", "metric", "step"]
    return insert.on_conflict_do_update(index_elements=key, set_={"value": insert.excluded.value})


MEASURE = {name: _upsert(dialect.insert(measurements)) for name, dialect in DIALECTS.items()}


class StudyTrialQueries(RecordingQueries):
    """Queries on the trials of studies."""

    def add_study_trial(self, experiment_id: int, state: TrialState, row: Mapping[str, Any]) -> tuple[int, int] | None:
        """Add a trial of these columns under the next number: (id, number), or None where there is no experiment."""
        if self.connection.dialect.name == "postgresql":
            counted = ("experiment_id", "number")
            given = {name: value for name, value in row.items() if value is not None and name not in counted}
            columns = {f"new_{name}": value for name, value in given.items()}
            columns |= {"of_experiment": experiment_id}
            added = self.connection.execute(_inserted(state, tuple(given)), columns).first()
            return None if added is None else (added.id, added.number)
        following = self.connection.scalar(ADDED[state], {"of_experiment": experiment_id})
        if following is None:
            return None
        number = int(following) - 1
        row = {**row, "experiment_id": experiment_id, "number": number, "state": state.value}
        return int(self.connection.scalar(INSERT, row) or 0), number

    def move_study_trial(self, experiment_id: int, old: TrialState, new: TrialState) -> bool:
        """Count a trial that goes from one state to another, its experiment's row locked; False: no experiment."""
        return old is new or self.connection.execute(MOVED[old, new], {"of_experiment": experiment_id}).rowcount == 1

    def note_study_trial(self, columns: Mapping[str, Any], if_unchanged: bool) -> bool:
        """Write an open trial's parameters and attributes; False when it is not as it was seen."""
        return self._write(NOTE[if_unchanged], NOTE_KEYS[if_unchanged], columns)

    def end_study_trial(self, columns: Mapping[str, Any]) -> None:
        """Write everything about a trial, its state too; the counters are `move_study_trial`'s."""
        self._write(END[False], END_KEYS[False], columns)

    def end_if_unchanged(self, experiment_id: int, new: TrialState, columns: Mapping[str, Any]) -> bool:
        """Write the end of a running trial, and count it; False, and nothing written, when it is not as it was seen."""
        if self.connection.dialect.name == "postgresql":
            return self._write(ENDED[new], ENDED_KEYS, {**columns, "of_experiment": experiment_id})
        ended = self._write(END[True], END_KEYS[True], columns)
        return ended and self.move_study_trial(experiment_id, TrialState.RUNNING, new)

    def _write(self, query: Any, keys: list[str], columns: Mapping[str, Any]) -> bool:
        return self.connection.execute(query, {key: columns[key] for key in keys}).rowcount == 1

    def measure_study_trial(self, experiment_id: int, number: int, metric: str, curve: Mapping[int, float]) -> None:
        """Write intermediate values, step -> value; NaN may be among them."""
        if curve:
            same = {"experiment_id": experiment_id, "number": number, "metric": metric}
            rows = [{**same, "step": step, "value": value if value == value else None} for step, value in curve.items()]
            self.connection.execute(MEASURE[self.connection.dialect.name], rows)

    def enter_front(self, experiment: Experiment, trial: Trial) -> None:
        """Let a finished trial take its place on the Pareto front, where the experiment has one."""
        signs = tuple(objective.sign for objective in experiment.spec.objectives)
        if len(signs) > 1 and trial.feasible:
            self._update_front(experiment.id, signs, [trial])

    def lock_study_trial(self, trial_id: int, move: bool) -> Row[Any] | None:
        """What decides who may write to a trial, its row locked, and before it the experiment's if it is to `move`."""
        if move:
            experiment_id = self.experiment_of_trial(trial_id)
            if experiment_id is None:
                return None
            self.lock_experiment(experiment_id)
        return self.connection.execute(LOCKED, {"of_trial": trial_id}).first()

    def experiment_of_trial(self, trial_id: int) -> int | None:
        """The experiment of the trial of this id."""
        known = 0 < trial_id < 2**63
        return self.connection.scalar(EXPERIMENT_OF, {"of_trial": trial_id}) if known else None

    def trial_id(self, experiment_id: int, number: int) -> int | None:
        """The id of the experiment's trial of this number."""
        known = 0 <= number < 2**31
        of = {"of_experiment": experiment_id, "of_number": number}
        return self.connection.scalar(TRIAL_ID, of) if known else None

    def best_trial_id(self, experiment: Experiment) -> int | None:
        """The trial with the best first value, feasible or not."""
        return self.connection.scalar(BEST[experiment.spec.objectives[0].sign], {"of_experiment": experiment.id})

    def taken_trial_ids(self, experiment_id: int) -> set[int]:
        """The waiting trials that belong to a job or were handed out under a token."""
        return set(self.connection.scalars(TAKEN, {"of_experiment": experiment_id}))

    def beat_study_trial(self, trial_id: int, until: datetime) -> None:
        """Let a running trial count as alive until then."""
        self.connection.execute(BEAT, {"of_trial": trial_id, "until": until})

    def stale_trial_ids(self, experiment_id: int, now: datetime) -> list[int]:
        """The running trials that nobody was heard of by the time that was given."""
        return list(self.connection.scalars(STALE, {"of_experiment": experiment_id, "now": now}))
