"""`tunesmith automl ...` against the service: what it prints, what it writes, and the exit code it ends with."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.integration.automl_service import PASSWORD, houses, training_service
from tunesmith.cli.app import app
from tunesmith.settings import Settings
from tunesmith.store import Store

HOUSES = ("linear", "--set", "model.task=regression", "--train-path", "houses.csv", "--target", "price")


@pytest.fixture(autouse=True)
def _here(settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A platform, whose token the environment has, in a directory of its own."""
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    houses(settings.training_root / "houses.csv")
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    with training_service(settings, sqlite_store) as url:
        monkeypatch.setenv("TUNESMITH_URL", url)
        token = document("login", "--user", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
        monkeypatch.setenv("TUNESMITH_API_KEY", token["access_token"])
        yield


def run(*args: str, code: int = 0, stdin: str | None = None) -> Result:
    shown = CliRunner().invoke(app, ["automl", *args], input=stdin)
    assert shown.exit_code == code, shown.output
    return shown


def document(*args: str, stdin: str | None = None) -> Any:
    return json.loads(run(*args, "--json", stdin=stdin).stdout)


def test_login_asks_and_prints_a_line_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "ts_of_yesterday")
    told = run("login", stdin=f"admin\n{PASSWORD}\n")
    assert re.search(r"^export TUNESMITH_API_KEY=ts_\S+\n\Z", told.stdout, re.MULTILINE)
    assert PASSWORD not in told.output
    run("login", "--user", "admin", "--password-stdin", stdin="wrong\n", code=1)


def test_templates_are_listed_shown_and_printed_as_files_to_train_with(tmp_path: Path) -> None:
    assert "classification" in run("configs").stdout
    assert set(document("configs")["configs"]) >= {"classification", "linear", "regression", "vision"}
    shown = " ".join(run("configs", "linear").stdout.split())
    assert re.search(r"training\.validation_split 0\.2 number >= 0, <= 0\.9 Share of the rows", shown)
    assert "model.task" in shown
    text = run("configs", "linear", "--yaml").stdout
    config = document("configs", "linear")["config"]
    assert yaml.safe_load(text) == config
    Path("mine.yaml").write_text(text)
    words = ["--train-path", "houses.csv", "--set", "model.task=regression", "--set", "training.seed=4"]
    done = document("train", "mine.yaml", *words)
    assert (done["status"], done["config"]["training"]["seed"]) == ("completed", 4)
    assert done["config"]["resources"] == config["resources"]
    run("configs", "--yaml", code=2)
    assert "linear" in run("configs", "linaer", code=4).stderr


def test_a_model_from_its_training_to_its_deletion() -> None:
    told = run("train", *HOUSES)
    assert "completed, 100 %" in told.stdout
    assert re.search(r"^r2 +1 *$", told.stdout, re.MULTILINE)
    (found,) = document("models")
    model = found["model_id"]
    assert "linear" in run("models", "--status", "completed").stdout
    assert document("models", "--status", "failed") == []
    assert document("show", found["job_id"])["model_id"] == model
    assert "completed" in run("show", model).stdout
    saved = document("save", model)
    assert Path(saved["file"]).stat().st_size == saved["bytes"] > 0
    assert "model.bin: " in run("save", model, "model.bin").stderr
    run("save", model, "nowhere/model.bin", code=2)
    run("leaderboard", model, code=2)
    run("stop", model, code=5)
    assert document("delete", model) == {"model_id": model, "deleted": True}
    run("show", model, code=4)


def test_rows_come_from_files_and_options_and_predictions_go_to_files() -> None:
    model = document("train", *HOUSES)["model_id"]
    Path("rows.csv").write_text("size,place\n100,town\n100,village\n")
    Path("rows.jsonl").write_text('{"size": 100, "place": "town"}\n\n{"size": 100, "place": "village"}\n')
    found = document("predict", model, "rows.csv")
    assert found["predictions"] == pytest.approx([327, 307])
    assert document("predict", model, "rows.jsonl") == found
    assert document("predict", model, "-", stdin=Path("rows.csv").read_text()) == found
    assert document("predict", model, "-", stdin='[{"size": 100, "place": "town"}]')["predictions"] == [
        found["predictions"][0]
    ]
    one = run("predict", model, "--row", '{"size": 100, "place": "town"}').stdout
    assert re.search(r"^1 +327 *$", one, re.MULTILINE)
    run("predict", model, "rows.csv", "-o", "out.csv")
    lines = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [float(line["prediction"]) for line in lines] == found["predictions"]
    assert document("predict", model, "rows.csv", "-o", "out.jsonl")["rows"] == 2
    assert [json.loads(line)["prediction"] for line in Path("out.jsonl").read_text().splitlines()] == found[
        "predictions"
    ]
    assert "row 2" in run("predict", model, "--row", '{"size": 1}', "--row", '{"size": "wide"}', code=2).stderr
    for wrong in (["-o", "out.txt", "rows.csv"], ["nowhere.csv"], [], ["rows.csv", "--row", "{}"], ["--row", "{"]):
        run("predict", model, *wrong, code=2)


def test_csv_files_of_rows_are_read_as_those_to_train_on(settings: Settings) -> None:
    cells = [
        (code, size, 3 * size + 50 * (code == "007")) for code in ("007", "7") for size in (0.5 + i for i in range(40))
    ]
    lines = [f"{code};{size};{price}".replace(".", ",") for code, size, price in cells]
    (settings.training_root / "parts.csv").write_text("\n".join(["code;size;price", *lines]))
    options = ["--train-path", "parts.csv", "--set", "model.task=regression", "--set", 'data.categorical=["code"]']
    model = document("train", "linear", *options)["model_id"]
    Path("semicolons.csv").write_text("code;size\n007;10,5\n7;10,5\n")
    Path("commas.csv").write_text("size,code\n10.5,007\n10.5,7\n")
    for file in ("semicolons.csv", "commas.csv"):
        assert document("predict", model, file)["predictions"] == pytest.approx([81.5, 31.5])
    Path("wide.csv").write_text("size,code\n10.5,7,1\n")
    assert "wide.csv, line 2: it has 3 cells" in run("predict", model, "wide.csv", code=2).stderr


def test_a_file_may_hold_what_the_service_takes() -> None:
    linear = {"model": {"type": "linear", "task": "regression"}}
    data = {"train_path": "houses.csv", "target": "price"}
    search = ["--search", "2", "--set", "hyperparameter_search.folds=2"]
    for request, options in (
        ({"config": linear, "data": data}, ["--set", "training.seed=5"]),
        ({"config_name": "linear", "config_overrides": {**linear, "data": data}}, ["--set", "training.seed=5"]),
        (
            {"config": linear, "data": {"train_path": "sample:iris"}},
            ["--train-path", "houses.csv", "--target", "price"],
        ),
        ({"config_name": "linear", "config_overrides": {"data": data}}, ["--set", "model.task=regression", *search]),
    ):
        Path("request.json").write_text(json.dumps(request))
        done = document("train", "request.json", *options)
        assert (done["status"], done["config"]["data"]["train_path"]) == ("completed", "houses.csv")
        assert done["config"]["data"]["target"] == "price"
        assert done["config"]["training"]["seed"] == (5 if "training.seed=5" in options else 0)
        assert (done["search"] is not None) == ("--search" in options)
    Path("request.json").write_text(json.dumps({"config": linear, "data": data, "trainig": {}}))
    assert "'trainig'" in run("train", "request.json", code=2).stderr
    Path("request.json").write_text(json.dumps({**linear, "trainig": {}}))
    assert "'training'" in run("train", "request.json", code=2).stderr


def test_probabilities_are_columns() -> None:
    model = document("train", "linear", "--set", "model.task=classification", "--train-path", "sample:iris")["model_id"]
    row = json.dumps({"sepal length (cm)": 5, "sepal width (cm)": 3, "petal length (cm)": 1, "petal width (cm)": 0.2})
    run("predict", model, "--row", row, "-o", "out.csv")
    (line,) = csv.DictReader(Path("out.csv").read_text().splitlines())
    shares = {name: float(value) for name, value in line.items() if name.startswith("probability of ")}
    assert len(shares) == 3
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == f"probability of {line['prediction']}"


def test_a_search_and_its_leaderboard() -> None:
    words = ["--set", "hyperparameter_search.folds=2", "--set", 'hyperparameter_search.space={"alpha": [1, 10]}']
    model = document("train", *HOUSES, "--search", "2", *words)["model_id"]
    shown = run("leaderboard", model).stdout
    assert re.search(r"^1 .*alpha=", shown, re.MULTILINE)
    assert len(document("leaderboard", model)["trials"]) == 2
    assert "2 of 2 finished" in run("show", model).stdout


def test_what_fails_and_what_is_stopped_ends_with_a_code() -> None:
    assert "nowhere.csv" in run("train", "linear", "--train-path", "nowhere.csv", code=1).stderr
    long = ["regression", "--set", "model.architecture=mlp", "--set", "training.epochs=100000"]
    begun = document("train", *long, "--train-path", "houses.csv", "--no-follow")
    assert begun["status"] == "initializing"
    assert document("stop", begun["model_id"])["model_id"] == begun["model_id"]
    assert "'epochs'" in run("train", "linear", "--set", "training.epoch=3", code=2).stderr
    assert "--set epochs" in run("train", "linear", "--set", "epochs", code=2).stderr
    assert "known: classification" in run("train", "nonsense", code=2).stderr
    run("train", "nowhere.yaml", code=2)
