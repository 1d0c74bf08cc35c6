"""Trained models in a process: loaded once and on demand, unloaded when they are idle or too many."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import weighing
from launched import until
from threadpoolctl import threadpool_info
from weighing import PLUGIN, keep

from serve_app import predicting
from serve_app.platform import Alone
from serve_app.predicting import Models
from tunesmith.errors import InvalidData, ModelUnusable
from tunesmith.settings import Settings
from tunesmith.store import Store

ROW = {"price": 3, "size": 4.5}


@pytest.fixture(autouse=True)
def loads() -> list[str]:
    """What was loaded since the test began."""
    weighing.loads.clear()
    return weighing.loads


@pytest.fixture
def models(settings: Settings) -> Models:
    return Models(settings)


def keep_model(settings: Settings, key: str = "m", **details: Any) -> Path:
    """Leave a trained model under a key; its directory."""
    directory = Path(settings.artifacts) / key
    keep(directory, {"price": 2.0, "size": -1.0}, key=key, **details)
    return directory


def test_a_model_is_loaded_when_it_is_first_asked_and_then_kept(
    settings: Settings, models: Models, loads: list[str]
) -> None:
    keep_model(settings)
    assert models.loaded == []
    assert [models.predict("m", PLUGIN, [ROW] * n).values for n in (1, 3, 0)] == [[1.5], [1.5] * 3, []]
    assert (models.loaded, len(loads)) == (["m"], 1)


def test_requests_that_come_together_load_it_once(settings: Settings, models: Models, loads: list[str]) -> None:
    keep_model(settings, loading_s=0.3)
    ready = threading.Barrier(4)

    def ask(_: int) -> list[Any]:
        ready.wait()
        return models.predict("m", PLUGIN, [ROW]).values

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [[1.5]] * 4
    assert len(loads) == 1


def test_a_model_that_is_loading_keeps_nobody_from_another_one(settings: Settings, models: Models) -> None:
    keep_model(settings, "slow", loading_s=30)
    keep_model(settings, "quick")
    threading.Thread(target=models.predict, args=("slow", PLUGIN, [ROW]), daemon=True).start()
    assert models.predict("quick", PLUGIN, [ROW]).values == [1.5]
    assert models.loaded == ["quick"]


def test_an_idle_model_is_unloaded_and_the_next_request_loads_it_again(settings: Settings, loads: list[str]) -> None:
    keep_model(settings)
    models = Models(settings.model_copy(update={"predict_idle_s": 0.2}))
    models.predict("m", PLUGIN, [ROW])
    until(lambda: models.loaded == [], 5)
    assert models.predict("m", PLUGIN, [ROW]).values == [1.5]
    assert len(loads) == 2
    until(lambda: models.loaded == [], 5)


def test_a_model_in_use_stays_when_an_idle_one_goes(settings: Settings, loads: list[str]) -> None:
    keep_model(settings, "used")
    keep_model(settings, "idle")
    models = Models(settings.model_copy(update={"predict_idle_s": 3.0}))
    for key in ("idle", "used"):
        models.predict(key, PLUGIN, [ROW])

    def gone() -> bool:
        models.predict("used", PLUGIN, [ROW])
        return models.loaded == ["used"]

    until(gone, 15)
    assert len(loads) == 2


def test_of_too_many_models_those_go_that_were_used_longest_ago(
    settings: Settings, models: Models, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "MODELS", 2)
    for key in ("a", "b", "c"):
        keep_model(settings, key)
    for key in ("a", "b", "a", "c"):
        models.predict(key, PLUGIN, [ROW])
    assert models.loaded == ["a", "c"]
    monkeypatch.setattr(predicting, "BYTES", 10)  # less than one of them takes: that one is loaded all the same
    models.predict("b", PLUGIN, [ROW])
    assert (models.loaded, len(loads)) == (["b"], 4)


def test_a_row_that_is_refused_is_named(settings: Settings, models: Models) -> None:
    keep_model(settings)
    with pytest.raises(InvalidData, match="row 2, column 'size'") as refused:
        models.predict("m", PLUGIN, [ROW, {"price": 1, "size": "large"}])
    assert refused.value.details == {"row": 2, "column": "size"}


def test_a_model_that_could_not_be_loaded_is_tried_again(settings: Settings, models: Models) -> None:
    directory = keep_model(settings)
    whole = (directory / "model.weights").read_bytes()
    (directory / "model.weights").write_bytes(b"damaged")
    with pytest.raises(ModelUnusable, match="SHA-256"):
        models.predict("m", PLUGIN, [ROW])
    assert models.loaded == []
    (directory / "model.weights").write_bytes(whole)
    assert models.predict("m", PLUGIN, [ROW]).values == [1.5]


def test_what_a_template_raises_is_told(settings: Settings, models: Models) -> None:
    keep_model(settings)
    with pytest.raises(ModelUnusable, match="could not predict: TypeError"):
        models.predict("m", PLUGIN, [ROW | {"wait_s": "long"}])
    with pytest.raises(ModelUnusable, match="no_such_module"):
        models.predict("m", "no_such_module:plugin", [ROW])


def test_native_threads_are_one_while_it_predicts_and_what_they_were_after(
    settings: Settings, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.ensemble  # noqa: F401  # brings OpenMP

    keep_model(settings)
    seen: list[int] = []

    def predict(_self: object, rows: Any) -> Any:
        seen.extend(openmp())
        return rows

    monkeypatch.setattr(weighing.Sum, "predict", predict)
    before = openmp()
    models.predict("m", PLUGIN, [ROW])
    assert set(seen) == {1}
    assert openmp() == before


def openmp() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"]


def test_an_application_without_a_cluster_predicts_itself(settings: Settings, sqlite_store: Store) -> None:
    keep_model(settings)
    assert asyncio.run(Alone(sqlite_store, settings).predict("m", PLUGIN, [ROW])).values == [1.5]
