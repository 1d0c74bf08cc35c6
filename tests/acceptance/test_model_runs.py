"""Model runs on a whole platform: the document's script as it is printed, our own page's, and models of one's own."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from running import Platform, until

from tunesmith import Client
from tunesmith.errors import InvalidParameter, ModelNotFound, NoResults, StateForbids

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "tests" / "data" / "model_runs_document.md").read_text()
PAGE = (ROOT / "docs" / "model_runs.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("jq") is None, reason="the document's script needs jq; install it"),
]


def shell_block(text: str, heading: str) -> str:
    section = re.split(rf"^#+ {heading}$", text, flags=re.MULTILINE)[1]
    found = BLOCK.search(section)
    assert found
    assert found.group(1) == "bash"
    return found.group(2)


def values(text: str) -> list[Any]:
    """JSON values that stand one after the other."""
    found = []
    while text := text.strip():
        value, end = json.JSONDecoder().raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@pytest.fixture
def here(client: Client) -> Client:
    return client


@pytest.fixture
def bash(shared: Platform, tmp_path: Path) -> Any:
    """Runs a script as it is printed: curl finds the platform where the script says http://localhost:8000."""
    (tmp_path / ".curlrc").write_text(f'connect-to = "localhost:8000:{urlsplit(shared.url).netloc}"\n')
    quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**quiet, "CURL_HOME": str(tmp_path), "TUNESMITH_URL": shared.url, "PATH": path}

    def run(script: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        ended = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def test_the_documents_script_runs_as_it_is_printed(bash: Any) -> None:
    text = bash(shell_block(DOCUMENT, r"End.to.End Example \(Shell\)"))
    listed, _, rest = text.partition("run_id=")
    run_id, _, rest = rest.partition("\n")
    models = json.loads(listed)["models"]
    printed = json.loads(next(code for language, code in BLOCK.findall(DOCUMENT) if language == "json"))["models"]
    assert [model for model in models if model in printed] == printed
    *statuses, results = values(rest)
    assert [status["run_id"] for status in statuses] == [run_id] * len(statuses)
    percents = [status["progress"] for status in statuses]
    assert percents == sorted(percents)
    assert (results["run_id"], len(results["rows"]), results["summary"]["rows"]) == (run_id, 20, 20)
    assert list(results["rows"][0]) == ["region", "year", "kpi", "value"]
    mean = sum(row["value"] for row in results["rows"]) / 20
    assert results["summary"]["avg_value"] == pytest.approx(mean, abs=1e-5)


def test_the_blocks_of_our_own_page_run(bash: Any, tmp_path: Path) -> None:
    text = bash(shell_block(PAGE, "First use"))
    models, status, rest = text.partition('"status": "succeeded"')
    assert '"simulator"' in models
    assert status
    assert "region,year,kpi,value,p10,p50,p90\n" in rest
    assert len(rest.partition("region,year,kpi")[2].splitlines()) == 21
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 20
    commands = next(code for language, code in BLOCK.findall(PAGE) if code.startswith("tunesmith runs models"))
    assert "succeeded, 100 %" in bash(commands)
    script = next(code for language, code in BLOCK.findall(PAGE) if code.startswith("from tunesmith import Client"))
    assert "succeeded" in bash(f"python - <<'EOF'\n{script}EOF\n")


@pytest.mark.parametrize("model", ["linear_reg", "xgb_forecast", "simulator"])
def test_rows_table_csv_and_summary_agree(here: Client, model: str) -> None:
    inputs = {"region": "APAC", "year": 2024, "parameter_set": "optimistic", "seed": 3}
    first, second = (here.runs.submit(model, inputs).wait(60, raise_on_failure=True) for _ in range(2))
    rows = first.rows()
    assert rows == second.rows() == first.table().to_pylist()
    assert len(rows) == first.summary()["rows"] == len(first.frame()) == 20
    text = list(csv.DictReader(first.download("csv").decode().splitlines()))
    assert [float(row["value"]) for row in text] == [row["value"] for row in rows]
    assert first.info.message == "Processing step 10/10" or first.info.progress == 100
    assert first.info.submitted_by == "anonymous"


def test_a_model_of_ones_own_tells_its_progress_and_its_pages_are_followed(here: Client) -> None:
    told: list[tuple[int, str | None]] = []
    run = here.runs.submit("slow").wait(60, True, lambda one: told.append((one.progress, one.message)))
    percents = [percent for percent, _ in told]
    assert percents == sorted(percents)
    assert len({percent for percent in percents if 0 < percent < 100}) >= 2
    assert any(message and message.startswith("step ") for _, message in told)
    assert len(run.rows()) == 2500
    assert run.summary() == {"rows": 2500, "avg_value": 1249.5 / 2}


def test_the_model_of_our_page_earns_less_each_month(here: Client) -> None:
    found = here.runs.submit("churn", {"customers": 1000}).wait(60, raise_on_failure=True).frame()
    assert list(found.columns) == ["month", "customers", "value"]
    assert found["value"].is_monotonic_decreasing
    assert found["customers"].iloc[-1] == pytest.approx(1000 * 0.99**12)


def test_what_a_model_raises_is_the_runs_message(here: Client) -> None:
    run = here.runs.submit("failing", {"x": 2}).wait(60)
    assert (run.info.status, run.info.message) == ("failed", "ValueError: no, not 2.0")
    with pytest.raises(NoResults, match="no, not"):
        run.rows()


def test_a_run_that_is_cancelled_stops_soon(here: Client) -> None:
    run = here.runs.submit("slow", {"steps": 600})
    until(lambda: run.status().progress > 0)
    run.cancel()
    until(lambda: run.status().status == "failed", timeout_s=5)
    assert "cancel" in str(run.status().message)
    with pytest.raises(StateForbids):
        run.cancel()


def test_refusals_name_the_nearest(here: Client) -> None:
    with pytest.raises(ModelNotFound, match="linear_reg"):
        here.runs.submit("linear_regg", {})
    with pytest.raises(InvalidParameter, match="region"):
        here.runs.submit("linear_reg", {"regoin": "NA"})


@pytest.mark.slow
def test_runs_of_a_plugin_survive_the_death_of_the_platform(tmp_path: Path) -> None:
    """A run that was cut off is run again by the next platform; the plugin lies where `tunesmith up` was called."""
    shutil.copy(Path(__file__).with_name("own_models.py"), tmp_path)
    platform = Platform(tmp_path / "data", TUNESMITH_NUM_CPUS="1")
    command = [sys.executable, "-m", "tunesmith.cli", "up", "--plugin", "own_models:models", "--detach"]

    def up() -> None:
        with (tmp_path / "up.log").open("ab") as log:
            subprocess.run(command, cwd=tmp_path, env=platform.environ, stdout=log, stderr=log, check=True, timeout=150)

    try:
        up()
        with Client(platform.url) as client:
            run_id = client.runs.submit("slow").id
            until(lambda: client.runs.get(run_id).info.progress > 0)
        platform.kill()
        up()
        with Client(platform.url) as client:
            assert len(client.runs.get(run_id).wait(90, raise_on_failure=True).rows()) == 2500
    finally:
        platform.kill()
