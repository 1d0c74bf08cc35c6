"""AutoML on a whole platform: the document's sequence as it is printed, our own page, a search, kills and a restart."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from running import PASSWORD, Platform, until

from tunesmith import AutoMLClient
from tunesmith.errors import ModelNotFound, TunesmithError

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "tests" / "data" / "automl_document.md").read_text()
PAGE = (ROOT / "docs" / "automl.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("jq") is None, reason="our page's script needs jq; install it"),
]


def blocks(text: str, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(text) if found == language]


def two_moons(path: Path, rows: int = 600) -> None:
    """Ten columns, of which two tell the class, that is no straight line."""
    draw = np.random.default_rng(5)
    angle, upper = draw.uniform(0, np.pi, rows), draw.random(rows) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    frame = pd.DataFrame(draw.normal(size=(rows, 10)), columns=[f"x{i}" for i in range(10)])
    frame["x0"], frame["x1"] = x + draw.normal(0, 0.2, rows), y + draw.normal(0, 0.2, rows)
    frame.assign(label=np.where(upper, "upper", "lower")).to_csv(path, index=False)


@pytest.fixture
def platform(shared: Platform) -> Platform:
    """The shared platform, with data to train on."""
    training = shared.data_dir / "training"
    training.mkdir(exist_ok=True)
    two_moons(training / "train.csv")
    return shared


@pytest.fixture
def client(platform: Platform) -> Iterator[AutoMLClient]:
    with AutoMLClient.login("admin", PASSWORD, base_url=platform.url) as client:
        yield client


@pytest.fixture
def bash(platform: Platform, tmp_path: Path) -> Callable[..., str]:
    """Runs a script as it is printed: curl finds the platform where the script says http://localhost:8000."""
    (tmp_path / ".curlrc").write_text(f'connect-to = "localhost:8000:{platform.url.removeprefix("http://")}"\n')
    quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**quiet, "CURL_HOME": str(tmp_path), "TUNESMITH_URL": platform.url, "PATH": path}

    def run(*command: str, **more: str) -> str:
        ended = subprocess.run(command, capture_output=True, text=True, env=environ | more, cwd=tmp_path, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def quality(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics that do not depend on how fast the machine is."""
    return {name: value for name, value in metrics.items() if not name.endswith(("_s", "_bytes"))}


def moved(text: str, platform: Platform) -> str:
    """The document's words, with only the URL changed."""
    return text.replace("https://api.automl.dev", platform.url)


def test_the_documents_sequence_as_it_is_printed(platform: Platform, bash: Callable[..., str], tmp_path: Path) -> None:
    token_call, train_call = (moved(block, platform) for block in blocks(DOCUMENT, "bash"))
    named = token_call.replace("your_username", "admin").replace("your_password", PASSWORD)
    token = json.loads(bash("bash", "-c", named))
    assert token["token_type"] == "bearer"
    refused = json.loads(bash("bash", "-c", train_call))
    assert refused["code"] == "UNAUTHENTICATED"
    missing = json.loads(bash("bash", "-c", train_call.replace("<YOUR_API_KEY>", token["access_token"])))
    assert missing["code"].startswith("INVALID")  # the document's call has no body

    body, configs, model = (json.loads(block) for block in blocks(DOCUMENT, "json"))
    listed = json.loads(bash("curl", "-s", f"{platform.url}/v1/configs"))
    assert listed.keys() == configs.keys()
    assert set(configs["configs"]) <= set(listed["configs"])
    template = json.loads(bash("curl", "-s", f"{platform.url}/v1/configs/linear"))["config"]
    assert template["model"]["type"] == "linear"

    config = body["config"] | {"data": {"train_path": "train.csv"}}
    (snippet,) = blocks(DOCUMENT, "python")
    script = f"{moved(snippet, platform)}\nimport json, sys\n"
    script += "print(json.dumps(AutoMLClient(sys.argv[1]).train(json.loads(sys.argv[2]))))"
    answer = json.loads(bash(sys.executable, "-c", script, token["access_token"], json.dumps(config)))
    assert answer.keys() == {"job_id", "model_id", "status", "metrics"}

    def look() -> dict[str, Any]:
        return dict(json.loads(bash("curl", "-s", f"{platform.url}/v1/models/{answer['job_id']}")))

    until(lambda: look()["status"] in ("completed", "failed"), every_s=0.3)
    found = look()
    assert (found["status"], found["model_id"]) == ("completed", answer["model_id"])
    assert model["metrics"].keys() <= found["metrics"].keys()
    assert found["metrics"]["accuracy"] > 0.9
    bash("curl", "-s", "-o", "model", platform.url + found["artifact_url"].removeprefix(platform.url))
    promised = bash("curl", "-sI", "-X", "GET", platform.url + found["artifact_url"].removeprefix(platform.url))
    assert hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest() in promised


def test_the_blocks_of_our_own_page_run(bash: Callable[..., str], tmp_path: Path, platform: Platform) -> None:
    password = {"TUNESMITH_ADMIN_PASSWORD": PASSWORD}
    shutil.copy(platform.data_dir / "training" / "train.csv", tmp_path / "train.csv")
    shells = [block for block in blocks(PAGE, "bash") if "tunesmith up" not in block]
    assert len(shells) >= 2
    for shell in shells:
        bash("bash", "-euo", "pipefail", "-c", shell, **password)
    scripts = [block for block in blocks(PAGE, "python") if not block.startswith("# centroids.py")]
    assert scripts
    for script in scripts:
        bash(sys.executable, "-c", script, **password)


def test_the_example_runs_as_its_header_says(bash: Callable[..., str], platform: Platform, tmp_path: Path) -> None:
    user = {"AUTOML_USERNAME": "admin", "AUTOML_PASSWORD": PASSWORD}
    told = bash(sys.executable, str(ROOT / "examples" / "automl" / "train.py"), platform.url, **user)
    assert "completed" in told
    (saved,) = re.findall(r"^saved: (.+)$", told, re.MULTILINE)
    assert (tmp_path / saved).stat().st_size > 0
    (predicted,) = re.findall(r"^predicted: \[(.+)\]$", told, re.MULTILINE)
    worse, better = map(float, predicted.split(", "))
    assert 50 < better < worse < 300


def test_a_training_reads_s3_in_its_worker(client: AutoMLClient, platform: Platform, s3: Any) -> None:
    s3.create_bucket(Bucket="training")
    s3.upload_file(str(platform.data_dir / "training" / "train.csv"), "training", "moons/train.csv")

    def train(path: str) -> Mapping[str, Any]:
        config = {"model": {"type": "linear", "task": "classification"}, "data": {"train_path": path}}
        return client.wait(client.train(config)["model_id"], 120)

    assert quality(train("s3://training/moons/train.csv")["metrics"]) == quality(train("train.csv")["metrics"])
    with pytest.raises(TunesmithError, match=r"s3://training/moons/none.csv: there is no such object; check bucket"):
        train("s3://training/moons/none.csv")


def test_a_search_over_families_is_an_experiment_whose_best_trial_becomes_the_model(client: AutoMLClient) -> None:
    search = {"enabled": True, "n_trials": 6, "models": ["auto"], "folds": 3}
    config = {"model": {"type": "classification"}, "data": {"train_path": "train.csv"}, "hyperparameter_search": search}
    model = client.wait(client.train(config)["model_id"], 200)
    board = client.leaderboard(model["model_id"])
    values = [trial["value"] for trial in board["trials"]]
    assert len(values) + model["search"]["failed"] <= 6
    assert (board["direction"], values) == ("maximize", sorted(values, reverse=True))
    best = board["trials"][0]
    assert (model["trial"], model["search"]["best"]) == (best["trial"], best["params"])
    assert len({trial["architecture"] for trial in board["trials"]}) > 1
    assert best["value"] > 0.9


def test_a_training_goes_on_from_its_checkpoint_when_its_worker_is_killed(
    client: AutoMLClient, platform: Platform
) -> None:
    config = {
        "model": {"type": "regression", "architecture": "mlp"},
        "training": {"epochs": 400, "early_stopping": False, "checkpoint_s": 0.1, "seed": 5},
        "data": {"train_path": "train.csv", "target": "x0"},
    }
    undisturbed = client.wait(client.train(config)["model_id"], 120)
    model_id = client.train(config)["model_id"]
    until(lambda: len(client.history(model_id)) > 200)
    for pid in platform.pids("ray::TrialWorker"):
        os.kill(pid, signal.SIGKILL)
    messages: list[str] = []
    killed = client.wait(model_id, 120, progress=lambda now: messages.append(now["message"] or ""))
    assert killed["status"] == "completed"
    assert quality(killed["metrics"]) == quality(undisturbed["metrics"])
    assert all(int(step) > 100 for step in re.findall(r"^step (\d+)", "\n".join(messages), re.MULTILINE))
    expected = {entry["step"]: quality(entry) for entry in undisturbed["history"]}
    history = {entry["step"]: quality(entry) for entry in killed["history"]}
    assert history == expected


def test_a_training_that_is_stopped_ends_soon_and_can_be_deleted(client: AutoMLClient) -> None:
    endless = {
        "model": {"type": "regression", "architecture": "mlp"},
        "training": {"epochs": 100_000, "early_stopping": False},
        "data": {"train_path": "train.csv", "target": "x0"},
    }
    model_id = client.train(endless)["model_id"]
    until(lambda: client.history(model_id))
    client.stop(model_id)
    assert client.wait(model_id, 20)["status"] == "stopped"
    client.delete(model_id)
    with pytest.raises(ModelNotFound):
        client.model(model_id)


@pytest.mark.slow
def test_what_was_trained_predicts_also_after_a_restart_until_it_is_deleted(
    client: AutoMLClient, platform: Platform, tmp_path: Path
) -> None:
    config = {"model": {"type": "linear", "task": "regression"}, "data": {"train_path": "sample:diabetes"}}
    model_id = client.wait(client.train(config)["model_id"], 120)["model_id"]
    row = {feature["name"]: 0.01 for feature in client.facts(model_id)["features"]}
    before = client.predict(model_id, [row])
    saved = client.save(model_id, tmp_path / "before").read_bytes()
    platform.stop()
    platform.start()
    with AutoMLClient.login("admin", PASSWORD, base_url=platform.url) as again:
        assert again.predict(model_id, [row]) == before
        assert again.save(model_id, tmp_path / "after").read_bytes() == saved
        again.delete(model_id)
        with pytest.raises(ModelNotFound):
            again.predict(model_id, [row])
