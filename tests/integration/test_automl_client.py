"""`AutoMLClient` against the service: trainings, predictions, files, and what becomes of lost answers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest

from tests.integration.automl_service import PASSWORD, houses, training_service
from tunesmith import AutoMLClient
from tunesmith.errors import (
    BadRequest,
    ConnectionFailed,
    InvalidConfig,
    InvalidData,
    ModelNotFound,
    NoResults,
    StateForbids,
    TemplateNotFound,
    TunesmithError,
    Unauthenticated,
)
from tunesmith.settings import Settings
from tunesmith.store import Store

HOUSES: dict[str, Any] = {
    "model": {"type": "linear", "task": "regression"},
    "data": {"train_path": "houses.csv"},
}
LONG: dict[str, Any] = {
    "model": {"type": "regression", "architecture": "mlp"},
    "training": {"epochs": 100_000, "early_stopping": False},
    "data": {"train_path": "houses.csv"},
}


class Flaky(httpx2.HTTPTransport):
    """The network, which loses the first answer to a POST of a path, or damages what comes from another."""

    def __init__(self, lost: str = "", damaged: str = "") -> None:
        super().__init__()
        self.lost, self.damaged = lost, damaged
        self.sent = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if self.lost and request.url.path == self.lost:
            self.sent += 1
            if self.sent == 1:
                answer.read()
                raise httpx2.RemoteProtocolError("the answer was lost")
        if self.damaged and request.url.path.endswith(self.damaged):
            content = bytearray(answer.read())
            content[len(content) // 2] ^= 1
            kept = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
            return httpx2.Response(answer.status_code, headers=kept, content=bytes(content))
        return answer


@pytest.fixture
def url(settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    houses(settings.training_root / "houses.csv")
    with training_service(settings, sqlite_store) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[AutoMLClient]:
    with AutoMLClient.login("admin", PASSWORD, base_url=f"{url}/v1") as client:
        yield client


def trained(client: AutoMLClient, config: dict[str, Any] = HOUSES) -> str:
    """The id of a model that was trained."""
    return str(client.wait(client.train(config)["model_id"], 120)["model_id"])


def test_from_a_template_to_predictions_and_a_file(client: AutoMLClient, tmp_path: Path) -> None:
    assert {"classification", "linear", "regression", "vision"} <= set(client.configs())
    config = client.config("linear")
    assert config == client.describe("linear")["config"]
    config["model"]["task"], config["data"]["train_path"] = "regression", "houses.csv"
    answer = client.train(config)
    assert set(answer) == {"job_id", "model_id", "status", "metrics"}
    told: list[dict[str, Any]] = []
    model = client.wait(answer["job_id"], 120, progress=told.append)
    assert (model["status"], model["progress"], told[-1]) == ("completed", 100, model)
    assert model["metrics"]["r2"] == pytest.approx(1)
    assert [entry["step"] for entry in client.history(answer["model_id"])] == [h["step"] for h in model["history"]]
    rows = [{"size": 100, "place": "town"}, {"size": 100, "place": "village"}]
    assert client.predict(answer["model_id"], rows) == pytest.approx([327, 307])
    with pytest.raises(BadRequest, match="probabilities"):
        client.predict_proba(answer["model_id"], rows)
    saved = client.save(answer["model_id"], tmp_path)
    facts = client.facts(answer["model_id"])
    assert saved.parent == tmp_path
    assert saved.suffix == f".{facts['format']}"
    assert hashlib.sha256(saved.read_bytes()).hexdigest() == facts["sha256"]
    assert facts["metrics"]["r2"] == model["metrics"]["r2"]
    assert client.save(answer["model_id"], tmp_path / "again") == tmp_path / "again"
    client.delete(answer["model_id"])
    with pytest.raises(ModelNotFound):
        client.model(answer["model_id"])


def test_a_template_by_name_with_what_differs_and_data_beside_a_configuration(client: AutoMLClient) -> None:
    by_name = client.train(config_name="linear", config_overrides={**HOUSES, "training": {"seed": 3}})
    beside = client.train({"model": HOUSES["model"], "training": {"seed": 3}}, data=HOUSES["data"])
    first, second = (client.wait(each["model_id"], 120) for each in (by_name, beside))
    assert first["config"] == second["config"]
    assert first["metrics"]["rmse"] == second["metrics"]["rmse"]


def test_probabilities_name_the_classes(client: AutoMLClient) -> None:
    iris = {"model": {"type": "linear", "task": "classification"}, "data": {"train_path": "sample:iris"}}
    model_id = trained(client, iris)
    row = {feature["name"]: 1.0 for feature in client.facts(model_id)["features"]}
    (probabilities,) = client.predict_proba(model_id, [row])
    assert sum(probabilities.values()) == pytest.approx(1)
    assert str(client.predict(model_id, [row])[0]) == max(probabilities, key=lambda name: probabilities[name])


def test_a_data_frame_is_as_good_as_dicts_and_what_is_missing_stays_missing(client: AutoMLClient) -> None:
    model_id = trained(client)
    frame = pd.DataFrame({"size": pd.array([50, None], dtype="Int64"), "place": ["town", None]})
    rows = [{"size": np.int64(50), "place": "town"}, {"size": float("nan"), "place": None}]
    assert client.predict(model_id, frame) == client.predict(model_id, rows)
    assert client.predict(model_id, []) == []


def test_any_number_of_rows_and_the_bad_one_is_told_by_its_number_among_all(client: AutoMLClient) -> None:
    model_id = trained(client)
    rows: list[dict[str, Any]] = [{"size": i % 200, "place": "town"} for i in range(25_000)]
    found = client.predict(model_id, iter(rows))
    assert (len(found), found[24_100]) == (25_000, pytest.approx(3 * 100 + 27))
    rows[24_100] = {"size": "wide", "place": "town"}
    with pytest.raises(InvalidData, match=r"row 24,101.*size") as refused:
        client.predict(model_id, rows)
    assert (refused.value.details["row"], refused.value.details["column"]) == (24_101, "size")


def test_a_lost_answer_trains_nothing_twice(url: str, client: AutoMLClient) -> None:
    network = Flaky(lost="/v1/train")
    with AutoMLClient.login("admin", PASSWORD, base_url=url, transport=network) as shaky:
        answer = shaky.train(HOUSES)
    assert network.sent == 2
    assert [model["model_id"] for model in client.models()] == [answer["model_id"]]


def test_a_file_that_was_damaged_on_the_way_is_not_kept(url: str, client: AutoMLClient, tmp_path: Path) -> None:
    model_id = trained(client)
    with (
        AutoMLClient.login("admin", PASSWORD, base_url=url, transport=Flaky(damaged="/artifact")) as shaky,
        pytest.raises(ConnectionFailed, match="SHA-256"),
    ):
        shaky.save(model_id, tmp_path / "model.bin")
    assert not list(tmp_path.glob("*model.bin*"))


def test_what_goes_wrong_while_it_trains_is_raised_with_its_message(client: AutoMLClient, settings: Settings) -> None:
    (settings.training_root / "words.csv").write_text("a,b\n1,x\n2,x\n")
    wrong = client.train({"model": {"type": "linear"}, "data": {"train_path": "words.csv"}})
    with pytest.raises(TunesmithError, match=r"failed: .*b"):
        client.wait(wrong["model_id"], 120)
    with pytest.raises(NoResults):
        client.predict(wrong["model_id"], [{"a": 1}])
    with pytest.raises(NoResults):
        client.save(wrong["model_id"])
    assert [model["model_id"] for model in client.models(status="failed")] == [wrong["model_id"]]
    assert list(client.models(status="completed")) == []
    assert len(list(client.models(template="linear"))) == 1


def test_a_long_training_is_watched_and_stopped(client: AutoMLClient) -> None:
    model_id = client.train(LONG)["model_id"]
    with pytest.raises(TimeoutError, match="goes on"):
        client.wait(model_id, 0.2)
    while not client.history(model_id):
        assert client.model(model_id)["status"] in ("initializing", "training")
    with pytest.raises(StateForbids):
        client.delete(model_id)
    client.stop(model_id)
    assert client.wait(model_id, 60)["status"] == "stopped"
    with pytest.raises(StateForbids):
        client.stop(model_id)
    client.delete(model_id)


def test_a_search_has_a_leaderboard_and_one_training_has_none(client: AutoMLClient) -> None:
    search = {"enabled": True, "n_trials": 3, "folds": 2, "space": {"alpha": [0.001, 1, 1000]}}
    noted = trained(client, {**HOUSES, "hyperparameter_search": search})
    board = client.leaderboard(noted)
    values = [one["value"] for one in board["trials"]]
    assert values == sorted(values, reverse=board["direction"] == "maximize")
    assert [one["rank"] for one in board["trials"]] == [1, 2, 3]
    assert len(client.leaderboard(noted, limit=1)["trials"]) == 1
    assert client.model(noted)["search"]["best"] == board["trials"][0]["params"]
    with pytest.raises(BadRequest, match="search"):
        client.leaderboard(trained(client))


def test_refusals_are_the_servers_own(url: str, client: AutoMLClient) -> None:
    with pytest.raises(TemplateNotFound, match="linear"):
        client.config("linaer")
    with pytest.raises(InvalidConfig, match="epochs"):
        client.train({"model": {"type": "linear"}, "training": {"epoch": 3}})
    with pytest.raises(Unauthenticated):
        AutoMLClient.login("admin", "wrong", base_url=url)
    with AutoMLClient(base_url=url) as stranger, pytest.raises(Unauthenticated):
        stranger.train(HOUSES)
    with pytest.raises(ConnectionFailed, match="no URL"):
        AutoMLClient(base_url="nonsense")
