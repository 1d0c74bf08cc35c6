"""The command line: what it prints, and the exit code it ends with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pyarrow import parquet
from stand_in import TIME, Reply, StandIn, detail, enveloped, experiment, job, refusal, serving, trial
from typer.testing import CliRunner, Result

from tunesmith import InvalidBody, JobActive, JobNotFound, Unavailable, __version__
from tunesmith.cli.app import COMMANDS, Commands, app, root
from tunesmith.cli.inputs import read_optimizer, read_submission
from tunesmith.errors import InvalidOptimizer
from tunesmith.settings import Settings

BEST = {"number": 2, "outcome": 0.25, "outcomes": {"wall_time_s": 0.25}, "params": {"s": 0.125}}
PROGRESS = {"finished": 4, "failed": 1, "total": 4, "best": BEST}
SPEC = {
    "tool_name": "sleep",
    "parameters": [{"name": "s", "minimum": 0, "maximum": 1}],
    "command_template_string": "true",
}
PLATFORM = """
import json, os, signal, subprocess, sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

print("starting", flush=True)
if os.environ.get("STAND_IN") == "broken":
    sys.exit("no port for me")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = b'{"status": "ready"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["TUNESMITH_PORT"])), Handler)
path = os.path.join(os.environ["TUNESMITH_DATA_DIR"], "run.json")
os.makedirs(os.path.dirname(path), exist_ok=True)

def stop(*_):
    if os.environ.get("STAND_IN") != "stubborn":
        Thread(target=server.shutdown).start()

signal.signal(signal.SIGTERM, stop)
if os.environ.get("STAND_IN") == "stubborn":
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open(os.path.join(os.path.dirname(path), "child"), "w") as stream:
        stream.write(str(child.pid))
with open(path, "w") as stream:
    json.dump({"pid": os.getpid(), "url": f"http://127.0.0.1:{server.server_address[1]}", "version": "0.1.0",
               "dashboard_url": "http://127.0.0.1:8265", "started_at": datetime.now(UTC).isoformat()}, stream)
server.serve_forever()
os.unlink(path)
"""


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as stand_in:
        stand_in.on("POST /api/v1/experiments", Reply(experiment(), 201))
        stand_in.on("POST /api/v1/experiments/1/trials", Reply(enveloped(status="queued"), 202))
        stand_in.on("GET /api/v1/experiments/1", Reply(detail()))
        stand_in.on("GET /api/v1/jobs/job-1", Reply(enveloped(status="finished", progress=PROGRESS)))
        yield stand_in


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("TUNESMITH_", "RAY_ADDRESS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(SPEC))
    return str(path)


def run(*args: str, url: str | None = None, stdin: str | None = None) -> Result:
    options = [] if url is None else ["--url", url]
    return CliRunner().invoke(app, [*args, *options], input=stdin)


def document(result: Result) -> Any:
    """What the command printed with --json, once it succeeded with nothing else on stdout."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def ends(pid: int) -> bool:
    """Whether the process is gone, or a zombie, within a few seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if not Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


class TestPromises:
    @pytest.mark.parametrize("name", [*(name for name, _, _ in COMMANDS), "db upgrade", "db current"])
    def test_every_command_has_json_help_and_its_exit_codes(self, name: str) -> None:
        shown = run(*name.split(), "--help")
        assert shown.exit_code == 0
        assert "--json" in shown.stdout
        assert "Exit codes" in shown.stdout

    def test_the_version_is_printed(self) -> None:
        assert run("--version").stdout.strip() == __version__
        assert document(run("version", "--json"))["tunesmith"] == __version__


def interruptible() -> None:
    """In the child: a test run in the background of a shell hands on that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class TestExitCodes:
    def test_an_unreachable_platform_is_3_and_says_what_to_do(self) -> None:
        shown = run("jobs", url="http://127.0.0.1:9")
        assert shown.exit_code == 3
        assert shown.stderr.startswith("error: No answer from http://127.0.0.1:9")
        assert "tunesmith up" in shown.stderr
        assert shown.stdout == ""

    def test_a_platform_that_cannot_answer_now_is_3(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs", refusal(Unavailable(), {"Retry-After": "0"}))
        assert run("jobs", url=server.url).exit_code == 3

    def test_not_found_is_4(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs/job-9", refusal(JobNotFound("No job has the id 'job-9'")))
        shown = run("job", "job-9", url=server.url)
        assert (shown.exit_code, shown.stdout) == (4, "")
        assert shown.stderr == "error: No job has the id 'job-9'\n"

    def test_with_json_the_error_is_its_body_on_stderr(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs/job-9", refusal(JobNotFound("No job has the id 'job-9'")))
        shown = run("job", "job-9", "--json", url=server.url)
        assert (shown.exit_code, shown.stdout) == (4, "")
        assert json.loads(shown.stderr) == JobNotFound("No job has the id 'job-9'").body()

    def test_a_conflict_is_5(self, server: StandIn, spec: str) -> None:
        server.on("POST /api/v1/experiments/1/trials", refusal(JobActive(job_id="job-7")))
        shown = run("submit", spec, url=server.url)
        assert shown.exit_code == 5
        assert "job_id: job-7" in shown.stderr

    def test_bad_input_is_2_and_names_the_fields(self, server: StandIn, spec: str) -> None:
        fields = [
            {"field": "parameters.0.minimum", "message": "is above maximum", "value": 9},
            {"field": "x", "message": "no"},
        ]
        server.on("POST /api/v1/experiments", refusal(InvalidBody("2 fields are wrong", fields=fields)))
        shown = run("submit", spec, url=server.url)
        assert shown.exit_code == 2
        assert shown.stderr.splitlines() == [
            "error: 2 fields are wrong",
            "  parameters.0.minimum: is above maximum (given: 9)",
            "  x: no",
        ]

    @pytest.mark.parametrize(
        "args", [("nonsense",), ("jobs", "--nonsense"), ("trials", "one"), ("jobs", "--state", "odd")]
    )
    def test_wrong_usage_is_2(self, args: tuple[str, ...]) -> None:
        assert run(*args).exit_code == 2

    def test_an_unknown_setting_is_2(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUNESMITH_PROT", "1")
        shown = run("settings")
        assert shown.exit_code == 2
        assert "TUNESMITH_PORT" in shown.stderr

    def test_a_bug_is_1_and_a_line_and_its_traceback_only_on_request(self) -> None:
        buggy = typer.Typer(cls=Commands, pretty_exceptions_enable=False)
        buggy.callback()(root)
        buggy.command("jobs")(lambda: {}["missing"])
        shown = CliRunner().invoke(buggy, ["jobs"])
        assert shown.exit_code == 1
        assert shown.stderr.startswith("error: unexpected KeyError: 'missing'")
        with pytest.raises(KeyError):
            CliRunner().invoke(buggy, ["--traceback", "jobs"], catch_exceptions=False)

    def test_a_data_directory_that_cannot_be_used_is_1(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file")
        shown = run("up", "--detach")
        assert shown.exit_code == 1
        assert "cannot be started" in shown.stderr

    def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped(status="started")))
        command = [sys.executable, "-m", "tunesmith.cli", "watch", "job-1", "--url", server.url]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
        )
        while len(server.received) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "tunesmith watch job-1" in stderr
        assert "Traceback" not in stderr
        assert not server.asked("POST /api/v1/jobs/job-1/cancel")


class TestSubmit:
    def test_the_job_is_queued_and_named(self, server: StandIn, spec: str) -> None:
        shown = run("submit", spec, url=server.url)
        assert shown.exit_code == 0
        assert shown.stdout == "experiment 1, job-1 queued\n"
        assert server.received[0].body == SPEC
        assert server.received[1].body == {}

    def test_json_holds_experiment_and_job(self, server: StandIn, spec: str) -> None:
        found = document(run("submit", spec, "--optimizer", "random:n_iter=20", "--json", url=server.url))
        assert found["experiment"]["id"] == 1
        assert found["job"]["job_id"] == "job-1"
        assert server.received[1].body == {"optimizer": {"type": "random", "n_iter": 20}}

    def test_wait_shows_the_best_and_is_0_when_the_job_finished(self, server: StandIn, spec: str) -> None:
        shown = run("submit", spec, "--wait", url=server.url)
        assert shown.exit_code == 0
        assert "finished, 4/4 finished, 1 failed, best 0.25 (s=0.125)" in shown.stdout
        assert document(run("submit", spec, "--wait", "--json", url=server.url))["job"]["job_status"] == "finished"

    def test_wait_is_1_when_the_job_failed_and_says_why(self, server: StandIn, spec: str) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped(status="failed", job_exc_info="exit code 3\nstack")))
        shown = run("submit", spec, "--wait", url=server.url)
        assert shown.exit_code == 1
        assert "error: job-1 failed: exit code 3" in shown.stderr

    def test_a_terminal_gets_a_live_bar(self, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "150")
        shown = run("watch", "job-1", url=server.url)
        assert shown.exit_code == 0
        assert "4/4" in shown.stderr
        assert "1 failed, best 0.25 (s=0.125)" in shown.stderr

    def test_warnings_go_to_stderr(self, server: StandIn, spec: str) -> None:
        server.on("POST /api/v1/experiments", Reply(experiment(warnings=["${S} looks like ${s}"])))
        shown = run("submit", spec, "--json", url=server.url)
        assert "warning: ${S} looks like ${s}" in shown.stderr
        assert document(shown)["job"]["job_id"] == "job-1"

    def test_stdin_is_a_file_too(self, server: StandIn) -> None:
        wrapped = {"experiment": SPEC, "optimizer": {"type": "random", "n_iter": 3}, "priority": "high"}
        assert run("submit", "-", url=server.url, stdin=json.dumps(wrapped)).exit_code == 0
        assert server.received[1].body == {"optimizer": {"type": "random", "n_iter": 3}, "priority": "high"}


class TestInputs:
    def test_yaml_numbers_are_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "experiment.yaml"
        path.write_text("tool_name: t\nparameters:\n- {name: lr, minimum: 1e-5, maximum: 1E+1, log: true}\n")
        parameter = read_submission(str(path)).experiment["parameters"][0]
        assert (parameter["minimum"], parameter["maximum"], parameter["log"]) == (1e-5, 10.0, True)

    def test_a_typo_beside_the_experiment_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yml"
        path.write_text("experiment: {tool_name: t}\noptimiser: {type: random}\n")
        with pytest.raises(InvalidBody, match="'optimiser' is no field"):
            read_submission(str(path))

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.json", "{", "is no JSON"),
            ("x.yaml", "a: [", "neither"),
            ("x.yaml", "", "holds nothing"),
            ("x", "[1]", "a list"),
        ],
    )
    def test_a_file_that_is_no_experiment_says_so(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(InvalidBody, match=message):
            read_submission(str(tmp_path / name))

    def test_a_file_that_cannot_be_read_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidBody, match="No such file"):
            read_submission(str(tmp_path / "missing.json"))

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("random", {"type": "random"}),
            ("random:n_iter=20, seed=1", {"type": "random", "n_iter": 20, "seed": 1}),
            ("grid:num_configs_per_param=[3,4]", {"type": "grid", "num_configs_per_param": [3, 4]}),
            ("tpe:n_iter=5,pruner=median", {"type": "tpe", "n_iter": 5, "pruner": "median"}),
        ],
    )
    def test_an_optimizer_may_be_written_inline(self, given: str, meant: dict[str, Any]) -> None:
        assert read_optimizer(given) == meant

    def test_an_optimizer_may_be_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "o.yaml"
        path.write_text("optimizer: {type: tpe, n_iter: 3}")
        assert read_optimizer(str(path)) == {"type": "tpe", "n_iter": 3}

    @pytest.mark.parametrize("given", ["missing.json", "random:20", "a b", ""])
    def test_what_is_neither_is_refused(self, given: str) -> None:
        with pytest.raises(InvalidOptimizer, match="neither a file"):
            read_optimizer(given)


class TestLists:
    def test_jobs_are_listed(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs", Reply({"jobs": [job(progress=PROGRESS)], "next_cursor": None}))
        shown = run("jobs", "--state", "running", url=server.url)
        assert "job-1" in shown.stdout
        assert "4/4" in shown.stdout
        assert server.received[0].query == {"status": "started", "limit": "50"}
        assert document(run("jobs", "--json", url=server.url))[0]["job_id"] == "job-1"

    def test_no_jobs_are_an_empty_list(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs", Reply({"jobs": [], "next_cursor": None}))
        assert document(run("jobs", "--json", url=server.url)) == []
        assert run("jobs", url=server.url).stderr == "no jobs\n"

    def test_experiments_trials_and_the_best_are_listed(self, server: StandIn) -> None:
        server.on("GET /api/v1/experiments", Reply({"experiments": [experiment()], "next_cursor": None}))
        server.on("GET /api/v1/experiments/1/trials", Reply({"trials": [trial(0), trial(1)], "next_cursor": None}))
        server.on("GET /api/v1/experiments/1/best", Reply(trial(0)))
        assert "minimize wall_time_s" in run("experiments", url=server.url).stdout
        assert "s=0.25 mode=a" in run("trials", "1", "--order", "value", url=server.url).stdout
        assert server.received[-1].query == {"order": "value", "limit": "50"}
        assert "wall_time_s=0.5" in run("best", "1", url=server.url).stdout
        assert document(run("best", "1", "--json", url=server.url))["number"] == 0

    def test_samplers_and_pruners_are_listed_with_their_options(self, server: StandIn) -> None:
        options = {"n": {"type": "integer", "default": 10, "description": "Random trials first."}, "m": {}}
        one = {"name": "tpe", "description": "A model.", "fields": ["n_iter"], "options": options}
        can = dict.fromkeys(("multi_objective", "constraints", "mixed_spaces", "conditional_spaces"), True)
        missing = {**one, **can, "name": "gp", "available": False, "remedy": "pip install torch"}
        server.on("GET /api/v1/samplers", Reply({"samplers": [{**one, **can}, missing]}))
        server.on("GET /api/v1/pruners", Reply({"pruners": [{**one, "multi_objective": False}]}))
        assert "Not installed: pip install torch" in run("samplers", url=server.url).stdout
        assert "Random trials first." in run("samplers", "tpe", url=server.url).stdout
        assert document(run("pruners", "tpe", "--json", url=server.url))["name"] == "tpe"
        assert run("samplers", "tpee", url=server.url).exit_code == 4

    def test_markup_in_names_is_printed_as_it_is(self, server: StandIn) -> None:
        server.on(
            "GET /api/v1/experiments", Reply({"experiments": [experiment(name="[red]x[/]")], "next_cursor": None})
        )
        assert "[red]x[/]" in run("experiments", url=server.url).stdout


class TestJobs:
    @pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
    def test_a_job_is_steered(self, server: StandIn, verb: str) -> None:
        server.on(f"POST /api/v1/jobs/job-1/{verb}", Reply(enveloped(status="paused", message="as asked"), 202))
        assert run(verb, "job-1", url=server.url).stdout == "job-1 paused (as asked)\n"
        assert document(run(verb, "job-1", "--json", url=server.url))["job_status"] == "paused"

    def test_a_job_is_shown_with_its_error(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs/job-1", Reply(enveloped(status="failed", job_exc_info="Traceback [1]")))
        shown = run("job", "job-1", url=server.url)
        assert shown.exit_code == 0
        assert "Traceback [1]" in shown.stdout

    def test_watch_with_json_prints_events_line_by_line(self, server: StandIn) -> None:
        data = json.dumps({"state": "succeeded"})
        events = Reply(
            chunks=(f"id: 1\nevent: state\ndata: {data}\n\n",), headers={"Content-Type": "text/event-stream"}
        )
        server.on("GET /api/v1/jobs/job-1/events", events)
        shown = run("watch", "job-1", "--json", url=server.url)
        assert shown.exit_code == 0
        assert [json.loads(line)["seq"] for line in shown.stdout.splitlines()] == [1]

    def test_logs_are_printed_as_they_are(self, server: StandIn) -> None:
        server.on("GET /api/v1/jobs/job-1/logs", Reply(chunks=("[bold]one\n", "two\n")))
        assert run("logs", "job-1", "--trial", "3", "-f", url=server.url).stdout == "[bold]one\ntwo\n"
        assert server.received[-1].query == {"trial": "3", "follow": "true"}


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A whole trial, as the platform answers with it."""
    return {
        "number": number, "state": "complete", "params": {"s": 0.25, "mode": "a" if number % 2 else 1},
        "values": [0.5 + number], "metrics": {"exit_code": 0.0}, "started_at": TIME, "ended_at": TIME,
        "intermediate_values": [{"metric": "wall_time_s", "step": 1, "value": "nan"}], "job_id": "job-1",
    } | changes  # fmt: skip


class TestExport:
    @pytest.fixture(autouse=True)
    def _records(self, server: StandIn) -> None:
        failed = record(3, state="failed", values=None, metrics={}, error="exit 1\nx", intermediate_values=[])
        page = {"records": [*map(record, range(3)), failed], "study": {}, "next_cursor": None}
        server.on("GET /api/v1/experiments/1/records", Reply(page))

    def test_csv_has_a_row_per_trial(self, server: StandIn, tmp_path: Path) -> None:
        file = tmp_path / "trials.csv"
        assert document(run("export", "1", "-o", str(file), "--json", url=server.url)) == {"file": str(file), "rows": 4}
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
        assert rows[1]["param.s"] == "0.25"
        assert rows[1]["param.mode"] == "a"
        assert rows[1]["value.wall_time_s"] == "1.5"
        assert rows[1]["metric.exit_code"] == "0.0"
        assert rows[1]["started_at"] == "2026-01-02T03:04:05.000000Z"
        assert (rows[3]["value.wall_time_s"], rows[3]["error"]) == ("", "exit 1\nx")
        beside = ["trials.csv", "trials.experiment.json", "trials.measurements.csv"]
        assert sorted(path.name for path in tmp_path.iterdir()) == beside
        reported = (tmp_path / "trials.measurements.csv").read_text().splitlines()
        assert reported[:2] == ["number,metric,step,value", "0,wall_time_s,1,nan"]

    def test_parquet_keeps_types_and_mixed_choices_become_text(self, server: StandIn, tmp_path: Path) -> None:
        file = tmp_path / "trials.parquet"
        assert run("export", "1", "-o", str(file), url=server.url).exit_code == 0
        table = parquet.read_table(file)
        types = {name: str(table.schema.field(name).type) for name in table.column_names}
        assert types["number"] == "int64"
        assert types["param.s"] == "double"
        assert types["param.mode"] == "string"
        assert types["value.wall_time_s"] == "double"
        assert types["started_at"] == "timestamp[us, tz=UTC]"
        assert table.column("param.mode").to_pylist() == ["1", "a", "1", "a"]
        measured = parquet.read_table(tmp_path / "trials.measurements.parquet")
        assert {name: str(measured.schema.field(name).type) for name in measured.column_names} == {
            "number": "int64", "metric": "string", "step": "int64", "value": "double"
        }  # fmt: skip

    def test_another_ending_or_no_directory_is_refused_and_nothing_is_left(
        self, server: StandIn, tmp_path: Path
    ) -> None:
        for path in (tmp_path / "trials.xls", tmp_path / "missing" / "trials.csv", tmp_path / "missing" / "x.log"):
            assert run("export", "1", "-o", str(path), url=server.url).exit_code == 2
        assert list(tmp_path.iterdir()) == []


class TestInstallation:
    def test_settings_show_value_and_meaning_but_no_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUNESMITH_DATABASE_URL", "postgresql://me:geheim@db/tunes?password=geheim&sslmode=require")
        monkeypatch.setenv("TUNESMITH_STORAGE", "s3://key:geheim@bucket/prefix")
        monkeypatch.setenv("TUNESMITH_API_KEY", "geheim-geheim-geheim")
        monkeypatch.setenv("TUNESMITH_ADMIN_PASSWORD", "geheim-geheim-geheim")
        rows = {row["variable"]: row for row in document(run("settings", "--json"))}
        assert set(rows) == {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
        assert all(row["meaning"] for row in rows.values())
        assert rows["TUNESMITH_DATABASE_URL"]["value"] == "postgresql://me:***@db/tunes?password=***&sslmode=require"
        assert rows["TUNESMITH_STORAGE"]["value"] == "s3://key:***@bucket/prefix"
        assert rows["TUNESMITH_API_KEY"]["value"] == rows["TUNESMITH_ADMIN_PASSWORD"]["value"] == "***"
        assert "geheim" not in run("settings").output

    def test_the_database_is_upgraded_once(self) -> None:
        before = document(run("db", "current", "--json"))
        assert before["revision"] is None
        assert document(run("db", "upgrade", "--json"))["revision"] == before["newest"]
        after = document(run("db", "current", "--json"))
        assert after["revision"] == after["newest"]

    def test_the_doctor_says_what_fails_and_what_to_do(self, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        port = server.url.rpartition(":")[2]
        monkeypatch.setenv("TUNESMITH_PORT", port)
        shown = run("doctor", "--json")
        found = {row["check"]: row for row in json.loads(shown.stdout)}
        assert shown.exit_code == 1
        assert found["port"]["level"] == "fail"
        assert "--port" in found["port"]["remedy"]
        assert found["python"]["level"] == found["storage"]["level"] == "ok"
        monkeypatch.setenv("TUNESMITH_PORT", "0")
        assert run("doctor").exit_code == 0


class TestPlatform:
    @pytest.fixture(autouse=True)
    def _stand_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        package = tmp_path / "path" / "serve_app"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "up.py").write_text(PLATFORM)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        yield
        monkeypatch.setattr("tunesmith.cli.launch.STOP_S", 0.5)
        run("down")

    def test_it_starts_in_the_background_once_and_stops(self, tmp_path: Path) -> None:
        started = document(run("up", "--detach", "--port", "0", "--json"))
        assert started["status"] == "running"
        assert started["docs"] == started["url"] + "/docs"
        assert started["dashboard"] == "http://127.0.0.1:8265"
        again = document(run("up", "--json"))
        assert (again["status"], again["url"]) == ("already running", started["url"])
        assert document(run("down", "--json")) == {"stopped": True, "killed": False, "pid": started["pid"]}
        assert not (tmp_path / "data" / "run.json").exists()
        stopped = run("down")
        assert (stopped.exit_code, stopped.stderr) == (0, f"nothing runs in {tmp_path / 'data'}\n")

    def test_a_start_that_fails_shows_the_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAND_IN", "broken")
        shown = run("up", "--detach", "--port", "0")
        assert shown.exit_code == 1
        assert "no port for me" in shown.stderr
        assert "ended with exit code 1" in shown.stderr

    def test_one_that_does_not_stop_is_killed_with_all_that_it_started(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STAND_IN", "stubborn")
        assert run("up", "-d", "--port", "0").exit_code == 0
        monkeypatch.setattr("tunesmith.cli.launch.STOP_S", 0.3)
        shown = run("down")
        assert shown.exit_code == 0
        assert "was killed" in shown.stderr
        assert ends(int((tmp_path / "data" / "child").read_text()))
        assert not (tmp_path / "data" / "run.json").exists()

    def test_in_the_foreground_it_becomes_the_server(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "tunesmith.cli", "up", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "starting\n"
            run_file = tmp_path / "data" / "run.json"
            while not run_file.exists() or not run_file.read_text():
                time.sleep(0.02)
            assert json.loads(run_file.read_text())["pid"] == process.pid
            process.terminate()
        assert process.returncode == 0

    def test_status_without_a_platform_is_3(self) -> None:
        assert run("status", url="http://127.0.0.1:9").exit_code == 3


def test_status_names_the_platform_and_counts_its_jobs(server: StandIn) -> None:
    health = {"status": "healthy", "timestamp": "2026-01-02T03:04:05Z", "service": "tunesmith", "version": "0.1.0"}
    server.on("GET /health", Reply(health | {"database_connected": True}))
    server.on("GET /api/v1/jobs", Reply({"jobs": [job()], "next_cursor": None}))
    found = document(run("status", "--json", url=server.url))
    assert found == {"url": server.url, "health": "healthy", "jobs": {"running": 1, "queued": 1}}
