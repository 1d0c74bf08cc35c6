"""What a trial of an Optuna study costs on PostgreSQL: few statements, and as little with many trials as with few."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from sqlalchemy import create_engine, event, text

from tunesmith.optuna import Storage

TRIALS = 60
LOOKED_AT = text("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'trials'")
OURS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tunesmith'"
)


@pytest.fixture
def study(postgres_url: str) -> Iterator[optuna.Study]:
    shown = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line for each trial names the best, which is asked for
    sampler = optuna.samplers.RandomSampler(seed=1)
    yield optuna.create_study(study_name="cost", storage=Storage(postgres_url), sampler=sampler)
    optuna.logging.set_verbosity(shown)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)


def storage_of(study: optuna.Study) -> Storage:
    assert isinstance(study._storage, Storage)
    return study._storage


def test_a_trial_is_three_statements_without_begin_and_commit(study: optuna.Study) -> None:
    study.optimize(objective, n_trials=1)  # the first one also learns the parameters
    alone: list[bool] = []

    def note(_connection: Any, cursor: Any, *_: Any) -> None:
        alone.append(cursor.connection.autocommit)

    event.listen(storage_of(study)._store.engine, "before_cursor_execute", note)
    study.optimize(objective, n_trials=TRIALS)

    # On a machine that pauses, what a trial has set is written before it ends, and that is one statement more.
    assert 3 * TRIALS <= len(alone) < 3.5 * TRIALS
    assert sum(alone) == 3 * TRIALS


def test_a_trial_does_not_look_at_those_before(study: optuna.Study, postgres_url: str) -> None:
    study.optimize(objective, n_trials=TRIALS)
    storage_of(study).close()  # a server process counts what it has read when it ends, at the latest

    engine = create_engine(postgres_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        end = time.monotonic() + 30
        while connection.scalar(OURS) and time.monotonic() < end:
            time.sleep(0.02)
        looked_at = connection.scalar(LOOKED_AT)
    engine.dispose()
    assert looked_at is not None
    assert TRIALS <= looked_at < 3 * TRIALS
