"""`tunesmith jobs ...` against the service on a real database: what it prints, and the exit code it ends with."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_platform import Platform, platform
from typer.testing import CliRunner, Result

from tunesmith.cli.app import JOB_COMMANDS, app
from tunesmith.cli.training_options import memory, rule, seconds
from tunesmith.domain import JobState
from tunesmith.errors import BadRequest
from tunesmith.store import Store
from tunesmith.testing import new_experiment, open_trial

NIGHTLY = ("nightly", "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin")


@pytest.fixture
def here(tmp_path: Path, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for name in [name for name in os.environ if name.startswith("TUNESMITH_")]:
        monkeypatch.delenv(name)
    with platform(tmp_path, sqlite_store) as found:
        monkeypatch.setenv("TUNESMITH_URL", found.url)
        yield found


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["jobs", *args], input=stdin)


def document(*args: str) -> Any:
    shown = run(*args[:1], "--json", *args[1:])
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def refused(*args: str, code: int = 2) -> str:
    shown = run(*args)
    assert shown.exit_code == code, shown.output
    return str(shown.stderr)


class TestPromises:
    @pytest.mark.parametrize("name", [name for name, _ in JOB_COMMANDS])
    def test_every_command_has_json_help_and_its_exit_codes(self, name: str) -> None:
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert "--json" in shown.stdout
        assert "Exit codes" in shown.stdout

    def test_options_before_a_command_are_refused_where_they_would_be_lost(self) -> None:
        assert "jobs list" in refused("--url", "http://127.0.0.1:9", "list")


class TestCreate:
    def test_every_option_is_a_field(self, here: Platform) -> None:
        here.client.training_jobs.create("first", ["true"])
        made = document(
            "create", *NIGHTLY, "--image", "trainer:1", "--max-retries", "5", "--retry-backoff", "2m",
            "--env", "A=1", "--env", "B=x=y", "--timeout", "2h", "--depends-on", "first",
            "--notify", "https://ci.example.com/hook:failed,retrying", "--checkpoint-path", "nightly",
            "--resume-flag", "--resume", "--priority", "high", "--cpus", "2", "--gpus", "0.5", "--memory", "4GiB",
            "--overlap", "queue", "--catch-up", "all", "--tag", "a", "--tag", "b",
            "--secret", "KEY=wandb", "--network", "--", "python", "train.py", "--lr", "0.1",
        )  # fmt: skip
        assert made.items() >= {
            "name": "nightly", "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "image": "trainer:1",
            "max_retries": 5, "retry_backoff_s": 120, "env": {"A": "1", "B": "x=y"}, "timeout_s": 7200,
            "depends_on": ["first"], "checkpoint_path": "nightly", "resume_flag": "--resume", "priority": "high",
            "resources": {"cpus": 2, "gpus": 0.5, "memory_bytes": 4 * 2**30}, "overlap": "queue", "catch_up": "all",
            "tags": ["a", "b"], "command": ["python", "train.py", "--lr", "0.1"], "secrets": {"KEY": "wandb"},
            "network": True,
        }.items()  # fmt: skip
        (told,) = made["notify"]
        assert told["on"] == ["failed", "retrying"]

    def test_it_says_what_was_made_and_how_to_follow_it(self, here: Platform) -> None:
        shown = run("create", "my job", "--", "true")
        assert shown.exit_code == 0
        assert shown.stdout.startswith("my job (train-")
        assert shown.stdout.endswith(") pending\n")
        assert "`tunesmith jobs watch 'my job'`" in shown.stderr

    def test_a_file_has_fields_and_options_go_before_them(self, here: Platform, tmp_path: Path) -> None:
        file = tmp_path / "job.yaml"
        file.write_text("name: a\ncommand: [echo, hello]\nmax_retries: 1\nresources: {cpus: 4, gpus: 1}\n")
        made = document("create", "b", "--file", str(file), "--cpus", "2", "--no-resume-flag")
        assert (made["name"], made["command"], made["max_retries"]) == ("b", ["echo", "hello"], 1)
        assert (made["resources"]["cpus"], made["resources"]["gpus"], made["resume_flag"]) == (2, 1, None)
        assert document("create", "--file", str(file))["name"] == "a"

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("x",), "what is its command"),
            ((), "what is its name"),
            (("x", "--env", "A", "--", "true"), "NAME=VALUE"),
            (("x", "--timeout", "soon", "--", "true"), "'soon': write seconds"),
            (("x", "--memory", "4 GX", "--", "true"), "'4 GX': write bytes"),
            (("x", "--notify", "team:odd", "--", "true"), "after the colon stand statuses"),
            (("x", "--schedule", "0 25 * * *", "--", "true"), "hour"),
            (("x", "--max-retries", "11", "--", "true"), "max_retries"),
            (("x", "--resume-flag", "-r", "--no-resume-flag", "--", "true"), "contradict"),
        ],
    )
    def test_bad_input_is_2_and_says_what_is_meant(self, here: Platform, args: tuple[str, ...], message: str) -> None:
        assert message in " ".join(refused("create", *args).split())

    def test_a_name_that_is_taken_is_5(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        assert "has the name 'a' already" in refused("create", "a", "--", "true", code=5)

    @pytest.mark.parametrize(("given", "meant"), [("90", 90), ("1.5m", 90), ("2h", 7200), ("1 d", 86400), (".5s", 0.5)])
    def test_durations(self, given: str, meant: float) -> None:
        assert seconds(given) == meant

    @pytest.mark.parametrize(("given", "meant"), [("7", 7), ("4G", 4 * 10**9), ("4GB", 4 * 10**9), ("1KiB", 1024)])
    def test_sizes(self, given: str, meant: int) -> None:
        assert memory(given) == meant

    def test_a_channel_may_have_colons_of_its_own(self) -> None:
        assert rule("https://host:80/x") == {"channel": "https://host:80/x"}
        assert rule("https://host:80/x:failed") == {"channel": "https://host:80/x", "on": ["failed"]}
        assert rule("team") == {"channel": "team"}
        with pytest.raises(BadRequest):
            rule("team:")


class TestUpdate:
    def test_what_is_not_given_stays(self, here: Platform) -> None:
        run("create", *NIGHTLY, "--cpus", "2", "--gpus", "1", "--image", "x:1", "--env", "A=1", "--", "true")
        changed = document(
            "update", "nightly", "--no-schedule", "--no-image", "--gpus", "0", "--env", "B=2", "--name", "b"
        )
        assert (changed["schedule"], changed["image"], changed["name"]) == (None, None, "b")
        assert (changed["resources"]["cpus"], changed["resources"]["gpus"]) == (2, 0)
        assert (changed["env"], changed["timezone"], changed["command"]) == ({"B": "2"}, "Europe/Berlin", ["true"])
        assert document("update", "b", "--no-env", "--", "false", "-x")["command"] == ["false", "-x"]

    def test_a_file_changes_what_it_says_but_the_name(self, here: Platform, tmp_path: Path) -> None:
        run("create", *NIGHTLY, "--gpus", "1", "--", "true")
        file = tmp_path / "jobs.yaml"
        file.write_text("[{name: nightly, schedule: null, resources: {cpus: 3}}, {name: other}]")
        changed = document("update", "nightly", "--file", str(file), "--tag", "x")
        assert (changed["schedule"], changed["tags"]) == (None, ["x"])
        assert (changed["resources"]["cpus"], changed["resources"]["gpus"]) == (3, 1)
        file.write_text("{name: other, max_retries: 1}")
        assert document("update", "nightly", "--file", str(file))["name"] == "nightly"

    def test_nothing_to_change_is_said(self, here: Platform) -> None:
        run("create", *NIGHTLY, "--", "true")
        assert "nothing to change" in refused("update", "nightly")

    def test_a_running_one_is_5_and_none_is_4(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        here.claim()
        assert "running" in refused("update", "a", "--max-retries", "1", code=5)
        assert "running" in refused("delete", "a", code=5)
        assert "is it 'a'" in refused("update", "A", "--max-retries", "1", code=4)


class TestSteering:
    def test_both_kinds_of_jobs_by_their_ids(self, here: Platform) -> None:
        run("create", *NIGHTLY, "--", "true")
        job = here.client.experiment(new_experiment(here.store).id).submit({"type": "random", "n_iter": 1})
        assert run("pause", "nightly").stdout.split()[2] == "paused"
        assert run("pause", job.id).stdout == f"{job.id} paused\n"
        assert document("resume", "nightly")["status"] == "pending"
        assert document("resume", job.id)["job_status"] == "queued"
        assert document("show", job.id)["job_id"] == job.id
        assert "at 02:00 every day" in run("show", "nightly").stdout
        training = here.client.training_jobs.get("nightly")
        assert CliRunner().invoke(app, ["pause", training.id]).stdout.split()[2] == "paused"

    def test_a_training_job_may_be_called_as_a_job_is(self, here: Platform) -> None:
        run("create", "job-1", "--schedule", "@daily", "--", "true")
        assert document("pause", "job-1")["status"] == "paused"
        assert "No job has the id 'job-2'" in refused("pause", "job-2", code=4)

    def test_firings_are_jobs_too(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        (firing,) = json.loads(run("--json").stdout)
        assert firing["job_status"] == "queued"
        assert "a" in run().stdout

    def test_a_cancelled_one_is_retried_and_deleted(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        assert document("cancel", "a")["status"] == "cancelled"
        assert document("retry", "a")["status"] == "pending"
        assert run("delete", "a").stdout == "a deleted\n"
        assert run("list").stderr.startswith("no training jobs")

    @pytest.mark.parametrize(
        ("to", "error", "code"), [(JobState.SUCCEEDED, None, 0), (JobState.FAILED, "exit code 3\nmore", 1)]
    )
    def test_run_waits_and_fails_when_the_job_fails(
        self, here: Platform, to: JobState, error: str | None, code: int
    ) -> None:
        run("create", *NIGHTLY, "--max-retries", "0", "--", "true")
        worker = threading.Thread(target=lambda: (until_queued(here), here.run(to, error)))
        worker.start()
        shown = run("run", "nightly", "--wait")
        worker.join()
        assert shown.exit_code == code
        assert ("error: nightly failed: exit code 3" in shown.stderr) == (code == 1)


def until_queued(here: Platform) -> None:
    until(lambda: any(job.info.job_status == "queued" for job in here.client.jobs()))


def until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class TestTables:
    def test_training_jobs_are_listed(self, here: Platform) -> None:
        run("create", *NIGHTLY, "--", "true")
        run("create", "[red]once", "--", "true")
        shown = run("list").stdout
        assert "0 2 * * *" in shown
        assert "[red]once" in shown
        assert [job["name"] for job in document("list", "--q", "NIGHT")] == ["nightly"]
        assert document("list", "--status", "failed") == []

    def test_executions_are_listed(self, here: Platform) -> None:
        run("create", "a", "--max-retries", "0", "--", "true")
        assert "not fired" in run("executions", "a", "--execution", "7").stderr
        here.run(JobState.FAILED, "exit code 3\nthe end")
        shown = run("executions", "a").stdout
        assert "exit code 3" in shown
        assert "the end" not in shown
        assert [(one["number"], one["attempt"]) for one in document("executions", "a")] == [(1, 1)]

    def test_the_executions_of_a_search_have_their_parameters(self, here: Platform) -> None:
        space = [{"name": "lr", "minimum": 0, "maximum": 1}]
        here.client.training_jobs.create("s", ["x", "${lr}"], parameters=space)
        experiment = here.client.training_jobs.get("s").info.experiment_id
        job = here.claim()
        with here.store.write() as tx:
            tx.record(job.id, str(job.lease_token), tx.experiment(experiment), [open_trial(job, 0, params={"lr": 0.5})])
        assert "lr=0.5" in run("executions", "s").stdout


class TestLogs:
    def test_they_are_printed_as_they_are(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        here.write_log("a", 0, "[bold]one\ntwo\n")
        here.run()
        assert run("logs", "a").stdout == "[bold]one\ntwo\n"
        assert run("logs", "a", "--execution", "1").stdout.endswith("[bold]one\ntwo\n")
        assert [json.loads(line)["line"] for line in run("logs", "a", "--json").stdout.splitlines()] == [
            "[bold]one",
            "two",
        ]

    def test_an_execution_of_an_experiments_job_is_refused(self, here: Platform) -> None:
        job = here.client.experiment(new_experiment(here.store).id).submit({"type": "random", "n_iter": 1})
        assert "--trial" in refused("logs", job.id, "--execution", "1")


class TestWatch:
    @pytest.mark.parametrize(
        ("to", "options", "code"),
        [(JobState.SUCCEEDED, ["--exit-status"], 0), (JobState.FAILED, [], 0), (JobState.FAILED, ["--exit-status"], 1)],
    )
    def test_the_log_is_followed_to_the_end_and_the_status_told(
        self, here: Platform, to: JobState, options: list[str], code: int
    ) -> None:
        run("create", "a", "--max-retries", "0", "--", "true")
        here.write_log("a", 0, "one\n")
        here.run(to, None if to is JobState.SUCCEEDED else "exit code 3")
        shown = run("watch", "a", *options)
        assert shown.exit_code == code, shown.output
        assert "one\n" in shown.stdout
        assert f"a {'completed' if to is JobState.SUCCEEDED else 'failed'}" in shown.stderr

    def test_with_json_each_line_is_an_object(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        here.write_log("a", 0, "one\n")
        here.run()
        found = [json.loads(line) for line in run("watch", "a", "--json").stdout.splitlines()]
        assert found[-2] == {"line": "one"}
        assert found[-1]["job"]["status"] == "completed"

    def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        here.claim()
        process = started("watch", "a")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("a running")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "`tunesmith watch train-" in stderr
        assert "Traceback" not in stderr
        assert here.client.training_jobs.get("a").status == "running"

    def test_all_of_them_are_told_of_as_they_change(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        process = started("watch")
        assert process.stdout is not None
        assert process.stdout.readline() == "a pending\n"
        here.run()
        assert process.stdout.readline() == "a completed\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130

    def test_a_terminal_gets_a_live_table(self, here: Platform) -> None:
        run("create", *NIGHTLY, "--", "true")
        shown = on_a_terminal("watch", until_shown="1 training jobs: 1 pending")
        assert "nightly" in shown
        assert "0 2 * * *" in shown

    def test_a_terminal_gets_the_log_and_the_standing_below_it(self, here: Platform) -> None:
        run("create", "a", "--", "true")
        here.claim()
        here.write_log("a", 0, "epoch 1\n")
        assert "a running, since" in on_a_terminal("watch", "a", until_shown="running, since")


def started(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli", "jobs", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible,
    )  # fmt: skip


def interruptible() -> None:
    """In the child: a test run in the background of a shell hands on that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_a_terminal(*args: str, until_shown: str) -> str:
    """What a command shows on a terminal until a text is there; it is interrupted then, and ends."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith.cli", "jobs", *args],
        stdin=slave, stdout=slave, stderr=slave, preexec_fn=interruptible,
        env={**os.environ, "COLUMNS": "180", "LINES": "30", "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    shown, end = b"", time.monotonic() + 20
    try:
        while until_shown.encode() not in shown:
            assert time.monotonic() < end, shown.decode()
            if select.select([master], [], [], 0.1)[0]:
                shown += os.read(master, 10_000)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            assert time.monotonic() < end
            if select.select([master], [], [], 0.1)[0]:
                try:
                    shown += os.read(master, 10_000)
                except OSError:  # its last process closed the terminal
                    break
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return shown.decode()
