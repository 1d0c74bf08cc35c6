"""Live studies: what they do where something changes under them."""

from __future__ import annotations

import optuna
import pytest

from tuners.studies.host import Studies
from tuners.studies.planning import plan_asking
from tuners.studies.study import Outdated, Study
from tunesmith.domain import ExternalTool, Search
from tunesmith.optuna import Storage
from tunesmith.store import Store, open_store
from tunesmith.testing import new_experiment


def test_points_of_a_search_that_was_replaced_meanwhile_are_not_written(store: Store) -> None:
    experiment = new_experiment(store, tool=ExternalTool())
    old, new = (plan_asking(experiment, Search(type="random", fixed={"n": n}), 1000) for n in (1, 2))
    with store.write() as tx:
        tx.set_asking(experiment.id, old)
    study = Study(store, experiment.id)
    with store.write() as tx:
        tx.set_asking(experiment.id, new)
    with pytest.raises(Outdated):
        study.prepare(3)
    with store.read() as tx:
        assert tx.count_waiting(experiment.id, 9) == 0
    assert Studies(store).prepare(experiment.id, 3).added == 3
    with store.read() as tx:
        assert {trial.params["n"] for trial in tx.waiting_trials(experiment.id, 9)} == {2}


def test_a_point_that_optuna_enqueued_is_taken(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    space = {"parameters": [{"name": "c", "type": "categorical", "choices": ["x", "y"]}]}
    experiment = new_experiment(store, tool=ExternalTool(), space=space)
    with store.write() as tx:
        tx.set_asking(experiment.id, plan_asking(experiment, Search(type="brute_force"), 1000))
    storage = Storage(sqlite_url)
    name = storage.get_study_name_from_id(experiment.id)
    optuna.load_study(study_name=name, storage=storage).enqueue_trial({"c": "x"})
    prepared = Studies(store).prepare(experiment.id, 5)
    assert (prepared.added, prepared.state) == (1, "over")
    with store.read() as tx:
        assert [trial.params for trial in tx.waiting_trials(experiment.id, 9)] == [{"c": "y"}]
    storage.close()
    store.close()
