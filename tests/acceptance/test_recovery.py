"""Whatever is killed, no finished trial is lost or run twice, and the job ends as it should."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Platform, processes_with, until

from tunesmith import Client
from tunesmith.client import Experiment, Job
from tunesmith.domain import JobState
from tunesmith.store import open_store
from tunesmith.testing.factories import finished_trial, new_experiment, running_job

pytestmark = pytest.mark.timeout(400)
TOTAL = 40


def begin(url: str, record: Path, total: int = TOTAL) -> tuple[Experiment, Job]:
    """A job whose every completed evaluation appends its trial's number to a file."""
    experiment = Client(url).create_experiment(
        {
            "tool_name": f"recovery-{secrets.token_hex(4)}",
            "parameters": [{"name": "a", "minimum": 0, "maximum": 1}],
            "command_template_string": f"sleep 0.25; echo $TUNESMITH_TRIAL_NUMBER >> {record}",
        }
    )
    job = experiment.submit({"type": "tpe", "n_iter": total, "seed": 5})
    until(lambda: job.refresh().progress.finished >= 6)
    return experiment, job


def check(experiment: Experiment, job: Job, record: Path, killed: int = 1, total: int = TOTAL) -> None:
    """Every trial once; evaluations that ran twice are those that were cut off before they were recorded."""
    assert job.wait(120).job_status == "finished"
    trials = list(experiment.trials())
    assert [trial.number for trial in trials] == list(range(total))
    assert {trial.state for trial in trials} == {"complete"}
    assert job.info.progress.finished == total
    ran = [int(line) for line in record.read_text().split()]
    assert set(ran) == set(range(total))
    # At most what was in flight or unwritten (50 ms) at each kill; and a stop can fall between a command's last line
    # and its end.
    assert len(ran) <= total + 6 * killed + 1


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["ray::Runner", "ray::ServeReplica:tunesmith:Dispatcher"])
def test_a_killed_runner_or_dispatcher_costs_no_trial(shared: Platform, tmp_path: Path, victim: str) -> None:
    experiment, job = begin(shared.url, tmp_path / "ran")
    kill(shared.pids(victim))
    check(experiment, job, tmp_path / "ran")


def test_a_killed_trial_worker_takes_its_command_with_it_and_its_trial_runs_again(
    shared: Platform, tmp_path: Path
) -> None:
    experiment, job = begin(shared.url, tmp_path / "ran")
    kill(shared.pids("ray::TrialWorker")[:1])
    check(experiment, job, tmp_path / "ran")


def test_no_command_outlives_a_killed_runner(shared: Platform) -> None:
    mark = f"41{secrets.randbelow(10**8):08d}"
    experiment = Client(shared.url).create_experiment(
        {"tool_name": f"orphan-{mark}", "parameters": [], "command_template_string": f"sleep {mark}"}
    )
    job = experiment.submit({"type": "random", "n_iter": 2})
    before = until(lambda: processes_with(mark))
    kill(shared.pids("ray::Runner"))
    until(lambda: not set(before) & set(processes_with(mark)), 10)
    job.cancel()
    assert job.wait(60).job_status == "stopped"
    until(lambda: not processes_with(mark), 10)


@pytest.mark.slow
def test_down_leaves_jobs_resumable_and_the_next_up_resumes_them(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    platform = start()
    experiment, job = begin(platform.url, tmp_path / "ran")
    platform.stop()
    assert platform.pids() == []
    platform.start()
    check(Client(platform.url).experiment(experiment.id), Client(platform.url).job(job.id), tmp_path / "ran", 0)


def test_everything_can_be_killed_at_once_and_the_next_up_resumes_the_jobs(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    platform = start()
    experiment, job = begin(platform.url, tmp_path / "ran")
    platform.kill()
    platform.start()
    check(Client(platform.url).experiment(experiment.id), Client(platform.url).job(job.id), tmp_path / "ran")


@pytest.mark.slow
def test_a_dead_head_is_started_again_by_its_supervisor(start: Callable[..., Platform], tmp_path: Path) -> None:
    platform = start(TUNESMITH_PORT="0")
    url = platform.url
    experiment, job = begin(url, tmp_path / "ran")
    kill(platform.pids("gcs_server"))
    until(lambda: not platform.pids("gcs_server"), 30)
    until(lambda: platform.pids("gcs_server"), 150)
    check(experiment, job, tmp_path / "ran")


@pytest.mark.slow
def test_a_head_that_died_with_all_of_ray_is_started_again_though_its_proxy_lives_on(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    platform = start()
    experiment, job = begin(platform.url, tmp_path / "ran")
    assert platform.process is not None
    proxy = platform.pids("haproxy.cfg")
    kill([pid for pid in platform.pids() if pid not in (platform.process.pid, *proxy)])
    until(lambda: platform.pids("gcs_server") and not set(proxy) & set(platform.pids()), 150)
    check(experiment, job, tmp_path / "ran")


@pytest.mark.slow
def test_a_platform_whose_supervisor_was_killed_ends_and_lets_nobody_in_before(
    start: Callable[..., Platform],
) -> None:
    platform = start()
    assert platform.process is not None
    head = int(platform.record["head"])
    kill([platform.process.pid])
    second = subprocess.run(
        [sys.executable, "-m", "serve_app.up"], env=platform.environ, capture_output=True, text=True, timeout=60
    )
    assert (second.returncode, "another platform" in second.stderr) == (2, True)
    until(lambda: not Path(f"/proc/{head}").exists(), 40)
    until(lambda: not platform.pids(), 20)


@pytest.mark.slow
def test_an_experiment_of_100_000_trials_takes_another_job(start: Callable[..., Platform], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'tunesmith.db'}")
    store.upgrade()
    experiment = new_experiment(store, ["wall_time_s"])
    earlier = running_job(store, experiment)
    for first in range(0, 100_000, 5_000):
        with store.write() as tx:
            tx.write_trials(experiment, [finished_trial(earlier, number) for number in range(first, first + 5_000)])
    with store.write() as tx:
        tx.end_lease(earlier.id, str(earlier.lease_token), JobState.SUCCEEDED)
    store.close()
    client = Client(start().url)
    job = client.experiment(experiment.id).submit({"type": "tpe", "n_iter": 10})
    assert job.wait(120).job_status == "finished"
    assert job.info.job_meta.attempt == 1
