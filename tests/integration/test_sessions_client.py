"""`client.sessions` and `tunesmith sessions|data|scenarios` against the service, and the page that shows both."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import served
from typer.testing import CliRunner, Result

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.sessions_service import dataset, working
from tunesmith import Client
from tunesmith.cli.app import app
from tunesmith.client.sessions import SessionHandle
from tunesmith.errors import (
    AlgorithmNotFound,
    BadRequest,
    DataInUse,
    DatasetNotFound,
    InvalidData,
    InvalidParameter,
    NameTaken,
    ScenarioNotFound,
    SessionNotFound,
    StateForbids,
    TunesmithError,
)
from tunesmith.plugins import Registry, find_plugin
from tunesmith.scenarios import DataSource
from tunesmith.settings import Settings
from tunesmith.store import Store

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sessions.md").read_text()
EXAMPLE = "tunesmith.scenarios.example:build_example_config"


@pytest.fixture
def url(settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    with working(settings, sqlite_store) as service, served(service) as url:
        monkeypatch.setenv("TUNESMITH_URL", url)
        yield url


@pytest.fixture
def main(url: str) -> Iterator[SessionHandle]:
    with Client(url) as client:
        yield client.sessions("main")


def run(*args: str, code: int = 0) -> Result:
    shown = CliRunner().invoke(app, args)
    assert shown.exit_code == code, shown.output
    return shown


def document(*args: str) -> Any:
    return json.loads(run(*args, "--json").stdout)


def test_sessions_are_made_renamed_copied_and_deleted(url: str) -> None:
    with Client(url) as client:
        plans = client.sessions.create("plans", max_parallel=3)
        assert [one.name for one in client.sessions.list()] == ["main", "plans"]
        assert client.sessions().name == "main"
        with pytest.raises(NameTaken):
            client.sessions.create("plans")
        plans.data.put_json(json.dumps(dataset("base")))
        plans.scenarios.create("one", "base", "Plan")
        renamed = plans.change("routes", max_parallel=2)
        assert (renamed.id, renamed.name, renamed.info.max_parallel) == (plans.id, "routes", 2)
        both = client.sessions("routes").copy("routes too", scenarios=True)
        assert (both.data.keys(), [one.tag for one in both.scenarios.list()]) == (("base",), ["one"])
        renamed.delete()
        with pytest.raises(SessionNotFound):
            client.sessions("routes")


def test_tables_come_back_as_they_were_put(main: SessionHandle) -> None:
    frame = pd.DataFrame({"day": pd.date_range("2026-01-05", periods=3), "n": [1, 2**62, 3], "s": ["a", None, "ü"]})
    assert main.data.put(DataSource("days", {"days": frame, "more": frame.head(1)})) == ("days",)
    assert main.data.table("days", "days").column("n").to_pylist() == [1, 2**62, 3]
    pd.testing.assert_frame_equal(main.data.get("days").table("days"), frame)
    assert main.data.frame("days", "more").shape == (1, 3)
    with pytest.raises(TunesmithError, match="more"):
        main.data.table("days")
    with pytest.raises(NameTaken):
        main.data.put(DataSource("days", {}))
    main.data.put(DataSource("days", {"one": frame}), overwrite=True)
    assert main.data.table("days").num_rows == 3
    assert main.data.derive("days", "other") == ("days", "other")
    main.data.delete("days")
    with pytest.raises(DatasetNotFound):
        main.data.get("days")


def test_files_become_tables_and_what_was_found_in_them_is_told(main: SessionHandle, tmp_path: Path) -> None:
    good, bad = tmp_path / "orders.csv", tmp_path / "broken.csv"
    good.write_text("order,pallets\n1,3\n2,4\n")
    bad.write_text("a\n1\n")
    assert main.data.upload("sales", good).success
    assert main.data.frame("sales")["pallets"].sum() == 7
    with pytest.raises(InvalidData, match="lost its way") as refused:
        main.data.upload("bad", bad)
    assert refused.value.details["messages"][0]["table"] == "broken"
    assert main.data.keys() == ("sales",)


def test_a_scenario_from_its_making_to_its_end(main: SessionHandle) -> None:
    main.data.put_json(json.dumps(dataset("base")))
    told: list[tuple[str, int]] = []
    made = main.scenarios.create("five", "base", "Plan", {"trucks": 5})
    assert (made.info.status, made.kpis["Cost"]) == ("created", None)
    done = made.run().wait(60, on_progress=lambda now: told.append((now.status, now.progress)))
    assert (done.info.status, told[-1]) == ("complete", ("complete", 100))
    cost = done.kpis["Cost"]
    assert cost is not None
    assert (cost.value, cost.success, done.result["pallets"]) == (0, True, 7)
    assert list(done.log()) == ["planning with 5 trucks"]
    two = main.scenarios.create("two", "base", "Plan", {"trucks": 2}).run().wait(60)
    compared = main.scenarios.compare([done, two.id])
    assert {row.kpi: row.best for row in compared.rows}["Cost"] == (done.id,)
    assert main.scenarios.get("two").id == two.id
    with pytest.raises(StateForbids):
        two.run()
    assert two.reset().info.status == "created"
    with pytest.raises(DataInUse):
        main.data.delete("base")
    two.delete()
    with pytest.raises(ScenarioNotFound):
        main.scenarios.get("two")


def test_a_scenario_is_watched_and_cancelled(main: SessionHandle) -> None:
    main.data.put_json(json.dumps(dataset("base")))
    assert main.scenarios.running() is None
    waiting = main.scenarios.create("long", "base", "Wait", {"seconds": 600}).run()
    with pytest.raises(TimeoutError, match="goes on"):
        waiting.wait(1)
    waiting.cancel()
    with pytest.raises(TunesmithError, match="cancelled"):
        waiting.wait(60, raise_on_failure=True)


def test_what_is_refused_is_the_servers_own_error(main: SessionHandle) -> None:
    main.data.put_json(json.dumps(dataset("base")))
    with pytest.raises(AlgorithmNotFound, match="Plan"):
        main.scenarios.create("x", "base", "Plam")
    with pytest.raises(InvalidParameter, match="trucks"):
        main.scenarios.create("x", "base", "Plan", {"trucks": 99})
    with pytest.raises(InvalidParameter, match="night"):
        main.scenarios.create("x", "base", "Plan", {"nigth": True})
    with pytest.raises(InvalidData):
        main.data.put_json("{}")


def test_the_best_trial_of_a_search_becomes_a_scenario(main: SessionHandle) -> None:
    main.data.put_json(json.dumps(dataset("base")))
    space = [{"name": "trucks", "type": "int", "minimum": 1, "maximum": 9}]
    job = main.optimize("Plan", "base", space, ["Cost"], {"type": "brute_force"}, algo_params={"note": "kept"})
    done = job.wait(120)
    assert done.job_status == "finished"
    best = main.scenarios.from_trial(done.job_meta.experiment_id, "best")
    assert (best.info.algorithm.parameters["trucks"], best.info.algorithm.parameters["note"]) == (5, "kept")
    run = main.scenarios.create("one point", "base", "Plan").run().wait(60)
    with pytest.raises(BadRequest, match="none over"):
        main.scenarios.from_trial(int(done.job_meta.experiment_id) + 1, run.tag)


def test_the_command_line_from_files_to_a_comparison(url: str, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("order,pallets\n1,3\n2,4\n")
    assert "Plan" in run("sessions", "algorithms").stdout
    assert document("data", "upload", "base", str(tmp_path / "orders.csv"))["success"]
    assert "orders" in run("data", "show", "base").stdout
    assert document("data", "show", "base", "--table", "orders")["rows"] == 2
    run("data", "get", "base", "-o", str(tmp_path / "base.json"))
    run("data", "get", "base", "-o", str(tmp_path / "orders.parquet"))
    assert pd.read_parquet(tmp_path / "orders.parquet")["pallets"].sum() == 7
    run("data", "put", str(tmp_path / "base.json"), code=5)
    run("data", "put", str(tmp_path / "base.json"), "--overwrite")
    run("data", "derive", "base", "more")
    run("data", "delete", "more")
    assert document("data", "list")["keys"] == ["base"]
    one = document("scenarios", "create", "five", "base", "Plan", "-p", "trucks=5", "--wait")
    assert (one["status"], one["kpis"]["Cost"]["value"]) == ("complete", 0)
    run("scenarios", "create", "wrong", "base", "Wrong", "--wait", code=1)
    assert "no route to the north" in run("scenarios", "log", "wrong").stdout
    assert "Cost" in run("scenarios", "list").stdout
    assert "0 *" in run("scenarios", "compare").stdout
    for what in ("reset", "run", "watch"):
        run("scenarios", what, "wrong", code=int(what == "watch"))
    run("scenarios", "delete", "wrong")
    assert document("scenarios", "show", "five")["result"]["pallets"] == 7


def test_the_command_line_searches_parameters_and_keeps_sessions(url: str, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("order,pallets\n1,3\n2,4\n")
    (tmp_path / "space.yaml").write_text("- {name: trucks, type: int, minimum: 1, maximum: 9}\n")
    run("sessions", "create", "plans", "--max-parallel", "2")
    run("data", "upload", "base", str(tmp_path / "orders.csv"), "-s", "plans")
    words = ["base", "Plan", "Cost", "--space", str(tmp_path / "space.yaml"), "--optimizer", "brute_force"]
    job = document("scenarios", "optimize", *words, "-s", "plans")
    run("watch", job["job_id"])
    best = document("scenarios", "from-trial", "best", job["job_meta"]["experiment_id"], "-s", "plans", "--wait")
    assert (best["status"], best["algorithm"]["parameters"]["trucks"]) == ("complete", 5)
    run("sessions", "copy", "plans", "again", "--scenarios")
    run("sessions", "change", "again", "--name", "once more", "--max-parallel", "3")
    assert "once more" in run("sessions", "list").stdout
    run("sessions", "delete", "once more")
    run("scenarios", "cancel", "best", "-s", "plans", code=5)


def test_wrong_words_end_with_a_sentence_and_a_code(url: str, tmp_path: Path) -> None:
    assert "no file" in run("data", "upload", "x", str(tmp_path / "missing.csv"), code=2).output
    (tmp_path / "notes.txt").write_text("x")
    assert "txt" in run("data", "upload", "x", str(tmp_path / "notes.txt"), code=2).output
    (tmp_path / "broken.csv").write_text("a\n1\n")
    told = run("data", "upload", "x", str(tmp_path / "broken.csv"), code=2).output
    assert "lost its way" in told
    assert "NAME=VALUE" in run("scenarios", "create", "a", "b", "Plan", "-p", "trucks", code=2).output
    run("scenarios", "show", "nothing", code=4)
    run("scenarios", "compare", code=2)
    run("data", "get", "nothing", code=4)
    run("data", "get", "nothing", "-o", str(tmp_path / "x.txt"), code=2)


def test_the_page_runs_as_it_is_printed(
    settings: Settings, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = Embedded(sqlite_store, settings)
    service = build(settings, engine, sqlite_store, Registry.of(find_plugin(EXAMPLE), EXAMPLE))
    engine.start(alone=True)
    try:
        with served(service) as url:
            monkeypatch.setenv("TUNESMITH_URL", url)
            monkeypatch.chdir(tmp_path)
            Path("orders.csv").write_text("order,shop,pallets\n1,North,3\n")
            Path("shops.csv").write_text("shop\nNorth\n")
            python, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
            exec(compile(python, "docs/sessions.md", "exec"), {"__name__": "page"})
            _start, shell = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
            for line in shell.splitlines():
                run(*shlex.split(line)[1:])
    finally:
        engine.stop()
