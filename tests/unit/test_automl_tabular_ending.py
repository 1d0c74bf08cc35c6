"""Training of tables that ends early, for want of time or of progress, or is killed and goes on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from tabular_training import Watched, load, train

from tuners.automl.tabular import Classification, Regression, files
from tuners.automl.tabular.learners import Boosting, Sample

SMALL = {"epochs": 12, "patience": 4}


def test_a_fold_that_is_cut_short_counts_where_there_is_no_other(tmp_path: Path) -> None:
    training = {"epochs": 10_000, "early_stopping": False, "time_limit_s": 60}
    sections: dict[str, Any] = {"model": {"architecture": "mlp"}, "training": training}
    trained = train(Regression, "sample:diabetes", tmp_path, Watched(folds=5, over_after=3), **sections)
    assert len(trained.details["folds"]) == 1  # type: ignore[arg-type]
    assert trained.metrics["epochs"] == 4


def test_a_fold_that_is_cut_short_is_left_out_where_there_are_others(tmp_path: Path) -> None:
    training = {"epochs": 2, "early_stopping": False, "time_limit_s": 60}
    sections: dict[str, Any] = {"model": {"architecture": "mlp"}, "training": training}
    run = Watched(folds=5, over_after=6)
    trained = train(Regression, "sample:diabetes", tmp_path, run, **sections)
    folds: Any = trained.details["folds"]
    assert [step for step, *_ in run.reports] == [1, 2]
    assert (len(folds), trained.rows) == (2, 283)
    assert trained.metrics["epochs"] == 2
    assert trained.metrics["r2"] == folds[-1]["r2"]
    assert run.said == ["time is over: the model of the last fold is kept"]


def test_boosting_ends_soon_after_its_patience_however_many_epochs_there_may_be(tmp_path: Path) -> None:
    run = Watched()
    training = {"epochs": 20_000, "patience": 5}
    trained = train(Classification, "sample:wine", tmp_path, run, training=training)
    last, *_ = run.reports[-1]
    assert last - (trained.metrics["epochs"] + 5) < 25
    assert files.from_bytes(run.states[-1])["fitted"]["epoch"] < last


def test_a_state_of_many_trees_has_no_more_parts_than_one_of_few(tmp_path: Path) -> None:
    run = Watched()
    train(Classification, "sample:wine", tmp_path, run, training={"epochs": 40, "early_stopping": False})
    parts = [len(ZipFile(BytesIO(state)).namelist()) for state in (run.states[0], run.states[-1])]
    assert parts[0] == parts[1]


def test_the_epochs_learnt_in_one_go_grow_with_those_that_are_learnt() -> None:
    boosting = Boosting(None, "regression", Sample(np.zeros((1, 1)), np.zeros(1)), None)
    assert [boosting.stride(20_000, done) for done in (0, 200, 4000)] == [25, 25, 500]
    assert [boosting.stride(epochs, 0) for epochs in (10, 200, 400)] == [1, 10, 20]


def test_boosting_with_categories_goes_on_after_a_kill(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"kind": generator.choice(list("abcdefgh"), 300), "x": generator.normal(0, 1, 300)})
    table["y"] = table.x * table.kind.isin(["b", "d", "g"]) + generator.normal(0, 0.1, 300)
    table.to_csv(tmp_path / "kinds.csv", index=False)
    expected = train(Regression, "kinds.csv", tmp_path, training=SMALL)
    lost = Watched(killed_after=6)
    with pytest.raises(KeyboardInterrupt):
        train(Regression, "kinds.csv", tmp_path, lost, training=SMALL)
    resumed = train(Regression, "kinds.csv", tmp_path, Watched(state=lost.states[-1]), training=SMALL)
    assert resumed.metrics == expected.metrics
    rows = [{"kind": kind, "x": 1.0} for kind in "abz"]
    predicted = [load(Regression, each, tmp_path).predict(rows).values for each in (resumed, expected)]
    assert predicted[0] == predicted[1]
