"""`tunesmith work`: real workers and commands, against the service behind a real port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import served
from fastapi import FastAPI

from tunesmith import Client, Experiment

N = {"name": "n", "type": "int", "minimum": 1, "maximum": 6}
TUNESMITH = str(Path(sys.executable).with_name("tunesmith"))
LOSS = 'echo "{\\"loss\\": $0}" >> "$TUNESMITH_METRICS"'
Make = Callable[..., Experiment]


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Work:
    """Starts `tunesmith work`, and ends it with the test."""

    def __init__(self, url: str, directory: Path) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
        self.environ = inherited | {"TUNESMITH_URL": url, "TMPDIR": str(directory)}
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []

    def start(self, experiment: Experiment, *words: object, script: str | None = None) -> subprocess.Popen[str]:
        """`script` is what bash runs for a trial; `$0` in it is the parameter n."""
        own = [] if script is None else ["--", "bash", "-c", script, "{n}"]
        process = subprocess.Popen(
            [TUNESMITH, "work", str(experiment.id), *map(str, words), *own],
            env=self.environ, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def __call__(self, experiment: Experiment, *words: object, script: str | None = None) -> tuple[int, str, str]:
        """The exit code, stdout and stderr of a worker that ends by itself."""
        process = self.start(experiment, *words, script=script)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def rows(self, experiment: Experiment, *words: object, script: str | None = None) -> list[dict[str, Any]]:
        """What it says of its trials in JSON."""
        code, out, err = self(experiment, "--json", *words, script=script)
        *rows, summary = map(json.loads, out.splitlines())
        assert sum(summary["trials"].values()) == len(rows)
        assert code == 0, err
        return rows


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def work(url: str, tmp_path: Path) -> Iterator[Work]:
    directory = tmp_path / "here"
    directory.mkdir()
    work = Work(url, directory)
    yield work
    for process in work.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    with Client(url) as client:

        def experiment(**content: Any) -> Experiment:
            body = {"tool_name": "asked", "external": True, "parameters": [N], "objectives": [{"metric": "loss"}]}
            return client.create_experiment({**body, **content})

        yield experiment


class TestATrial:
    def test_a_command_gets_its_parameters_and_its_metrics_are_told(self, make: Make, work: Work) -> None:
        experiment = make()
        rows = work.rows(experiment, "--worker", "me", script=LOSS)
        assert [(row["number"], row["state"], row["values"]) for row in rows] == [
            (number, "complete", {"loss": row["params"]["n"]}) for number, row in enumerate(rows)
        ]
        assert {row["params"]["n"] for row in rows} == {1, 2, 3, 4, 5, 6}
        found = experiment.trial(0)
        assert {"loss", "wall_time_s", "cpu_time_s", "max_rss_bytes", "exit_code"} == set(found.metrics)
        assert found.worker == "me"

    def test_its_environment_is_that_of_a_trial_on_the_platform(self, make: Make, work: Work) -> None:
        experiment = make()
        work.environ["TUNESMITH_API_KEY"] = "a-secret-of-the-worker"
        seen = work.directory / "seen"
        work(experiment, "--max-trials", 1, script=f"env > {seen}; pwd >> {seen}; {LOSS}")
        lines = dict(re.findall(r"^(TUNESMITH_\w+)=(.*)$", seen.read_text(), re.MULTILINE))
        assert lines["TUNESMITH_PARAM_N"] == str(experiment.trial(0).params["n"])
        assert (lines["TUNESMITH_TRIAL_NUMBER"], lines["TUNESMITH_ATTEMPT"]) == ("0", "1")
        assert lines["TUNESMITH_EXPERIMENT_ID"] == str(experiment.id)
        assert lines["TUNESMITH_METRICS"].startswith(lines["TUNESMITH_TRIAL_DIR"])
        assert not {"TUNESMITH_API_KEY", "TUNESMITH_URL"} & set(lines)
        assert seen.read_text().splitlines()[-1] == str(work.directory)  # it runs where the worker was started
        assert not Path(lines["TUNESMITH_TRIAL_DIR"]).exists()
        assert not list(work.directory.glob("tunesmith-work-*"))

    def test_patterns_find_metrics_in_its_output_and_directories_may_stay(self, make: Make, work: Work) -> None:
        experiment = make()
        options = ("--metrics-pattern", "loss=loss is (.*)", "--keep", "kept", "--max-trials", 1)
        (row,) = work.rows(experiment, *options, script="echo loss is 7; echo loss is $0.5")
        assert row["values"] == {"loss": row["params"]["n"] + 0.5}
        (log,) = (work.directory / "kept").rglob("log.txt")
        assert "loss is 7" in log.read_text()

    def test_a_failed_command_is_told_with_the_end_of_its_output(self, make: Make, work: Work) -> None:
        experiment = make()
        code, out, _ = work(experiment, "--max-trials", 2, script="echo the disk is full; exit 3")
        assert code == 1
        assert "failed exit code 3: the disk is full" in out
        assert "exit code 3; its output ends with:\nthe disk is full" in (experiment.trial(0).error or "")

    @pytest.mark.slow
    def test_a_command_that_always_fails_does_not_use_up_the_whole_search(self, make: Make, work: Work) -> None:
        experiment = make(parameters=[{"name": "n", "minimum": 0, "maximum": 1}])
        code, out, _ = work(experiment, "--max-failures", 4, script="exit 1")
        assert code == 1
        assert "4 trials in a row failed: 4 failed" in out

    def test_a_command_without_the_objective_fails(self, make: Make, work: Work) -> None:
        experiment = make()
        work(experiment, "--max-trials", 1, script="true")
        assert "no finite value for objective 'loss'" in (experiment.trial(0).error or "")

    @pytest.mark.slow
    def test_a_command_that_takes_too_long_is_ended(self, make: Make, work: Work) -> None:
        experiment = make()
        began = time.monotonic()
        work(experiment, "--max-trials", 1, "--timeout", 0.5, script="sleep 60")
        assert time.monotonic() - began < 20
        assert "still running after 0.5 s" in (experiment.trial(0).error or "")

    def test_a_pruned_command_is_ended_with_all_that_it_started(self, make: Make, work: Work) -> None:
        experiment = make()
        pids = work.directory / "pids"
        report = 'echo "{\\"loss\\": ${step}0, \\"step\\": $step}" >> $TUNESMITH_METRICS'
        script = f"sleep 60 & echo $! > {pids}; for step in 1 2 3 4; do {report}; sleep 0.4; done; wait"
        search = json.dumps({"type": "random", "pruner": {"type": "threshold", "upper": 15}})
        began = time.monotonic()
        (row,) = work.rows(experiment, "--max-trials", 1, "--optimizer", search, script=script)
        assert row["state"] == "pruned"
        assert time.monotonic() - began < 20
        found = experiment.trial(0)
        assert found.state == "pruned"
        assert [measured.value for measured in found.measurements][:2] == [10, 20]
        assert not alive(int(pids.read_text()))

    def test_without_a_command_the_experiments_own_template_runs_here(self, make: Make, work: Work) -> None:
        template = "sleep 0.01; echo loss ${n}"
        experiment = make(external=False, command_template_string=template, metrics={"patterns": {"loss": "loss (.*)"}})
        rows = work.rows(experiment)
        assert {row["values"]["loss"] for row in rows} == {1, 2, 3, 4, 5, 6}
        assert [trial.job_id for trial in experiment.trials()] == [None] * 6


class TestWorkers:
    def test_two_workers_of_two_share_an_experiment_and_no_point_is_tried_twice(self, make: Make, work: Work) -> None:
        experiment = make(parameters=[{**N, "maximum": 24}])
        tried = work.directory / "tried"
        script = f"echo $0 >> {tried}; sleep 0.05; {LOSS}"
        workers = [work.start(experiment, "-n", 2, script=script) for _ in range(2)]
        assert [worker.wait(60) for worker in workers] == [0, 0]
        assert sorted(map(int, tried.read_text().split())) == list(range(1, 25))
        assert [trial.state for trial in experiment.trials()] == ["complete"] * 24

    def test_the_trial_of_a_killed_worker_is_another_ones_and_its_command_is_gone(self, make: Make, work: Work) -> None:
        experiment = make(parameters=[{**N, "maximum": 1}])
        pids = work.directory / "pids"
        first = work.start(experiment, "--lease", 1, script=f"echo $$ >> {pids}; sleep 60")
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        time.sleep(1.5)  # longer than the lease: heartbeats keep it
        assert experiment.trial(0).state == "running"
        assert experiment.trial(0).attempt == 1
        first.kill()
        until(lambda: not alive(int(pids.read_text())))
        (row,) = work.rows(experiment, script=LOSS)
        assert (row["number"], row["attempt"], row["state"]) == (0, 2, "complete")

    @pytest.mark.slow
    def test_a_worker_that_slept_through_its_lease_ends_its_command_and_changes_nothing(
        self, make: Make, work: Work
    ) -> None:
        experiment = make(parameters=[{**N, "maximum": 1}])
        pids = work.directory / "pids"
        asleep = work.start(experiment, "--lease", 1, "--json", script=f"echo $$ > {pids}; sleep 60")
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        asleep.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        (row,) = work.rows(experiment, script=LOSS)
        asleep.send_signal(signal.SIGCONT)
        out, err = asleep.communicate(timeout=30)
        assert json.loads(out.splitlines()[0])["state"] == "lost", err
        assert not alive(int(pids.read_text()))
        assert (row["attempt"], experiment.trial(0).outcome) == (2, 1)

    @pytest.mark.slow
    def test_a_worker_under_its_old_name_goes_on_with_its_old_trial(self, make: Make, work: Work) -> None:
        experiment = make()
        began = work.directory / "began"
        killed = work.start(experiment, "--worker", "node7", script=f"touch {began}; sleep 60")
        until(began.exists)
        killed.kill()
        (row,) = work.rows(experiment, "--worker", "node7", "--max-trials", 1, script=LOSS)
        assert (row["number"], row["attempt"]) == (0, 2)

    @pytest.mark.slow
    def test_a_restart_of_the_platform_is_outlasted(self, app: FastAPI, work: Work) -> None:
        with ExitStack() as running:
            url = running.enter_context(served(app))
            port = httpx2.URL(url).port
            assert port is not None
            work.environ["TUNESMITH_URL"] = url
            experiment = Client(url).create_experiment(
                tool_name="asked", external=True, parameters=[N], objectives=[{"metric": "loss"}]
            )
            worker = work.start(experiment, "-n", 2, script=f"sleep 0.5; {LOSS}")
            until(lambda: experiment.refresh().trial_counts["complete"])
            running.close()
            time.sleep(1.5)
            running.enter_context(served(app, port))
            assert worker.wait(60) == 0
            assert [(trial.state, trial.attempt) for trial in experiment.trials()] == [("complete", 1)] * 6


class TestStopping:
    @pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
    def test_what_runs_is_ended_and_given_back(self, make: Make, work: Work, number: signal.Signals) -> None:
        experiment = make()
        pids = work.directory / "pids"
        worker = work.start(experiment, "-n", 2, script=f"echo $$ >> {pids}; sleep 60")
        until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 2)
        worker.send_signal(number)
        out, err = worker.communicate(timeout=20)
        assert worker.returncode == 130, err
        assert "interrupted: 2 released" in out
        assert not [pid for pid in pids.read_text().split() if alive(int(pid))]
        assert [experiment.trial(number).state for number in (0, 1)] == ["waiting", "waiting"]

    @pytest.mark.slow
    def test_the_second_interrupt_quits_at_once_and_the_command_goes_too(self, make: Make, work: Work) -> None:
        experiment = make()
        pids = work.directory / "pids"
        worker = work.start(experiment, script=f"trap '' TERM; echo $$ > {pids}; while true; do sleep 0.1; done")
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        worker.send_signal(signal.SIGINT)
        time.sleep(0.5)
        began = time.monotonic()
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == 130
        assert time.monotonic() - began < 2
        until(lambda: not alive(int(pids.read_text())))

    def test_a_worker_that_waits_for_others_is_stopped_at_once(self, make: Make, work: Work) -> None:
        experiment = make(parameters=[{**N, "maximum": 1}])
        (held,) = experiment.ask()
        worker = work.start(experiment, script=LOSS)
        time.sleep(3)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(5) in (130, -signal.SIGINT)  # the signal itself, on a machine where it has not begun by then
        held.tell(1)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (("--", "no-such-program"), 2, "'no-such-program' is no program"),
            (("--optimizer", "no_such_sampler", "--", "true"), 2, "no_such_sampler"),
            *(
                pytest.param(*wrong, marks=pytest.mark.slow)
                for wrong in (
                    (("--metrics-pattern", "loss", "--", "true"), 2, "write NAME=REGEX"),
                    (("--metrics-pattern", "loss=(", "--", "true"), 2, "no regular expression"),
                    (("--metrics-pattern", "loss=x", "--", "true"), 2, "has no group"),
                    (("--optimizer", "{no json", "--", "true"), 2, "no JSON"),
                    (("--timeout", "0", "--", "true"), 2, "--timeout 0"),
                    (("-n", "0", "--", "true"), 2, "-n"),
                    ((), 2, "no command template"),
                    (("--url", "http://127.0.0.1:9", "--", "true"), 3, "No answer"),
                )
            ),
        ],
    )
    def test_a_wrong_command_line_ends_before_any_trial(
        self, make: Make, work: Work, words: tuple[str, ...], code: int, message: str
    ) -> None:
        experiment = make()
        ended, out, err = work(experiment, *words)
        assert (ended, message in err) == (code, True), out + err
        assert "running" not in {trial.state for trial in experiment.trials()}

    def test_an_archived_experiment_is_a_conflict(self, make: Make, work: Work) -> None:
        experiment = make()
        experiment.update(archived=True)
        code, _, err = work(experiment, script="true")
        assert (code, "archived" in err) == (5, True)

    @pytest.mark.slow
    def test_what_looks_like_a_slip_is_warned_of(self, make: Make, work: Work) -> None:
        experiment = make(parameters=[{**N, "name": "layers"}])
        code, _, err = work(experiment, "--max-trials", 1, "--", "echo", "{layer}")
        assert "{layer} is no parameter and stays as it is; did you mean {layers}?" in err
        assert code == 1

    def test_errors_are_json_with_json(self, make: Make, work: Work) -> None:
        code, out, err = work(make(), "--json", "--url", "http://127.0.0.1:9", "--", "true")
        assert (code, out) == (3, "")
        assert json.loads(err)["code"] == "CONNECTION_FAILED"


def test_a_worker_finds_the_experiment_by_its_name(make: Make, work: Work, url: str) -> None:
    make(tool_name="resnet")
    process = subprocess.run(
        [TUNESMITH, "work", "resnet", "--max-trials", "1", "--", "bash", "-c", LOSS, "{n}"],
        env=work.environ, cwd=work.directory, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
