"""Ask and tell on a running platform: studies that die, jobs and workers in one experiment."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from typing import Any

import pytest
from running import Platform, until

from tunesmith import Client
from tunesmith.client import Experiment
from tunesmith.client.connection import Connection

pytestmark = pytest.mark.timeout(300)
X = {"name": "x", "minimum": 0, "maximum": 1}


def make(url: str, **content: Any) -> Experiment:
    body = {"tool_name": f"asked-{secrets.token_hex(4)}", "parameters": [X], "objectives": [{"metric": "loss"}]}
    return Client(url).create_experiment({**body, **content})


class Worker:
    """Asks, evaluates at once, and tells."""

    def __init__(self, url: str, experiment: Experiment) -> None:
        self.connection = Connection(url)
        self.path = f"/api/v1/experiments/{experiment.id}"

    def work(self, trials: int, **ask: Any) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = []
        while len(done) < trials:
            for trial in self.connection.post(f"{self.path}/ask", ask)["trials"]:
                told = {"token": trial["token"], "value": (trial["params"]["x"] - 0.3) ** 2}
                done.append(self.connection.post(f"{self.path}/trials/{trial['number']}/tell", told))
        return done


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_from_sql(shared: Platform) -> None:
    experiment = make(shared.url, external=True)
    worker = Worker(shared.url, experiment)
    before = worker.work(15, optimizer={"type": "tpe", "seed": 1})
    (pid,) = shared.pids("ray::StudyHost")
    os.kill(pid, signal.SIGKILL)
    after = worker.work(15)
    assert [trial["number"] for trial in before + after] == list(range(30))
    assert until(lambda: shared.pids("ray::StudyHost")) != [pid]
    calm = make(shared.url, external=True)
    undisturbed = Worker(shared.url, calm).work(30, optimizer={"type": "tpe", "seed": 1})
    assert [t["parameter_configs"] for t in before + after] == [t["parameter_configs"] for t in undisturbed]


def test_jobs_and_workers_share_an_experiment(shared: Platform) -> None:
    experiment = make(shared.url, command_template_string='sleep 0.1; echo "{\\"loss\\": ${x}}" >> $TUNESMITH_METRICS')
    job = experiment.submit({"type": "tpe", "n_iter": 30, "seed": 2})
    asked: list[dict[str, Any]] = []
    threads = [
        threading.Thread(
            target=lambda: asked.extend(Worker(shared.url, experiment).work(12, optimizer={"type": "tpe"}))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert job.wait(120).job_status == "finished"
    trials = list(experiment.trials())
    assert len(asked) == 24
    assert sorted(trial.number for trial in trials if trial.state == "complete") == sorted(
        {trial.number for trial in trials if trial.job_id} | {trial["number"] for trial in asked}
    )
    assert sum(trial.job_id is not None for trial in trials) == 30
    assert job.info.progress.finished == 30


def test_a_search_of_the_platform_knows_what_workers_told(shared: Platform) -> None:
    space = [{"name": "x", "type": "int", "minimum": 1, "maximum": 40}]
    experiment = make(
        shared.url, parameters=space, command_template_string="sleep 0.4", objectives=[{"metric": "wall_time_s"}]
    )
    job = experiment.submit({"type": "brute_force", "max_concurrent": 1})
    until(lambda: job.refresh().progress.finished >= 1)
    connection, path = Connection(shared.url), f"/api/v1/experiments/{experiment.id}"
    for trial in connection.post(f"{path}/ask", {"count": 30})["trials"]:
        connection.post(f"{path}/trials/{trial['number']}/tell", {"token": trial["token"], "value": 1.0})
    assert job.wait(120).job_status == "finished"
    found = [trial.params["x"] for trial in experiment.trials(state="complete")]
    assert sorted(found) == list(range(1, 41))


def test_trials_of_silent_workers_are_put_back_by_the_platform(shared: Platform) -> None:
    experiment = make(shared.url, external=True)
    Connection(shared.url).post(f"/api/v1/experiments/{experiment.id}/ask", {"lease_s": 1})
    assert experiment.trial(0).state == "running"
    until(lambda: experiment.trial(0).state == "waiting", 10)
    assert experiment.trial(0).attempt == 2
