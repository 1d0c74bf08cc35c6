"""What a storage remembers of a study: its experiment, its distributions, and the trials that it has read."""

from __future__ import annotations

import threading
from collections.abc import Collection

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tunesmith.domain import Experiment
from tunesmith.optuna.distributions import distribution_of
from tunesmith.optuna.frozen import Freezer
from tunesmith.optuna.reading import read_trials
from tunesmith.store import Tx


class Study:
    """One study. Reading it again asks for what is new and for what was not finished, and for nothing else."""

    def __init__(self, name: str, experiment: Experiment, finished: dict[int, FrozenTrial]) -> None:
        """`finished`: where finished trials are noted by their id, for all studies."""
        self.name = name
        self._finished = finished
        self.texts: dict[str, tuple[BaseDistribution, str]] = {}
        """Parameter -> the first distribution that it had, and its JSON."""
        self.lock = threading.RLock()
        self._trials: list[FrozenTrial] = []
        self._places: dict[int, int] = {}
        self._above_id = 0
        self._unsettled: set[int] = set()
        self._set(experiment)

    @property
    def id(self) -> int:
        """Optuna's id of the study, ours of the experiment."""
        return self.experiment.id

    @property
    def fixed(self) -> bool:
        """Whether its experiment never changes, and has no jobs: it was made as a study."""
        return self.experiment.spec.external and self.experiment.spec.define_by_run

    @property
    def directions(self) -> list[StudyDirection]:
        """One per objective."""
        return directions_of(self.experiment)

    def refresh(self, tx: Tx) -> bool:
        """Read what is new; False when the study is gone."""
        now = tx.study(self.id) if not self.fixed else None
        if now is None and (not self.fixed or tx.study_counts(self.id) is None):
            return False
        if now is not None and now[1].spec != self.experiment.spec:
            self._set(now[1])
        with self.lock:
            asked = sorted(self._unsettled)
            found = read_trials(tx, self.experiment, above_id=self._above_id, among=asked, freezer=self.freezer)
            self._drop(set(asked) - {trial.number for trial in found})
            self._take(found)
        return True

    def remember(self, trial: FrozenTrial) -> None:
        """Take in a trial as it is now."""
        with self.lock:
            self._place([trial])

    def overlay(self, trial: FrozenTrial) -> None:
        """Take in what this process knows of a trial that it evaluates, unless SQL has seen the end of it."""
        with self.lock:
            place = self._places.get(trial.number)
            if place is None or not self._trials[place].state.is_finished():
                self._place([trial])

    def snapshot(self) -> list[FrozenTrial]:
        """The trials by number, as they were read last."""
        with self.lock:
            return list(self._trials)

    def known(self, name: str) -> bool:
        """Whether a trial is known that had the parameter."""
        return name in self.texts

    def agreed(self, name: str, distribution: BaseDistribution) -> BaseDistribution:
        """The distribution, as the same object where the study has it already.

        Raises:
            ValueError: it is another kind of distribution than before, or has other choices.
        """
        known = self.texts.get(name)
        if known is None:
            text = distribution_to_json(distribution)
            known = self.texts.setdefault(name, (json_to_distribution(text), text))
        if known[0] == distribution:
            return known[0]
        check_distribution_compatibility(known[0], distribution)
        return distribution

    def _set(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.freezer = Freezer(experiment)
        for parameter in experiment.spec.space:
            self._learn(parameter.name, distribution_of(parameter))

    def _take(self, found: Collection[FrozenTrial]) -> None:
        self._place(found)
        shared = None
        for trial in found:
            self._above_id = max(self._above_id, trial._trial_id)
            # A job that is tried again evaluates its failed trials once more.
            if trial.state.is_finished() and (self.fixed or trial.state is not OptunaState.FAIL):
                self._unsettled.discard(trial.number)
                self._finished[trial._trial_id] = trial
            else:
                self._unsettled.add(trial.number)
            if trial.distributions is not shared:
                shared = trial.distributions
                for name, distribution in shared.items():
                    self._learn(name, distribution)

    def _place(self, found: Collection[FrozenTrial]) -> None:
        """Put trials where they belong; readers have copies of the list."""
        trials = self._trials
        ordered = True
        for trial in found:
            place = self._places.get(trial.number)
            if place is None:
                ordered = ordered and (not trials or trials[-1].number < trial.number)
                self._places[trial.number] = len(trials)
                trials.append(trial)
            else:
                trials[place] = trial
        if not ordered:
            self._order()

    def _drop(self, numbers: Collection[int]) -> None:
        if numbers:
            self._unsettled.difference_update(numbers)
            self._trials = [trial for trial in self._trials if trial.number not in numbers]
            self._order()

    def _order(self) -> None:
        self._trials.sort(key=lambda trial: trial.number)
        self._places = {trial.number: place for place, trial in enumerate(self._trials)}

    def _learn(self, name: str, distribution: BaseDistribution) -> None:
        if name not in self.texts:
            self.texts[name] = (distribution, distribution_to_json(distribution))


def directions_of(experiment: Experiment) -> list[StudyDirection]:
    """Optuna's names for the experiment's directions."""
    return [StudyDirection[objective.direction.upper()] for objective in experiment.spec.objectives]
