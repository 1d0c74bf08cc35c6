"""Live studies: what they do where something changes under them."""

from __future__ import annotations

import pytest

from tuners.studies.host import Studies
from tuners.studies.planning import plan_asking
from tuners.studies.study import Outdated, Study
from tunesmith.domain import ExternalTool, Search
from tunesmith.store import Store
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
