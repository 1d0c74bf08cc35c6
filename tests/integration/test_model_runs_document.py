"""The calls of the model runs' own document, as it prints them, with curl and jq; its script is run elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.conftest import served
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.tables import model_runs

DOCUMENT = (Path(__file__).parents[1] / "data" / "model_runs_document.md").read_text()
SECTION = re.compile(r"^### \d\) (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLS = {title: BLOCK.findall(text) for title, text in SECTION.findall(DOCUMENT)}
PRINTED_ID = "uuid-1234"

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="the document's calls need jq; install it")


@pytest.fixture
def environ(settings: Settings, sqlite_store: Store, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment where curl finds a platform that computes where the document says http://localhost:8000."""
    engine = Embedded(sqlite_store, settings)
    with served(build(settings, engine, sqlite_store)) as url:
        (tmp_path / ".curlrc").write_text(f'connect-to = "localhost:8000:{urlsplit(url).netloc}"\n')
        quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        engine.start(alone=True)
        try:
            yield {**quiet, "CURL_HOME": str(tmp_path)}
        finally:
            engine.stop()


def call(environ: dict[str, str], title: str) -> dict[str, Any]:
    (script,) = (code for language, code in CALLS[title] if language == "bash")
    ended = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, env=environ, timeout=30)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def printed(title: str) -> dict[str, Any]:
    """The answer that the document prints."""
    return dict(json.loads([code for language, code in CALLS[title] if language == "json"][-1]))


def test_every_call_answers_as_it_is_printed(environ: dict[str, str], sqlite_store: Store) -> None:
    assert call(environ, "List Models") == printed("List Models")
    made = call(environ, "Submit Run")
    assert made == {**printed("Submit Run"), "run_id": made["run_id"]}
    limit = time.monotonic() + 60
    while True:
        with sqlite_store.read() as tx:
            if tx.run(made["run_id"]).state.ended:
                break
        assert time.monotonic() < limit
        time.sleep(0.05)
    with sqlite_store.write() as tx:
        tx.connection.execute(model_runs.update().values(id=PRINTED_ID))
    status = call(environ, "Run Status")
    assert status.keys() >= printed("Run Status").keys()
    assert (status["run_id"], status["status"], status["progress"]) == (PRINTED_ID, "succeeded", 100)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status["started_at"])
    results = call(environ, "Run Results")
    assert results.keys() >= printed("Run Results").keys()
    assert results["summary"]["rows"] == printed("Run Results")["summary"]["rows"] == len(results["rows"])
    assert results["rows"][0].items() >= {"region": "NA", "year": 2024, "kpi": "revenue"}.items()
    assert results["rows"][0].keys() == printed("Run Results")["rows"][0].keys()
    assert len(CALLS) == 4
