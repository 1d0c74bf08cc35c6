"""Many trials into a database of Optuna's in one transaction; its own way commits each, after dozens of queries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

from tunesmith.interchange.content import Progress

CHUNK = 1000
"""Trials that are sent at once."""


def add_trials(storage: RDBStorage, study_id: int, trials: Iterable[FrozenTrial], progress: Progress | None) -> None:
    """Add trials to a study that has none; they are numbered 0, 1, 2, ... Raises SQLAlchemyError: none was added."""
    left, done = iter(trials), 0
    with Session(storage.engine) as session, session.begin():
        while chunk := list(islice(left, CHUNK)):
            rows = [_trial(study_id, done + index, trial) for index, trial in enumerate(chunk)]
            session.add_all(rows)
            session.flush()  # now they have ids
            for row, trial in zip(rows, chunk, strict=True):
                session.add_all(_details(row.trial_id, trial))
            session.flush()
            session.expunge_all()
            done += len(chunk)
            if progress is not None:
                progress(done)


def _trial(study_id: int, number: int, trial: FrozenTrial) -> Any:
    return models.TrialModel(
        study_id=study_id,
        number=number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )


def _details(trial_id: int, trial: FrozenTrial) -> Iterator[Any]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield models.TrialValueModel(trial_id=trial_id, objective=objective, value=stored, value_type=kind)
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        yield models.TrialParamModel(
            trial_id=trial_id,
            param_name=name,
            param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )
    for step, reported in trial.intermediate_values.items():
        kept, what = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(reported)
        yield models.TrialIntermediateValueModel(
            trial_id=trial_id, step=step, intermediate_value=kept, intermediate_value_type=what
        )
    yield from _attrs(models.TrialUserAttributeModel, trial_id, trial.user_attrs)
    yield from _attrs(models.TrialSystemAttributeModel, trial_id, trial.system_attrs)


def _attrs(model: Any, trial_id: int, attrs: Mapping[str, Any]) -> Iterator[Any]:
    for key, value in attrs.items():
        yield model(trial_id=trial_id, key=key, value_json=json.dumps(value))
