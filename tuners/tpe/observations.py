"""The trials of an Optuna study as arrays, each taken in once, for samplers that look at all of them at every ask."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

ABSENT, FINISHED, RUNNING = 0, 1, 2
BEST = 25
"""How many of the best trials are kept in order; Optuna's `default_gamma` never asks for more."""


class Observations:
    """One study with one objective. Arrays are indexed by trial number; parameters are in internal representation."""

    def __init__(self, study: optuna.Study) -> None:
        self.finished = 0
        """Trials to learn from: complete or pruned."""
        self.revision = 0
        """Rises whenever a value that was there has changed: what was reckoned from the columns is stale."""
        self._storage = study._storage
        self._study_id = study._study_id
        self._sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        self._size = 0
        self._state = np.zeros(64, dtype=np.int8)
        self._columns: dict[str, npt.NDArray[np.float64]] = {}
        self._open: dict[int, FrozenTrial | None] = {}
        self._given: dict[int, Mapping[str, float]] = {}
        self._common: dict[str, BaseDistribution] | None = None
        self._best: tuple[list[tuple[float, ...]], ...] = ([], [], [])

    def watches(self, study: optuna.Study) -> bool:
        """Whether these are the observations of this study."""
        return study._storage is self._storage and study._study_id == self._study_id

    def update(self, current: int) -> None:
        """Take in the trials that are new or were not finished yet; but `current`, which is being drawn."""
        for number, known in list(self._open.items()):
            if number != current:
                self._enter(number, known)
        while self._exists(self._size):
            self._grow()
            self._size += 1
            self._open[self._size - 1] = None
            if self._size - 1 != current:
                self._enter(self._size - 1, None)

    def announce(self, number: int, params: Mapping[str, float]) -> None:
        """Note what a running trial is given (internal representation) before it asks for it; the last time counts."""
        self._given[number] = params
        self._open[number] = None

    def common_space(self) -> dict[str, BaseDistribution]:
        """The parameters, by name, that all trials to learn from have with the same distribution."""
        return dict(sorted((self._common or {}).items()))

    def below(self, count: int) -> list[int]:
        """Numbers of the best `count` (at most `BEST`) trials, ascending.

        Complete ones come first, by value; then pruned ones, those that got furthest before others; then those with
        broken constraints, by how far they break them. Equals keep their order.
        """
        ranked = [int(entry[-1]) for category in self._best for entry in category]
        return sorted(ranked[:count])

    def having(self, names: list[str]) -> npt.NDArray[np.bool_]:
        """By number: whether the trial runs, or is one to learn from, and has all these parameters."""
        there: npt.NDArray[np.bool_] = self._state[: self._size] != ABSENT
        for name in names:
            there &= ~np.isnan(self.column(name))
        return there

    def running(self) -> list[int]:
        """Numbers of the trials that are not finished."""
        return [number for number in self._open if self._state[number] == RUNNING]

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """A parameter by trial number; NaN where the trial has none."""
        if name not in self._columns:
            self._columns[name] = np.full(len(self._state), np.nan)
        return self._columns[name][: self._size]

    def _exists(self, number: int) -> bool:
        try:
            self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        except KeyError:
            return False
        return True

    def _enter(self, number: int, known: FrozenTrial | None) -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        trial = self._storage.get_trial(trial_id)
        if trial is known:  # the storage in memory replaces what has changed
            return
        params = {name: trial.distributions[name].to_internal_repr(value) for name, value in trial.params.items()}
        if trial.state.is_finished():
            del self._open[number]
            self._given.pop(number, None)
            self._finish(trial)
        else:
            self._open[number] = trial
            self._state[number] = RUNNING if trial.state == TrialState.RUNNING else ABSENT
            params = {**self._given.get(number, {}), **params}
        for name in self._columns.keys() | params.keys():
            self._put(name, number, params.get(name, math.nan))

    def _finish(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.FAIL:
            self._state[trial.number] = ABSENT
            return
        self._state[trial.number] = FINISHED
        self.finished += 1
        self._rank(trial)
        spaces = trial.distributions if self._common is None else self._common
        self._common = {name: space for name, space in spaces.items() if _same(trial.distributions.get(name), space)}

    def _rank(self, trial: FrozenTrial) -> None:
        violation = sum(value for value in trial.constraints.values() if value > 0)
        if violation > 0:
            self._insert(2, (violation,), trial.number)
        elif trial.state == TrialState.COMPLETE:
            assert trial.value is not None
            self._insert(0, (self._sign * trial.value,), trial.number)
        else:
            self._insert(1, self._progress(trial.intermediate_values), trial.number)

    def _insert(self, category: int, score: tuple[float, ...], number: int) -> None:
        bisect.insort(self._best[category], (*score, number))
        del self._best[category][BEST:]

    def _progress(self, curve: Mapping[int, float]) -> tuple[float, float]:
        """How a pruned trial is ranked: a later last step first, then the better value there; without steps last."""
        if not curve:
            return 1, 0.0
        step = max(curve)
        return -step, math.inf if math.isnan(curve[step]) else self._sign * curve[step]

    def _put(self, name: str, number: int, value: float) -> None:
        column = self.column(name)
        old = column[number]
        if old == value or (old != old and value != value):
            return
        if old == old:
            self.revision += 1
        column[number] = value

    def _grow(self) -> None:
        room = len(self._state)
        if self._size < room:
            return
        self._state = np.concatenate([self._state, np.zeros(room, dtype=np.int8)])
        self._columns = {
            name: np.concatenate([column, np.full(room, np.nan)]) for name, column in self._columns.items()
        }


def _same(one: BaseDistribution | None, other: BaseDistribution) -> bool:
    return one is other or one == other
