"""AutoML over REST, on SQLite and PostgreSQL: trainings, searches, models, with a template of a plugin."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from recipes import plugin

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.conftest import served
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.store import Store

HOUSES = "rooms,area,price\n" + "".join(f"{n % 5 + 1},{40 + n},{100 + 2 * n}\n" for n in range(40))
PATIENCE_S = 60.0


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[httpx2.Client]:
    """The service, with an engine that trains, and a table of houses."""
    settings.training_root.mkdir(parents=True)
    (settings.training_root / "houses.csv").write_text(HOUSES)
    engine = Embedded(store, settings)
    app = build(settings, engine, store, Registry.of(plugin, "recipes:plugin"))
    with served(app) as url, httpx2.Client(base_url=url) as client:
        engine.start(alone=True)
        try:
            yield client
        finally:
            engine.stop()


def config(**sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {"type": "creep", **sections.pop("model", {})},
        "data": {"train_path": "houses.csv", **sections.pop("data", {})},
        **sections,
    }


def searching(**search: Any) -> dict[str, Any]:
    overrides = {"data": {"train_path": "houses.csv"}, "hyperparameter_search": search}
    return {"config_name": "creep", "config_overrides": overrides}


def train(api: httpx2.Client, **sections: dict[str, Any]) -> str:
    answer = api.post("/v1/train", json={"config": config(**sections)})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["status"], answer.json()["metrics"]) == ("initializing", {})
    return str(answer.json()["model_id"])


def model(api: httpx2.Client, model_id: str) -> dict[str, Any]:
    return dict(api.get(f"/v1/models/{model_id}").json())


def wait(api: httpx2.Client, model_id: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = model(api, model_id)
        if until(found) if until else found["status"] in ("completed", "failed", "stopped"):
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_a_template_shows_its_configuration(api: httpx2.Client) -> None:
    assert api.get("/v1/configs").json() == {"configs": ["creep"]}
    found = api.get("/v1/configs/creep").json()
    assert found["config"]["model"] == {
        "type": "creep",
        "input_dim": None,
        "output_dim": None,
        "architecture": "mean",
        "offset": 0.0,
    }
    assert found["config"]["training"]["learning_rate"] == 0.5
    assert [parameter["name"] for parameter in found["search_space"]] == ["architecture", "offset", "learning_rate"]
    assert found["available"]
    missing = api.get("/v1/configs/crep")
    assert missing.status_code == 404
    assert "creep" in missing.json()["error"]


def test_a_training_becomes_a_model_that_predicts(api: httpx2.Client) -> None:
    model_id = train(api, training={"epochs": 30})
    found = wait(api, model_id)
    assert (found["status"], found["progress"], found["error"]) == ("completed", 100, None)
    assert found["metrics"]["mae"] == pytest.approx(20.0, abs=1e-4)
    assert [step["step"] for step in found["history"]] == list(range(1, 31))
    assert found["history"][0]["mae"] > found["history"][-1]["mae"]
    assert found["config"]["data"]["train_path"] == "houses.csv"
    assert model(api, found["job_id"])["model_id"] == model_id
    answer = api.post(f"/v1/models/{model_id}/predict", json={"rows": [{"rooms": 3, "area": 50}, {}]})
    assert answer.json() == {"predictions": [pytest.approx(139.0)] * 2, "probabilities": None}
    wrong = api.post(f"/v1/models/{model_id}/predict", json={"rows": [{"rooms": 3}, {"romos": 3}]})
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["details"]["row"]) == (400, "INVALID_DATA", 2)


def test_the_artifact_comes_with_its_hash(api: httpx2.Client) -> None:
    model_id = train(api)
    found = wait(api, model_id)
    answer = api.get(found["artifact_url"])
    digest = hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["x-content-sha256"] == digest
    assert answer.headers["etag"] == f'"{digest}"'
    assert f"{model_id}.guess" in answer.headers["content-disposition"]
    facts = api.get(f"{found['artifact_url']}?part=facts").json()
    assert (facts["sha256"], facts["bytes"], facts["template"]) == (digest, len(answer.content), "creep")
    assert facts["config"] == found["config"]
    assert facts["metrics"]["mae"] == found["metrics"]["mae"]
    assert {"python", "tunesmith"} <= facts["versions"].keys()


@pytest.mark.parametrize("key", ["train_path", "val_path"])
def test_data_among_the_platforms_own_files_are_refused(settings: Settings, sqlite_store: Store, key: str) -> None:
    own = settings.model_copy(update={"storage": "s3://own"})
    with TestClient(build(own, store=sqlite_store, registry=Registry.of(plugin, "recipes:plugin"))) as api:
        body = api.post("/v1/train", json={"config": config(data={key: "s3://own/x.csv"})}).json()
    assert (body["code"], body["details"]) == ("INVALID_CONFIG", {"field": f"data.{key}", "value": "s3://own/x.csv"})
    assert "copy the data to another bucket" in body["detail"]


def test_overrides_are_merged_deeply(api: httpx2.Client) -> None:
    body = {
        "config_name": "creep",
        "config_overrides": {"training": {"epochs": 2}, "data": {"train_path": "houses.csv", "target": "area"}},
    }
    model_id = api.post("/v1/train", json=body).json()["model_id"]
    found = wait(api, model_id)
    assert (found["config"]["training"]["epochs"], found["config"]["training"]["learning_rate"]) == (2, 0.5)
    assert len(found["history"]) == 2
    beside = {"config": {"model": {"type": "creep"}}, "data": {"train_path": "houses.csv"}}
    assert api.post("/v1/train", json=beside).status_code == 202


def test_a_search_finds_the_best_trial_and_keeps_its_model(api: httpx2.Client) -> None:
    search = {"enabled": True, "n_trials": 8, "models": ["auto"]}
    model_id = train(api, training={"epochs": 12}, hyperparameter_search=search)
    found = wait(api, model_id)
    assert found["status"] == "completed", found
    assert found["search"]["n_trials"] == found["search"]["finished"] == 8
    board = api.get(f"/v1/models/{model_id}/leaderboard").json()
    values = [row["value"] for row in board["trials"]]
    assert (board["metric"], board["direction"], values) == ("mae", "minimize", sorted(values))
    best = board["trials"][0]
    assert (best["trial"], best["params"]) == (found["trial"], found["search"]["best"])
    assert {row["architecture"] for row in board["trials"]} == {"mean", "median"}
    answer = api.post(f"/v1/models/{model_id}/predict", json={"rows": [{}]}).json()
    assert abs(answer["predictions"][0] - 139 - best["params"]["offset"]) < 1
    assert len(api.get(f"/api/v1/experiments/{found['experiment_id']}/trials").json()) == 8
    plain = train(api)
    assert api.get(f"/v1/models/{plain}/leaderboard").status_code == 400


def test_the_space_can_be_ones_own(api: httpx2.Client) -> None:
    space = {"model.offset": {"minimum": 0, "maximum": 1}, "learning_rate": [0.2, 0.9]}
    search = {"enabled": True, "n_trials": 3, "space": space}
    found = wait(api, train(api, hyperparameter_search=search))
    rows = api.get(f"/v1/models/{found['model_id']}/leaderboard").json()["trials"]
    assert all(row["params"].keys() == {"offset", "learning_rate"} for row in rows)
    assert all(row["params"]["learning_rate"] in (0.2, 0.9) for row in rows)


@pytest.mark.parametrize("kills", ["process", "launcher"])
def test_a_training_whose_process_is_killed_goes_on_from_its_checkpoint(api: httpx2.Client, kills: str) -> None:
    undisturbed = wait(api, train(api, training={"epochs": 8}))
    found = wait(api, train(api, training={"epochs": 8, "epoch_s": 0.01, "dies_at": 4, "kills": kills}))
    assert (found["status"], found["metrics"]["mae"]) == ("completed", undisturbed["metrics"]["mae"])
    log = api.get(f"/api/v1/jobs/{found['job_id']}/logs").text
    assert re.search(r"begins after epoch [1-4]$", log, re.MULTILINE), log
    assert "begins after epoch 0" in log


def test_a_time_limit_ends_a_training_with_what_it_has(api: httpx2.Client) -> None:
    found = wait(api, train(api, training={"epochs": 10_000, "epoch_s": 0.02, "time_limit_s": 0.5}))
    assert found["status"] == "completed", found
    assert 2 <= found["metrics"]["epochs"] < 200


def test_a_training_is_followed_and_stopped(api: httpx2.Client) -> None:
    model_id = train(api, training={"epochs": 1000, "epoch_s": 0.05})
    seen = wait(api, model_id, lambda found: len(found["history"]) >= 3)
    assert seen["status"] == "training"
    assert seen["metrics"]["mae"] == seen["history"][-1]["mae"]
    early = api.post(f"/v1/models/{model_id}/predict", json={"rows": [{}]})
    assert (early.status_code, early.json()["code"]) == (409, "NO_RESULTS")
    assert api.get(f"/v1/models/{model_id}/artifact").status_code == 409
    assert api.delete(f"/v1/models/{model_id}").status_code == 409
    assert api.post(f"/v1/models/{model_id}/stop").status_code == 202
    found = wait(api, model_id)
    assert (found["status"], found["artifact_url"]) == ("stopped", None)
    again = api.post(f"/v1/models/{model_id}/stop")
    assert again.status_code == 409
    assert "stopped" in again.json()["error"] or "ended" in again.json()["error"]
    assert api.delete(f"/v1/models/{model_id}").status_code == 204
    assert api.get(f"/v1/models/{model_id}").status_code == 404


def test_a_dataset_of_a_session_is_trained_on(api: httpx2.Client) -> None:
    rows = [{"rooms": n % 4, "price": 10 * n} for n in range(20)]
    body = {
        "metadata": {
            "id": "3b9f1c1e-0000-4000-8000-000000000001",
            "name": "sales",
            "type": "master",
            "creation_datetime": "2026-01-31T12:00:00.000Z",
            "tables": ["houses"],
        },
        "tables": {
            "houses": {
                "data": rows,
                "columns": ["rooms", "price"],
                "dtypes": {"rooms": "int64", "price": "int64"},
                "index": list(range(20)),
            }
        },
    }
    assert api.post("/api/v1/sessions/main/data/from-json", json=body).status_code == 201
    answer = api.post("/v1/train", json={"config": {"model": {"type": "creep"}, "data": {"dataset": "sales"}}})
    found = wait(api, answer.json()["model_id"])
    assert (found["status"], found["error"]) == ("completed", None)
    nobody = api.post("/v1/train", json={"config": {"model": {"type": "creep"}, "data": {"dataset": "slaes"}}})
    assert (nobody.status_code, "'sales'" in nobody.json()["error"]) == (400, True)
    table = {"dataset": "sales", "table": "hosues"}
    wrong = api.post("/v1/train", json={"config": {"model": {"type": "creep"}, "data": table}})
    assert (wrong.status_code, "houses" in wrong.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "config"),
        ({"config": {"model": {}}}, "model.type"),
        ({"config": {"model": {"type": "creep"}}, "config_name": "creep"}, "not both"),
        ({"config_name": "crep"}, "model.type: No template is called \"crep\" (did you mean 'creep'?)"),
        (searching(metric="mea"), "'mae'"),
        (searching(space={"offste": [1]}), "offset"),
        ({"config_name": "creep", "config_overrides": {"trianing": {}}}, "training"),
        ({"config_name": "creep", "config_overrides": {"training": {"epcohs": 3}}}, "training.epcohs"),
        ({"config_name": "creep", "config_overrides": {"training": {"epochs": "many"}}}, "training.epochs"),
        ({"config_name": "creep", "config_overrides": {"training": {"epochs": True}}}, "training.epochs"),
        ({"config_name": "creep", "config_overrides": {"data": {"train_path": "../../x.csv"}}}, "leads out"),
        ({"config_name": "creep", "config_overrides": {"data": {"train_path": "http://a/b"}}}, "s3://"),
    ],
)
def test_a_wrong_request_names_what_is_wrong(api: httpx2.Client, body: dict[str, Any], words: str) -> None:
    answer = api.post("/v1/train", json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]
    assert api.get("/v1/models").json()["models"] == []


def test_what_is_wrong_with_the_data_fails_the_training(api: httpx2.Client, settings: Settings) -> None:
    found = wait(api, train(api, data={"train_path": "hosues.csv"}))
    assert (found["status"], found["artifact_url"]) == ("failed", None)
    assert "hosues.csv" in found["error"]
    Path(settings.training_root, "empty.csv").write_text("")
    assert "empty.csv" in wait(api, train(api, data={"train_path": "empty.csv"}))["error"]
    assert "prcie" in wait(api, train(api, data={"target": "prcie"}))["error"]
    Path(settings.training_root, "two.csv").write_text("".join(HOUSES.splitlines(True)[:3]))
    few = wait(api, train(api, data={"train_path": "two.csv"}, model={"architecture": "median"}))
    assert "two.csv: a median wants three rows" in few["error"]
    early = api.post(f"/v1/models/{found['model_id']}/predict", json={"rows": [{}]})
    assert early.status_code == 409
    assert "hosues.csv" in early.json()["error"]


def test_a_model_whose_file_is_gone_is_told_of(api: httpx2.Client, settings: Settings) -> None:
    found = wait(api, train(api))
    (file,) = Path(settings.artifacts).rglob("model.guess")
    file.unlink()
    answer = api.get(found["artifact_url"])
    assert (answer.status_code, answer.json()["code"]) == (500, "MODEL_UNUSABLE")


def test_a_searched_key_of_one_family_is_left_to_it(api: httpx2.Client) -> None:
    search = {"enabled": True, "n_trials": 6, "models": ["auto"], "space": {"learning_rate": [0.2, 0.9]}}
    found = wait(api, train(api, hyperparameter_search=search))
    rows = api.get(f"/v1/models/{found['model_id']}/leaderboard").json()["trials"]
    assert {row["architecture"]: "learning_rate" in row["params"] for row in rows} == {"mean": True, "median": False}


def test_the_same_key_trains_once(api: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "one training"}
    first, second = (api.post("/v1/train", json={"config": config()}, headers=headers).json() for _ in range(2))
    assert first == second
    assert len(api.get("/v1/models").json()["models"]) == 1


def test_models_are_listed(api: httpx2.Client) -> None:
    done = train(api)
    wait(api, done)
    failed = train(api, data={"train_path": "nothing.csv"})
    wait(api, failed)
    first = api.get("/v1/models?limit=1").json()
    assert [found["model_id"] for found in first["models"]] == [failed]
    second = api.get("/v1/models", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [found["model_id"] for found in second["models"]] == [done]
    assert second["models"][0]["metrics"]["mae"] > 0
    (only,) = api.get("/v1/models?status=failed&template=creep").json()["models"]
    assert only["model_id"] == failed
    assert api.get("/v1/models?status=trained").status_code == 400
