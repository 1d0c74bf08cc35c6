"""The examples run as their headers say."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from running import Platform, until

from tunesmith import Client

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TUNESMITH = str(Path(sys.executable).with_name("tunesmith"))

pytestmark = pytest.mark.timeout(300)


def clean_environment() -> dict[str, str]:
    """This process's, without settings of another platform, and with the commands of this environment first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_", "AWS_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment() | environment
    return subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=200)


def test_the_sleep_example_finds_the_shortest_sleep_by_grid(shared: Platform) -> None:
    ended = run(EXAMPLES / "sleep_example" / "run.sh", "grid", TUNESMITH_URL=shared.url, POLL_S="0.2")
    assert ended.returncode == 0, ended.stderr
    best = json.loads(ended.stdout.partition("best:\n")[2])
    assert [config["value"] for config in best["parameter_configs"]] == [1, 1]
    assert 2 <= best["outcome"] < 3


def test_the_sleep_example_runs_with_bayesopt(shared: Platform) -> None:
    ended = run(EXAMPLES / "sleep_example" / "run.sh", TUNESMITH_URL=shared.url, POLL_S="0.2")
    assert ended.returncode == 0, ended.stderr
    assert "finished: 4 of 4 trials" in ended.stdout


def test_the_curl_script_says_what_the_service_refuses(shared: Platform, tmp_path: Path) -> None:
    body = tmp_path / "experiment.json"
    body.write_text(json.dumps({"tool_name": "x", "parameters": [{"name": "a", "minimum": 2, "maximum": 1}]}))
    ended = run(EXAMPLES / "curl" / "run.sh", body, TUNESMITH_URL=shared.url)
    assert ended.returncode != 0
    assert "answered 400" in ended.stderr


def test_the_client_script_gets_near_a_minimum(shared: Platform) -> None:
    ended = run(sys.executable, EXAMPLES / "client" / "optimize.py", TUNESMITH_URL=shared.url)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("trial ") == 30
    (loss,) = re.findall(r"^best: loss (\S+) at", ended.stdout, re.MULTILINE)
    assert float(loss) < 40


def test_the_s3_example_stages_its_input_and_its_results(shared: Platform, s3: Any) -> None:
    s3.create_bucket(Bucket="example")
    s3.upload_file(str(shutil.which("bash")), "example", "in/input.bin")
    script = EXAMPLES / "s3_staging" / "run.py"
    ended = run(sys.executable, script, TUNESMITH_URL=shared.url, S3_URL="s3://example/in")
    assert ended.returncode == 0, ended.stderr
    results = s3.list_objects_v2(Bucket="example", Prefix="in/results/")["Contents"]
    sizes = {found["Key"].rpartition("/")[2]: found["Size"] for found in results}
    assert set(sizes) == {"1.gz", "5.gz", "9.gz"}
    assert re.search(r"^best: level 9, ", ended.stdout, re.MULTILINE)
    assert f"{min(sizes.values())} bytes" in ended.stdout


def readme_block(language: str) -> str:
    """The first one."""
    text = (ROOT / "README.md").read_text()
    return str(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0])


def test_the_ten_lines_of_the_readme_run(shared: Platform) -> None:
    ended = run(sys.executable, "-c", readme_block("python"), TUNESMITH_URL=shared.url)
    assert ended.returncode == 0, ended.stderr
    assert "level" in ended.stdout


def test_the_command_line_of_the_readme_runs_and_finds_the_same_experiment(shared: Platform, tmp_path: Path) -> None:
    file = tmp_path / "gzip.yaml"
    file.write_text(readme_block("yaml"))
    ended = run(TUNESMITH, "submit", file, "--optimizer", "tpe:n_iter=20", "--wait", TUNESMITH_URL=shared.url)
    assert ended.returncode == 0, ended.stderr
    with Client(shared.url) as client:
        assert len([found for found in client.experiments() if found.info.name == "gzip"]) == 1


@pytest.mark.slow
def test_the_demo_runs_beside_another_platform_and_leaves_nothing(shared: Platform, tmp_path: Path) -> None:
    demo = EXAMPLES / "compression" / "demo.py"
    ended = run(sys.executable, demo, DEMO_TRIALS="12", TMPDIR=str(tmp_path), COLUMNS="120")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for promised in ("REST docs", "Ray dashboard", "Pareto set", "smallest", "fastest", "smallest size so far"):
        assert promised in ended.stdout
    assert not list(tmp_path.glob("tunesmith-demo-*"))
    assert not re.search(r"Traceback|Error", ended.stderr)
    assert not processes_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("reached", ["a file of", "trials of codec"])
def test_the_demo_stops_what_it_started_on_ctrl_c(reached: str, tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(EXAMPLES / "compression" / "demo.py")]
    env = clean_environment() | {"DEMO_TRIALS": "2000", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert next((line for line in demo.stdout if reached in line), None)
        time.sleep(2)
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 130, rest
    assert not list(tmp_path.glob("tunesmith-demo-*"))
    until(lambda: not processes_of(tmp_path), 10)  # helpers of Ray's end a moment after their parents


def processes_of(temporary: Path) -> list[str]:
    """Command lines of processes that were started with this temporary directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temporary}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended, or is not ours
            continue
    return found
