"""The trials that this process evaluates: kept in memory, written with their state, or a tenth of a second later.

Optuna wants a trial's parameters, attributes and intermediate values to be durable when its state is, not before.
So a trial costs two transactions, one when it begins and one when it ends, unless it takes long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial

from tunesmith.errors import TunesmithError
from tunesmith.optuna.cache import Study
from tunesmith.optuna.reading import read_trial
from tunesmith.optuna.writing import hidden, row_of, text_of, trial_of
from tunesmith.store import Store, Tx
from tunesmith.store.study_trials import COLUMNS, NOTES

log = logging.getLogger("tunesmith.optuna")

CURVE = "intermediate_values"
"""The frozen trial's attribute that becomes measurements; the others become columns."""
DELAY_S = 0.1
"""Seconds that a change may wait to be written, and that a trial is not looked at again."""


class Change(NamedTuple):
    """Something that is set on a trial."""

    field: str
    """The frozen trial's attribute, a dict."""
    key: Any
    """The key in it."""
    value: Any
    """The value, as it is read again later."""


def changed(trial: FrozenTrial, changes: Iterable[Change], **attributes: Any) -> FrozenTrial:
    """Another trial with these changes; the old one stays as it is, for somebody may have it."""
    new = object.__new__(FrozenTrial)
    values = vars(new)
    values.update(vars(trial))
    values.update(attributes)
    for field, key, value in changes:
        values[field] = {**values[field], key: value}
    return new


class OpenTrial:
    """A running trial, and what SQL does not know about it yet. Hold `lock` while you change it."""

    def __init__(
        self, study: Study, trial: FrozenTrial, attempt: int = 1, user: str | None = None, system: str | None = None
    ) -> None:
        """`attempt`, `user`, `system`: the row's attempt and attributes, as they are in SQL."""
        self.study, self.trial, self.attempt = study, trial, attempt
        self.lock = threading.RLock()
        self.seen_at = time.monotonic()
        self.changes: list[Change] = []
        self.changed_at = 0.0
        self._seen: tuple[str | None, str | None] = (user, system)
        self._ours = hidden(system)

    @property
    def id(self) -> int:
        """Optuna's id of the trial, ours of its row."""
        return int(self.trial._trial_id)

    def change(self, *changes: Change) -> None:
        """Set something; it is written soon."""
        self.trial = changed(self.trial, changes)
        if not self.changes:
            self.changed_at = time.monotonic()
        self.changes.extend(changes)

    def columns(self, trial: FrozenTrial) -> dict[str, Any]:
        """The trial's columns, and what they must have been until now."""
        return {
            **columns_of(self.study, trial, self._ours),
            "seen_attempt": self.attempt,
            "seen_user_attrs": self._seen[0],
            "seen_system_attrs": self._seen[1],
        }

    def curve(self) -> dict[int, float]:
        """The intermediate values that SQL does not know."""
        return {key: value for field, key, value in self.changes if field == CURVE}

    def rebase(self, tx: Tx, system: str | None) -> None:
        """Let the changes be ones of the trial as SQL has it now; `system`: its row's system attributes."""
        found = read_trial(tx, self.study.experiment, self.id, self.study.freezer)
        if found is not None:
            self.trial, self._ours = changed(found, self.changes), hidden(system)

    def written(self, columns: dict[str, Any]) -> None:
        """Note that SQL knows everything."""
        self._seen = (columns["new_user_attrs"], columns["new_system_attrs"])
        self.seen_at = time.monotonic()
        self.changes = []


def columns_of(study: Study, trial: FrozenTrial, ours: dict[str, Any]) -> dict[str, Any]:
    """The columns of a trial, for `end_study_trial` and `note_study_trial`. Raises ValueError as `row_of` does."""
    row = row_of(study.experiment, trial_of(study.experiment, trial, ours, study.texts))
    row |= {name: text_of(row[name]) for name in NOTES}
    return {"of_trial": trial._trial_id, "new_worker": None, **{f"new_{name}": row[name] for name in COLUMNS}}


class OpenTrials:
    """The open trials of one storage, and the thread that writes down what changed about them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[int, OpenTrial] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, trial_id: int) -> OpenTrial | None:
        """The trial, if it is one of these."""
        return self._open.get(trial_id)

    def add(self, trial: OpenTrial) -> None:
        """Take a trial in hand."""
        with self._lock:
            self._open[trial.id] = trial
            if self._thread is None or not self._thread.is_alive():
                self._wake.clear()
                self._thread = threading.Thread(target=self._run, name="tunesmith-open-trials", daemon=True)
                self._thread.start()

    def drop(self, trial_ids: Iterable[int]) -> None:
        """Let go of trials; what was not written about them is lost."""
        with self._lock:
            for trial_id in trial_ids:
                self._open.pop(trial_id, None)

    def of(self, study_id: int) -> list[OpenTrial]:
        """The trials of one study."""
        with self._lock:
            return [trial for trial in self._open.values() if trial.study.id == study_id]

    def flush(self, older_s: float = 0.0) -> None:
        """Write every change that is older. Raises DatabaseUnavailable."""
        due = time.monotonic() - older_s
        with self._lock:
            waiting = [trial for _, trial in sorted(self._open.items()) if trial.changes and trial.changed_at <= due]
        if waiting:
            self._write(waiting)

    def close(self) -> None:
        """Write what is left and let the thread end. Raises DatabaseUnavailable."""
        self._wake.set()
        self.flush()
        with self._lock:
            self._open.clear()

    def _run(self) -> None:
        while not self._wake.wait(DELAY_S):
            try:
                self.flush(DELAY_S / 2)
            except TunesmithError as error:
                log.warning("what trials report is written later: %s", error.message)
            with self._lock:
                if not self._open:
                    self._thread = None
                    return

    def _write(self, waiting: Sequence[OpenTrial]) -> None:
        with ExitStack() as locks:
            for trial in waiting:
                locks.enter_context(trial.lock)
            with self._store.write() as tx:
                written = [(trial, _note(tx, trial)) for trial in waiting if trial.changes]
            for trial, columns in written:
                if columns is not None:
                    trial.written(columns)
            self.drop(trial.id for trial, columns in written if columns is None)


def _note(tx: Tx, trial: OpenTrial) -> dict[str, Any] | None:
    """Write what changed, also where somebody else wrote meanwhile; None when the trial is not ours any more."""
    columns = trial.columns(trial.trial)
    if not tx.note_study_trial(columns, if_unchanged=True):
        row = tx.lock_study_trial(trial.id, move=False)
        if row is None or row.state != "running" or row.lease_token or row.attempt != trial.attempt:
            return None
        trial.rebase(tx, row.system_attrs)
        columns = trial.columns(trial.trial)
        tx.note_study_trial(columns, if_unchanged=False)
    experiment = trial.study.experiment
    tx.measure_study_trial(experiment.id, trial.trial.number, experiment.spec.objectives[0].metric, trial.curve())
    return columns
