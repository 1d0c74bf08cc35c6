"""Scenarios on a whole platform: seen while they run, stopped, cut off, and there again after a restart."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from running import PLUGIN, Platform, processes_with, until

from tunesmith import Client
from tunesmith.client.sessions import SessionHandle
from tunesmith.scenarios import DataSource

pytestmark = pytest.mark.timeout(400)
ORDERS = {"orders": pd.DataFrame({"order": [1, 2], "pallets": [3, 4]})}


@pytest.fixture
def session(shared: Platform, request: pytest.FixtureRequest) -> Iterator[SessionHandle]:
    """A session with a dataset."""
    with Client(shared.url) as client:
        session = client.sessions.create(request.node.name, max_parallel=2)
        session.data.put(DataSource("base", ORDERS))
        yield session


def test_its_progress_is_seen_while_it_runs_and_a_cancelled_one_is_gone(session: SessionHandle) -> None:
    warm = session.scenarios.create("warm", "base", "Plan").run().wait(60)
    assert warm.info.status == "complete"
    long = session.scenarios.create("long", "base", "Wait", {"seconds": 600}).run()
    until(lambda: long.status().progress == 50, 60)
    assert (running := session.scenarios.running()) is not None
    assert running.id == long.id
    children = until(lambda: processes_with("tuners.hosting.child"))
    long.cancel()
    until(lambda: long.status().status == "failed", 30)
    assert "cancelled" in long.result["error"]
    until(lambda: set(children) - set(processes_with("tuners.hosting.child")), 30)
    assert session.scenarios.create("after", "base", "Plan").run().wait(60).info.status == "complete"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "ValueError: no route to the north"),
        ("exit", "exit code 3"),
        ("unserializable", "worker"),
        ("kpi", "Cost"),
        ("nan", "Cost"),
    ],
)
def test_what_goes_wrong_is_said_and_the_session_stays_usable(session: SessionHandle, how: str, says: str) -> None:
    wrong = session.scenarios.create("wrong", "base", "Wrong", {"how": how}).run().wait(60)
    assert wrong.info.status == "failed"
    assert says in wrong.result["error"]
    assert session.scenarios.create("right", "base", "Plan").run().wait(60).info.status == "complete"


def test_no_more_run_at_once_than_the_session_lets(session: SessionHandle) -> None:
    made = [session.scenarios.create(f"{i}", "base", "Wait", {"seconds": 1.5}) for i in range(4)]
    for scenario in made:
        scenario.run()
    most = 0
    while any(one.info.status not in ("complete", "failed") for one in session.scenarios.list()):
        most = max(most, [one.info.status for one in session.scenarios.list()].count("processing"))
        time.sleep(0.05)
    assert most == 2
    assert {one.info.status for one in session.scenarios.list()} == {"complete"}


def test_a_killed_runner_and_a_killed_worker_cost_nothing(shared: Platform, session: SessionHandle) -> None:
    for name in ("ray::Runner", "ray::TrialWorker"):
        scenario = session.scenarios.create(name, "base", "Wait", {"seconds": 4}).run()
        until(lambda: scenario.status().progress == 50, 60)  # noqa: B023
        for pid in shared.pids(name):
            os.kill(pid, signal.SIGKILL)
        assert scenario.wait(120).info.status == "complete", scenario.result


@pytest.mark.slow
def test_everything_is_there_again_after_a_restart(start: Callable[..., Platform]) -> None:
    platform = start(**PLUGIN)
    with Client(platform.url) as client:
        session = client.sessions("main")
        session.data.put(DataSource("base", ORDERS))
        document = session.data.json("base")
        done = session.scenarios.create("done", "base", "Plan", {"trucks": 3}).run().wait(60).refresh()
        long = session.scenarios.create("long", "base", "Wait", {"seconds": 5}).run()
        waiting = session.scenarios.create("waiting", "base", "Plan").run()
        until(lambda: long.status().progress == 50, 60)
        assert waiting.info.status == "queued"
    platform.kill()
    platform.start()
    with Client(platform.url) as client:
        session = client.sessions("main")
        assert session.data.json("base") == document
        assert session.scenarios.get("done").refresh() == done
        for tag in ("long", "waiting"):
            assert session.scenarios.get(tag).wait(120).info.status == "complete"


def test_a_search_over_an_algorithms_parameters_and_a_scenario_of_its_best(session: SessionHandle) -> None:
    space: list[dict[str, Any]] = [
        {"name": "trucks", "type": "int", "minimum": 1, "maximum": 9},
        {"name": "mode", "type": "categorical", "choices": ["fast", "cheap"]},
    ]
    job = session.optimize("Plan", "base", space, ["Cost"], {"type": "tpe", "n_iter": 40, "seed": 1}).wait(120)
    assert json.loads(job.model_dump_json())["job_status"] == "finished"
    best = session.scenarios.from_trial(int(job.job_meta.experiment_id), "best").run().wait(60)
    cost = best.kpis["Cost"]
    assert cost is not None
    assert (cost.value, best.info.algorithm.parameters["trucks"]) == (0, 5)
