"""What a storage does with trials: makes them, hands them out, changes and ends them, and reads them back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Row

from tunesmith.domain import FINISHED, TrialState
from tunesmith.errors import TrialTaken
from tunesmith.optuna.cache import Study
from tunesmith.optuna.frozen import OUR_STATES
from tunesmith.optuna.open_trials import CURVE, DELAY_S, Change, OpenTrial, OpenTrials, changed, columns_of
from tunesmith.optuna.reading import read_trial, read_trials
from tunesmith.optuna.writing import hidden as ours_of
from tunesmith.optuna.writing import plain, row_of, trial_of, worker
from tunesmith.store import Store, Tx

UNFINISHED = frozenset({OptunaState.WAITING, OptunaState.RUNNING})


class _ChangedMeanwhileError(Exception):
    """Somebody else wrote to the trial: look before writing."""


class Desk:
    """The trials of a storage. Its methods raise KeyError where there is no such study or trial."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._studies: dict[int, Study] = {}
        self._finished: dict[int, FrozenTrial] = {}
        self._taken: dict[int, set[int]] = {}
        self._lock = threading.Lock()
        self.open = OpenTrials(store)

    def study(self, study_id: int) -> Study:
        """The study of this id."""
        known = self._studies.get(study_id)
        if known is not None:
            return known
        with self._store.read() as tx:
            found = tx.study(study_id)
        if found is None:
            raise KeyError(f"No study has the id {study_id}")
        with self._lock:
            return self._studies.setdefault(study_id, Study(*found, self._finished))

    def forget_study(self, study_id: int) -> None:
        """Remember nothing of a study."""
        self.open.drop([trial.id for trial in self.open.of(study_id)])
        self._taken.pop(study_id, None)
        study = self._studies.pop(study_id, None)
        for trial in study.snapshot() if study is not None else ():
            self._finished.pop(trial._trial_id, None)

    def add(self, study_id: int, template: FrozenTrial | None) -> int:
        """Add a trial, a running one without a template; its id."""
        study = self.study(study_id)
        start = FrozenTrial(
            number=-1,
            state=OptunaState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=-1,
        )
        trial = start if template is None else self._normal(study, template)
        state = OUR_STATES[trial.state]
        ours = trial_of(study.experiment, trial, {}, study.texts)
        row = row_of(study.experiment, ours)
        metric = study.experiment.spec.objectives[0].metric
        with self._store.write(single=_is_one_row(study, trial.intermediate_values)) as tx:
            added = tx.add_study_trial(study_id, state, row)
            if added is not None:
                tx.measure_study_trial(study_id, added[1], metric, trial.intermediate_values)
                tx.enter_front(study.experiment, ours.evolve(number=added[1]))
        if added is None:
            self.forget_study(study_id)
            raise KeyError(f"No study has the id {study_id}")
        trial_id, number = added
        if template is None:
            self.open.add(OpenTrial(study, changed(trial, (), _number=number, _trial_id=trial_id)))
        return trial_id

    def suggest(self, trial_id: int, name: str, internal: float, distribution: BaseDistribution) -> None:
        """Set a parameter.

        Raises:
            ValueError: the study has another kind of distribution for it, or other choices.
            UpdateFinishedTrialError: the trial is finished.
            TrialTaken: it is not for Optuna's processes to write to.
        """

        def changes(study: Study) -> tuple[Change, ...]:
            agreed = self._agreed(study, name, distribution)
            value = agreed.to_external_repr(internal)
            value = float(value) if isinstance(agreed, FloatDistribution) else value
            return Change("_params", name, value), Change("_distributions", name, agreed)

        mine = self.open.get(trial_id)
        if mine is None:
            self._write_through(trial_id, changes)
            return
        made = changes(mine.study)
        with mine.lock:
            mine.change(*made)

    def note(self, trial_id: int, field: str, key: Any, value: Any) -> None:
        """Set an attribute or an intermediate value; `field`: the frozen trial's attribute. Raises as `suggest`."""
        change = Change(field, key, plain(value))
        mine = self.open.get(trial_id)
        if mine is None:
            self._write_through(trial_id, lambda _: (change,))
            return
        with mine.lock:
            mine.change(change)

    def move(self, trial_id: int, state: OptunaState, values: Sequence[float] | None) -> bool:
        """Set the state; False where a trial is to run that does not wait (for Optuna's processes).

        Raises:
            UpdateFinishedTrialError: the trial is finished.
            TrialTaken: it is not for Optuna's processes to write to.
            ValueError: there is not one value per objective, or it is NaN.
        """
        if state is OptunaState.RUNNING and any(trial_id in taken for taken in self._taken.values()):
            return False
        mine = self.open.get(trial_id)
        if mine is None:
            return self._look_and_move(trial_id, state, values, None)
        if state is OptunaState.RUNNING:
            return False
        with mine.lock:
            try:
                ended = self._end(mine, state, values)
            except _ChangedMeanwhileError:
                self.open.drop([trial_id])
                return self._look_and_move(trial_id, state, values, mine)
        self._settled(mine.study, ended)
        return True

    def trial(self, trial_id: int) -> FrozenTrial:
        """One trial as it is now."""
        finished = self._finished.get(trial_id)
        if finished is not None:
            return finished
        mine = self.open.get(trial_id)
        if mine is None:
            return self._read(trial_id)
        if time.monotonic() < mine.seen_at + DELAY_S:
            return mine.trial
        with mine.lock:  # so that nothing is written, and no change forgotten, between reading and rebasing
            return self._with_changes(self._read(trial_id), mine)

    def trials(self, study_id: int, states: Collection[OptunaState] | None) -> list[FrozenTrial]:
        """The trials in these states (None: in any), by number."""
        study = self.study(study_id)
        if states is not None and UNFINISHED.issuperset(states):
            return self._unfinished(study, states)
        with study.lock, self._store.read() as tx:
            there = study.refresh(tx)
        if not there:
            self.forget_study(study_id)
            raise KeyError(f"No study has the id {study_id}")
        for mine in self.open.of(study_id):
            study.overlay(mine.trial)
        found = study.snapshot()
        return found if states is None else [trial for trial in found if trial.state in states]

    def _unfinished(self, study: Study, states: Collection[OptunaState]) -> list[FrozenTrial]:
        """Straight from the index, for this is asked before every trial."""
        if states == {OptunaState.WAITING}:
            with self._store.read(single=True) as tx:
                if not tx.open_counts(study.id)[0]:
                    return []  # known without the index, which on PostgreSQL is full of what was there once
        with self._store.read() as tx:
            found = read_trials(tx, study.experiment, states, freezer=study.freezer)
            if found and not study.fixed:
                self._taken[study.id] = tx.taken_trial_ids(study.id)
        mine = {trial.id: trial.trial for trial in self.open.of(study.id)}
        return [mine.get(trial._trial_id, trial) for trial in found]

    def _read(self, trial_id: int) -> FrozenTrial:
        with self._store.read() as tx:
            study_id = tx.experiment_of_trial(trial_id)
            study = None if study_id is None else self.study(study_id)
            found = None if study is None else read_trial(tx, study.experiment, trial_id, study.freezer)
        if found is None:
            self.open.drop([trial_id])
            raise KeyError(f"No trial has the id {trial_id}")
        return found

    def _with_changes(self, found: FrozenTrial, mine: OpenTrial) -> FrozenTrial:
        if found.state is not OptunaState.RUNNING:
            self.open.drop([mine.id])
            return found
        mine.trial, mine.seen_at = changed(found, mine.changes), time.monotonic()
        return mine.trial

    def _end(self, mine: OpenTrial, state: OptunaState, values: Sequence[float] | None) -> FrozenTrial:
        """Nothing is read for most: the trial is as it was seen last."""
        study, ended = mine.study, in_state(mine.trial, state, values)
        columns, curve = mine.columns(ended), mine.curve()
        with self._store.write(single=_is_one_row(study, curve)) as tx:
            if not tx.end_if_unchanged(study.id, OUR_STATES[state], columns):
                raise _ChangedMeanwhileError
            _complete(tx, study, ended, curve)
        return ended

    def _look_and_move(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None, mine: OpenTrial | None
    ) -> bool:
        """The same for a trial that is somebody else's, or was changed by somebody else."""
        with self._store.write() as tx:
            row = _there(tx.lock_study_trial(trial_id, move=True), trial_id)
            _refuse_finished(row, trial_id)
            running = row.state == TrialState.RUNNING.value
            if state is OptunaState.RUNNING and (running or _owner(row) is not None):
                return False
            _refuse_taken(row, trial_id, mine)
            study = self.study(row.experiment_id)
            read = read_trial(tx, study.experiment, trial_id, study.freezer)
            assert read is not None
            moved = in_state(changed(read, mine.changes if mine else ()), state, values)
            columns = columns_of(study, moved, ours_of(row.system_attrs))
            columns["new_worker"] = worker() if state is OptunaState.RUNNING else None
            tx.move_study_trial(study.id, TrialState(row.state), OUR_STATES[state])
            tx.end_study_trial(columns)
            _complete(tx, study, moved, mine.curve() if mine else {})
        if state is OptunaState.RUNNING:
            notes = columns["new_user_attrs"], columns["new_system_attrs"]
            self.open.add(OpenTrial(study, moved, row.attempt, *notes))
        self._settled(study, moved)
        return True

    def _write_through(self, trial_id: int, changes: Callable[[Study], Sequence[Change]]) -> None:
        """Change a trial that another process evaluates, or none yet: at once, for nobody here will end it."""
        with self._store.write() as tx:
            row = _there(tx.lock_study_trial(trial_id, move=False), trial_id)
            _refuse_finished(row, trial_id)
            _refuse_taken(row, trial_id, None)
            study = self.study(row.experiment_id)
            made = changes(study)
            read = read_trial(tx, study.experiment, trial_id, study.freezer)
            assert read is not None
            written = changed(read, made)
            tx.note_study_trial(columns_of(study, written, ours_of(row.system_attrs)), if_unchanged=False)
            _measure(tx, study, written, {key: value for field, key, value in made if field == CURVE})

    def _settled(self, study: Study, trial: FrozenTrial) -> None:
        if trial.state is OptunaState.RUNNING:
            return
        self.open.drop([trial._trial_id])
        if trial.state.is_finished() and not study.experiment.spec.constraints:  # what those say is read from SQL
            self._finished[trial._trial_id] = trial
            study.remember(trial)

    def _agreed(self, study: Study, name: str, distribution: BaseDistribution) -> BaseDistribution:
        if not study.known(name):
            with study.lock, self._store.read() as tx:
                study.refresh(tx)
        return study.agreed(name, distribution)

    def _normal(self, study: Study, template: FrozenTrial) -> FrozenTrial:
        """The template as it is read again after it was stored."""
        agreed = {name: self._agreed(study, name, template.distributions[name]) for name in template.params}
        return changed(
            template,
            (),
            _distributions=agreed,
            _user_attrs=plain(template.user_attrs),
            _system_attrs=plain(template.system_attrs),
        )


def in_state(trial: FrozenTrial, state: OptunaState, values: Sequence[float] | None) -> FrozenTrial:
    """The trial in another state, from now on."""
    attributes: dict[str, Any] = {"state": state}
    if values is not None:
        attributes["_values"] = [float(value) for value in values]
    if state is OptunaState.RUNNING:
        attributes["_datetime_start"] = datetime.now()
    if state.is_finished():
        attributes["datetime_complete"] = datetime.now()
    return changed(trial, (), **attributes)


def _is_one_row(study: Study, curve: Mapping[int, float]) -> bool:
    """Whether what is written of a trial is its row alone: no intermediate values, no Pareto front."""
    return not curve and len(study.experiment.spec.objectives) == 1


def _complete(tx: Tx, study: Study, trial: FrozenTrial, curve: dict[int, float]) -> None:
    _measure(tx, study, trial, curve)
    if len(study.experiment.spec.objectives) > 1:
        tx.enter_front(study.experiment, trial_of(study.experiment, trial, {}, study.texts))


def _measure(tx: Tx, study: Study, trial: FrozenTrial, curve: dict[int, float]) -> None:
    tx.measure_study_trial(study.id, trial.number, study.experiment.spec.objectives[0].metric, curve)


def _there(row: Row[Any] | None, trial_id: int) -> Row[Any]:
    if row is None:
        raise KeyError(f"No trial has the id {trial_id}")
    return row


def _refuse_finished(row: Row[Any], trial_id: int) -> None:
    if TrialState(row.state) in FINISHED:
        raise UpdateFinishedTrialError(f"The trial of the id {trial_id} is {row.state}; what came of it stays")


def _owner(row: Row[Any]) -> str | None:
    """Who has the trial beside Optuna's processes."""
    if row.job_id is not None:
        return f"the platform's job {row.job_id}, which evaluates it"
    return None if row.lease_token is None else "the worker that asked for it (POST .../ask), until its lease ends"


def _refuse_taken(row: Row[Any], trial_id: int, mine: OpenTrial | None) -> None:
    owner = _owner(row)
    if owner is None and mine is not None and (row.attempt != mine.attempt or row.state == TrialState.WAITING.value):
        owner = "another process, because nothing was heard of this one in time"
    if owner is not None:
        raise TrialTaken(f"The trial of the id {trial_id} belongs to {owner}; ask for another one", trial_id=trial_id)
