"""`Storage(url)`: an Optuna storage whose studies are experiments and whose trials are theirs; there is no copy."""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Collection, Container, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tunesmith.domain import utcnow
from tunesmith.optuna.cache import directions_of
from tunesmith.optuna.desk import Desk
from tunesmith.optuna.frozen import OUR_STATES, copied
from tunesmith.optuna.open_trials import CURVE
from tunesmith.optuna.opening import open_tables, url_of
from tunesmith.optuna.reading import uncollected
from tunesmith.optuna.writing import WORKSPACE, spec_of
from tunesmith.store import Store, open_store
from tunesmith.store.studies import Attrs
from tunesmith.store.tables import clean

T = TypeVar("T")
CONNECTIONS = 20
"""Connections to PostgreSQL that are kept, for the threads that share a storage."""
StaleCallback = Callable[[OptunaStudy, FrozenTrial], None]


class Storage(BaseStorage, BaseHeartbeat):
    """Optuna's studies in tunesmith's database. Any method may raise DatabaseUnavailable.

    Every study is an experiment and every experiment is a study, called `name#id` unless it was made as one. Threads
    may share a storage; a copy in another process (pickled or forked) opens the database for itself.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: StaleCallback | None = None,
    ) -> None:
        """`url`: `sqlite:///path` or `postgresql://...`; None: the database of the platform's settings.

        `heartbeat_interval`: seconds between two heartbeats of a running trial; None: none are sent; `grace_period`:
        seconds without one until the trial has failed, twice the interval by default; `heartbeat_stale_trial_callback`:
        what is called then, for instance `optuna.storages.RetryHeartbeatStaleTrialCallback()`.

        Raises:
            InvalidSettings: the URL names no database that can be used, or one that Optuna's own storage made.
            DatabaseUnavailable: it does not answer, or a newer tunesmith made its tables.
            ValueError: a number of seconds is not above 0.
        """
        for name, seconds in (("heartbeat_interval", heartbeat_interval), ("grace_period", grace_period)):
            if seconds is not None and seconds <= 0:
                raise ValueError(f"{name}={seconds}: must be above 0 (seconds), or None")
        self._url = url_of(url)
        self._heartbeat_interval, self._grace_period = heartbeat_interval, grace_period
        self._callback = heartbeat_stale_trial_callback
        self._open(open_tables(self._url, CONNECTIONS))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self._url,
            "heartbeat_interval": self._heartbeat_interval,
            "grace_period": self._grace_period,
            "heartbeat_stale_trial_callback": self._callback,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def flush(self) -> None:
        """Write what was set on running trials and waits to be written."""
        self._desk.open.flush()

    def forget(self, trial_ids: Collection[int]) -> None:
        """Let go of trials that were given to somebody else."""
        self._desk.open.drop(trial_ids)

    def close(self) -> None:
        """Write what is left, and close every connection."""
        self._closing.detach()
        _close(self._desk, self._store)

    def remove_session(self) -> None:
        """Write what is left: Optuna calls this when it has optimized."""
        self.flush()

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Make an experiment that is a study.

        Raises:
            DuplicatedStudyError: the name is taken.
            BadRequest: the name is longer than 512 characters.
        """
        name = clean(f"{DEFAULT_STUDY_NAME_PREFIX}{uuid.uuid4()}" if study_name is None else study_name)
        spec = spec_of(name, directions)
        with self._here.write() as tx:
            made = tx.create_study(tx.workspace(), name, spec)
        if made is None:
            raise DuplicatedStudyError(f"A study is called {name!r} already; load it, or choose another name")
        return made

    def delete_study(self, study_id: int) -> None:
        """Delete an experiment with its trials and jobs. Raises KeyError, JobActive (one is active), Conflict."""
        with self._store.write() as tx:
            there = tx.delete_study(study_id)
        self._desk.forget_study(study_id)
        _there(there or None, study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Note something about a study. Raises KeyError."""
        self._set_study_attr(study_id, "user_attrs", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Note something about a study on Optuna's behalf. Raises KeyError."""
        self._set_study_attr(study_id, "system_attrs", key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """The study of this name; also `name#id`, or an experiment's name where only one has it. Raises KeyError."""
        with self._here.read() as tx:
            found = tx.study_id(clean(study_name))
        if found is None:
            raise KeyError(f"No study is called {study_name!r}, and no experiment, or several, have that name")
        return found

    def get_study_name_from_id(self, study_id: int) -> str:
        """A study's name. Raises KeyError."""
        return self._desk.study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """One direction per objective. Raises KeyError."""
        return self._desk.study(study_id).directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """What was noted about a study. Raises KeyError."""
        with self._store.read(single=True) as tx:
            return _there(tx.study_attrs(study_id, "user_attrs"), study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """What Optuna noted about a study. Raises KeyError."""
        with self._store.read(single=True) as tx:
            return _there(tx.study_attrs(study_id, "system_attrs"), study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Every experiment, by id."""
        with self._here.read() as tx:
            return [
                FrozenStudy(
                    study_name=name,
                    direction=None,
                    directions=directions_of(experiment),
                    user_attrs=dict(experiment.user_attrs or {}),
                    system_attrs=dict(experiment.system_attrs or {}),
                    study_id=experiment.id,
                )
                for name, experiment in tx.studies()
            ]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial. Raises KeyError, and ValueError where the template does not fit the study."""
        return self._desk.add(study_id, template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter. Raises KeyError, UpdateFinishedTrialError, TrialTaken, and ValueError (see `suggest`)."""
        self._desk.suggest(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None) -> bool:
        """Begin or end a trial. Raises KeyError, UpdateFinishedTrialError, TrialTaken, ValueError (see `move`)."""
        return self._desk.move(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report an intermediate value. Raises KeyError, UpdateFinishedTrialError, TrialTaken."""
        self._desk.note(trial_id, CURVE, int(step), float(intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something about a trial. Raises KeyError, UpdateFinishedTrialError, TrialTaken."""
        self._desk.note(trial_id, "_user_attrs", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something about a trial on Optuna's behalf. Raises KeyError, UpdateFinishedTrialError, TrialTaken."""
        self._desk.note(trial_id, "_system_attrs", key, value)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """The id of a trial. Raises KeyError."""
        with self._store.read(single=True) as tx:
            found = tx.trial_id(study_id, trial_number)
        if found is None:
            raise KeyError(f"No trial has the number {trial_number} in the study of the id {study_id}")
        return found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """One trial. Raises KeyError."""
        return self._desk.trial(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in these states, by number. Raises KeyError."""
        wanted = None if states is None else {state for state in OptunaState if state in states}
        found = self._desk.trials(study_id, wanted)
        if not deepcopy:
            return found
        with uncollected():
            return [copied(trial) for trial in found]

    def get_n_trials(self, study_id: int, state: tuple[OptunaState, ...] | OptunaState | None = None) -> int:
        """How many trials there are, or are in these states. Raises KeyError."""
        with self._store.read(single=True) as tx:
            counts = _there(tx.study_counts(study_id), study_id)
        states = OptunaState if state is None else [state] if isinstance(state, OptunaState) else state
        return sum(counts[OUR_STATES[one].value] for one in states)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The trial with the best value.

        Raises:
            KeyError: there is no such study.
            RuntimeError: it has several objectives.
            ValueError: no trial is complete.
        """
        study = self._desk.study(study_id)
        if len(study.directions) > 1:
            raise RuntimeError("There are several objectives, and so no best trial; see `best_trials`")
        with self._store.read(single=True) as tx:
            best = tx.best_trial_id(study.experiment)
        if best is None:
            raise ValueError("No trials are completed yet.")
        return self._desk.trial(best)

    def record_heartbeat(self, trial_id: int) -> None:
        """Let a running trial count as alive for the grace period."""
        with self._store.write(single=True) as tx:
            tx.beat_study_trial(trial_id, utcnow() + self._grace)

    def get_heartbeat_interval(self) -> int | None:
        """Seconds between two heartbeats."""
        return self._heartbeat_interval

    def get_heartbeat_stale_trial_callback(self) -> StaleCallback | None:
        """What is called for every trial that failed because it was not heard of."""
        return self._callback

    @property
    def _here(self) -> Store:
        """For one workspace, where a server answers somebody of that."""
        return self._store.scoped(WORKSPACE.get())

    @property
    def _grace(self) -> timedelta:
        return timedelta(seconds=self._grace_period or 2 * (self._heartbeat_interval or 60))

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        with self._store.read(single=True) as tx:
            return tx.stale_trial_ids(study_id, utcnow())

    def _set_study_attr(self, study_id: int, kind: Attrs, key: str, value: Any) -> None:
        with self._store.write() as tx:
            _there(tx.set_study_attr(study_id, kind, key, value) or None, study_id)

    def _open(self, store: Store) -> None:
        self._store = store
        self._desk = Desk(self._store)
        self._closing = weakref.finalize(self, _close, self._desk, self._store)
        OPEN.add(self)


OPEN: weakref.WeakSet[Storage] = weakref.WeakSet()


def _there(value: T | None, study_id: int) -> T:
    if value is None:
        raise KeyError(f"No study has the id {study_id}")
    return value


def _close(desk: Desk, store: Store) -> None:
    desk.open.close()
    store.close()


def _in_child() -> None:
    """After a fork: connections, locks and running trials are the parent's."""
    for storage in list(OPEN):
        storage._closing.detach()
        storage._open(open_store(storage._url, CONNECTIONS))


os.register_at_fork(after_in_child=_in_child)
