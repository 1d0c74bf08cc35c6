"""The calls of the training jobs' own document, as it prints them: real curl, `requests`, `httpx`, bash."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.app import build
from tests.integration.conftest import served
from tunesmith.domain import JobState
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.tables import training_jobs
from tunesmith.testing.training_contract import claim, finish

DOCUMENT = (Path(__file__).parents[1] / "data" / "training_document.md").read_text()
PAGE = (Path(__file__).parents[2] / "docs" / "training_jobs.md").read_text()
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {title: code for title, text in SECTION.findall(DOCUMENT) for code in BLOCK.findall(text)}
PRINTED, PRINTED_ID = "http://localhost:8000", "train-a1b2c3d4"
ENVIRONMENT = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def url(settings: Settings, store: Store) -> Iterator[str]:
    with served(build(settings, store=store)) as url:
        yield url


@pytest.fixture
def job(url: str, store: Store) -> dict[str, Any]:
    """The document's job, under the document's id."""
    (made,) = curl(url, "Create a Training Job")
    with store.write() as tx:
        tx.connection.execute(training_jobs.update().values(id=PRINTED_ID))
    return dict(made)


def parts(title: str) -> tuple[str, Any]:
    """The commands of a block, and the response below them; what it leaves out with `...` is left out."""
    commands, _, response = BLOCKS[title].partition("# Response")
    text = re.sub(r",?\s*\.\.\.", "", response.partition("\n")[2])
    return commands, json.loads(text) if text.strip() else None


def bash(script: str) -> str:
    return subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout


def curl(url: str, title: str) -> list[Any]:
    """The answers to the commands of a block."""
    return split(bash(parts(title)[0].replace(PRINTED, url)))


def split(text: str) -> list[Any]:
    """JSON values that stand one after the other."""
    found = []
    while text := text.strip():
        answer, end = json.JSONDecoder().raw_decode(text)
        found.append(answer)
        text = text[end:]
    return found


def has_shape(answer: Any, printed: Any) -> None:
    """The answer has every field that the document prints, of the same kind."""
    for name, value in printed.items():
        if isinstance(value, dict):
            has_shape(answer[name], value)
        elif value is not None and answer[name] is not None:
            assert isinstance(answer[name], type(value)), name
        else:
            assert name in answer


def execute(store: Store, to: JobState) -> None:
    (claimed,) = claim(store)
    finish(store, claimed, to, None if to is JobState.SUCCEEDED else "exit code 1")


def script(url: str, title: str) -> list[str]:
    code = BLOCKS[title].replace(PRINTED, url)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_health(url: str) -> None:
    (answer,) = curl(url, "Health Check")
    has_shape(answer, parts("Health Check")[1])
    assert (answer["status"], answer["database_connected"]) == ("healthy", True)


def test_create(url: str) -> None:
    (answer,) = curl(url, "Create a Training Job")
    printed = parts("Create a Training Job")[1]
    has_shape(answer, printed)
    theirs = {"job_id", "created_at", "updated_at"}
    assert answer.items() >= {name: value for name, value in printed.items() if name not in theirs}.items()
    assert re.fullmatch(r"train-[0-9a-f]{8}", answer["job_id"])


def test_list(url: str, job: dict[str, Any]) -> None:
    every, completed, paged = curl(url, "List All Jobs")
    printed = parts("List All Jobs")[1]
    has_shape(every, printed)
    assert every["jobs"][0].items() >= {**printed["jobs"][0], "name": job["name"]}.items()
    assert (every["total"], every["page"], every["page_size"]) == (1, 1, 50)
    assert (completed["jobs"], completed["total"]) == ([], 0)
    assert (len(paged["jobs"]), paged["page_size"]) == (1, 10)


def test_details(url: str, store: Store, job: dict[str, Any]) -> None:
    bash(f"curl -s -X POST {url}/jobs/{PRINTED_ID}/run")
    execute(store, JobState.SUCCEEDED)
    (answer,) = curl(url, "Get Job Details")
    has_shape(answer, parts("Get Job Details")[1])
    assert (answer["status"], answer["job_id"]) == ("completed", PRINTED_ID)
    assert answer["started_at"] <= answer["completed_at"]


def test_update(url: str, job: dict[str, Any]) -> None:
    (answer,) = curl(url, "Update a Job")
    assert (answer["schedule"], answer["max_retries"]) == ("0 3 * * *", 5)
    assert answer["command"] == job["command"]


def test_delete(url: str, job: dict[str, Any]) -> None:
    commands = parts("Delete a Job")[0].replace(PRINTED, url)
    assert bash(commands.replace("curl ", "curl -w '%{http_code}' ")) == "204"
    assert json.loads(bash(f"curl -s {url}/jobs"))["total"] == 0


def test_retry(url: str, store: Store, job: dict[str, Any]) -> None:
    bash(f"""curl -s -X PUT {url}/jobs/{PRINTED_ID} -H "Content-Type: application/json" -d '{{"max_retries": 0}}'""")
    bash(f"curl -s -X POST {url}/jobs/{PRINTED_ID}/run")
    execute(store, JobState.FAILED)
    assert json.loads(bash(f"curl -s {url}/jobs/{PRINTED_ID}"))["error_message"] == "exit code 1"
    (answer,) = curl(url, "Retry a Failed Job")
    assert answer.items() >= parts("Retry a Failed Job")[1].items()


def test_stats(url: str, job: dict[str, Any]) -> None:
    (answer,) = curl(url, "Get Statistics")
    has_shape(answer, parts("Get Statistics")[1])
    assert (answer["total_jobs"], answer["pending"]) == (1, 1)


def test_requests(url: str) -> None:
    created, total, status, deleted = script(url, "Using `requests` library")
    assert re.fullmatch(r"Created job: train-[0-9a-f]{8}", created)
    assert (total, status, deleted) == ("Total jobs: 1", "Job status: pending", "Deleted job: True")


def test_httpx(url: str) -> None:
    created, stats = script(url, "Using `httpx` (async)")
    assert created.startswith("Created job: train-")
    assert "'total_jobs': 1, 'pending': 1" in stats


def test_errors(url: str) -> None:
    body = json.loads(bash(f"curl -s {url}/jobs/{PRINTED_ID}"))
    has_shape(body, json.loads(BLOCKS["Error Handling"]))


def test_github_actions(url: str) -> None:
    (step,) = yaml.safe_load(BLOCKS["CI/CD Pipeline (GitHub Actions)"])["jobs"]["trigger-training"]["steps"]
    sha = "3d6c119e0f5a4b7c8d9e0f1a2b3c4d5e6f708192"
    run = step["run"].replace("${{ secrets.ORCHESTRATOR_URL }}", url).replace("${{ github.sha }}", sha)
    answer = json.loads(bash(run))
    assert (answer["name"], answer["image"]) == (f"model-training-{sha}", f"gcr.io/my-project/trainer:{sha}")
    assert answer["next_run_at"] is not None


def test_monitoring(url: str, store: Store) -> None:
    body = json.dumps({"name": "fails", "command": ["false"], "max_retries": 0})
    bash(f"curl -s {url}/jobs -H 'Content-Type: application/json' -d '{body}'")
    execute(store, JobState.FAILED)
    code = BLOCKS["Monitoring Script"].replace(PRINTED, url)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline() == "Running: 0, Failed: 1\n"
            assert "Failed jobs detected!" in watching.stdout.readline()
        finally:
            watching.kill()


def play_runner(store: Store, *endings: JobState, until: Callable[[], bool]) -> None:
    """End the attempts of the one job as they come; `until`: nobody waits for them any more."""
    for to in endings:
        while not (claimed := claim(store)):
            assert not until()
            time.sleep(0.05)
            with store.write() as tx:
                tx.wake_retries()
        finish(store, claimed[0], to, None if to is JobState.SUCCEEDED else "exit code 1")


def test_the_first_use_that_our_own_page_shows(url: str, store: Store, tmp_path: Path) -> None:
    (block,) = re.findall(r"^## First use\n\n```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with ThreadPoolExecutor(1) as pool:
        walk = pool.submit(bash, f"cd {tmp_path}\n{block.replace(PRINTED, url)}")
        play_runner(store, JobState.FAILED, JobState.SUCCEEDED, until=walk.done)
        text = walk.result(60)
    assert "==> attempt 2 of execution 1 (completed) <==" in text
    made, fired, done, executions, changed, paused, resumed, stats = split(re.sub(r"==> .*\n", "", text))
    statuses = [answer["status"] for answer in (made, fired, done, changed, paused, resumed)]
    assert statuses == ["pending", "pending", "completed", "completed", "paused", "completed"]
    assert [attempt["status"] for attempt in executions["executions"]] == ["completed", "failed"]
    assert (changed["schedule"], stats["total_jobs"]) == ("0 3 * * 1-5", 1)
    assert json.loads(bash(f"curl -s {url}/stats"))["total_jobs"] == 0


def test_the_search_that_our_own_page_shows(url: str, tmp_path: Path) -> None:
    (body,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "body.json").write_text(body)
    answer = json.loads(bash(f"curl -s {url}/jobs -H 'Content-Type: application/json' -d @{tmp_path}/body.json"))
    assert (answer["name"], answer["optimizer"]["n_iter"]) == ("weekly search", 50)


def test_every_block_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert len(BLOCKS) == len(re.findall(r"^```\w+$", DOCUMENT, re.MULTILINE))
    assert not [title for title in BLOCKS if f'"{title}"' not in source]
