"""The page on algorithms is a file that runs as it is printed, also as a plugin and as an application."""

from __future__ import annotations

import ast
import importlib
import io
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tunesmith.plugins import Registry, find_plugin
from tunesmith.scenarios import ApiConfiguration, ApiLauncher

PAGE = Path(__file__).resolve().parents[2] / "docs" / "algorithms.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's file, imported."""
    (tmp_path / "loading.py").write_text("".join(BLOCKS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loading", raising=False)
    yield importlib.import_module("loading")
    sys.modules.pop("loading")


def test_the_blocks_print_what_they_promise(loading: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.reload(loading)
    trucks, shown = capsys.readouterr().out.splitlines()
    assert trucks == "3 trucks"
    assert [(kpi["name"], kpi["value"], kpi["success"]) for kpi in ast.literal_eval(shown)] == [
        ("Trucks", 3.0, None),
        ("Average load", pytest.approx(25 / 3), True),
    ]


def test_the_message_of_the_page_is_the_one_that_is_given(loading: ModuleType) -> None:
    with pytest.raises(Exception, match="capacity") as refusal:
        loading.Loading.make({"capacity": 41})
    assert f"`{refusal.value}`" in PAGE.read_text()


def test_the_plugin_of_the_page_is_found_by_its_reference(loading: ModuleType) -> None:
    registry = Registry.of(find_plugin("loading:plugin"), "loading:plugin")
    assert (list(registry.algorithms), list(registry.kpis)) == (["Loading"], ["Trucks", "Average load"])
    assert registry.data_source is loading.Forecast
    assert type(registry.etl_factory) is loading.Cleaning


def test_the_application_of_the_page_loads_what_is_uploaded(loading: ModuleType) -> None:
    configuration: ApiConfiguration = loading.configuration
    with TestClient(ApiLauncher.build(configuration)) as client:
        base = f"/api/v1/sessions/{client.get('/api/v1/sessions').json()['default']}"
        assert client.get(f"{base}/data").json() == {"keys": ["monday"]}
        orders = b"order,pallets,status\n1,9,open\n2,3,cancelled\n3,1,open\n"
        answer = client.post(
            f"{base}/etl", data={"dataset_name": "tuesday"}, files={"files": ("orders.csv", io.BytesIO(orders))}
        ).json()
        assert (answer["success"], answer["keys"]) == (True, ["monday", "tuesday"]), answer
        done = run(client, base, dataset_key="tuesday", algo_name="Loading", algo_params={"capacity": 9})
        assert [row["truck"] for row in done["result"]] == [0, 1]
        assert done["kpis"]["Trucks"]["value"] == 2
        failed = run(client, base, dataset_key="tuesday", algo_name="Loading", algo_params={"capacity": 8})
        assert failed["result"] == {"error": "ValueError: an order of 9 pallets fits into no truck of 8"}


def run(client: TestClient, base: str, **asked: Any) -> dict[str, Any]:
    made = client.post(f"{base}/scenarios", json={"tag": str(asked), **asked}).json()
    assert client.post(f"{base}/scenarios/{made['id']}/run").status_code == 202
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = client.get(f"{base}/scenarios/{made['id']}").json()
        if found["status"] in ("complete", "failed"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
