"""The warehouse example's script: scenarios are compared, the best algorithm is tuned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import served

from tunesmith import Client
from tunesmith.plugins import find_plugin
from tunesmith.scenarios import ApiConfiguration, ApiLauncher

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.syspath_prepend(EXAMPLES)
    plugin = find_plugin("warehouse.plugin:plugin")
    configuration = ApiConfiguration(
        algorithms=plugin.algorithms, kpis=plugin.kpis, schemas=plugin.schemas, data_object_type=plugin.data_source
    )
    with served(ApiLauncher.build(configuration)) as url:
        yield url


def compare(url: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    command = [sys.executable, "-m", "warehouse.compare", "--trials", "4"]
    done = subprocess.run(
        command, cwd=EXAMPLES, env=inherited | {"TUNESMITH_URL": url}, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_script_compares_and_tunes_as_often_as_it_is_run(url: str) -> None:
    shown = [compare(url) for _ in range(2)]
    assert shown[0] == shown[1]
    (costs,) = re.findall(r"^Daily cost \(EUR/day\) +(.+)$", shown[0], re.MULTILINE)
    as_it_is, greedy, local, annealing, tuned = (float(cost.strip("* ")) for cost in costs.split())
    assert tuned <= annealing < greedy < as_it_is
    assert local < greedy
    with Client(url) as client:
        scenarios = client.sessions("warehouse example").scenarios.list()
        assert [scenario.tag for scenario in scenarios][-1] == "tuned"
        assert {scenario.info.status for scenario in scenarios} == {"complete"}
        assert client.sessions().name == "main"
