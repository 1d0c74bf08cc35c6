"""Trials as an Optuna study that is only looked at, for Optuna's figures and importances."""

from __future__ import annotations

from collections.abc import Container, Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunesmith.domain import Objective
from tunesmith.optuna.frozen import CONSTRAINT

METRIC_NAMES = "study:metric_names"
"""Optuna's key; its own setter is experimental, and warns."""


def study_of(name: str, objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> optuna.Study:
    """A study of these trials as they are; nothing is copied, and nothing can be added."""
    storage = _Shown(trials)
    directions = [StudyDirection.MINIMIZE if each.sign > 0 else StudyDirection.MAXIMIZE for each in objectives]
    study_id = storage.create_new_study(directions, name)
    storage.set_study_system_attr(study_id, METRIC_NAMES, [each.metric for each in objectives])
    return optuna.Study(study_name=name, storage=storage)


def bare_trial(number: int, value: float, feasible: bool) -> FrozenTrial:
    """A complete trial of which nothing is known but its value."""
    return FrozenTrial(
        number=number,
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={} if feasible else {CONSTRAINT + "broken": 1.0},
        intermediate_values={},
        trial_id=number,
    )


class _Shown(InMemoryStorage):  # type: ignore[misc, unused-ignore]
    """A storage whose trials are those that it was given."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = list(trials)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]
