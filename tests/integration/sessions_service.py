"""The application with the plugin of tests, which runs its own jobs; and what tests of it ask again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from planning import plugin

from serve_app.app import build
from serve_app.embedded import Embedded
from tunesmith.plugins import Registry
from tunesmith.settings import Settings
from tunesmith.store import Store

SESSIONS = "/api/v1/sessions"
MAIN = f"{SESSIONS}/main"
DATASET = {
    "metadata": {
        "id": "3b9f1c1e-0000-4000-8000-000000000001",
        "name": "base",
        "type": "master",
        "creation_datetime": "2026-01-31T12:00:00.000Z",
        "tables": ["orders"],
    },
    "tables": {
        "orders": {
            "data": [{"order": 1, "pallets": 3}, {"order": 2, "pallets": 4}],
            "columns": ["order", "pallets"],
            "dtypes": {"order": "int64", "pallets": "int64"},
            "index": [0, 1],
        }
    },
}
PATIENCE_S = 60.0


@contextmanager
def working(settings: Settings, store: Store) -> Iterator[FastAPI]:
    """The application, its jobs run by threads of this process for as long as the block runs."""
    engine = Embedded(store, settings)
    app = build(settings, engine, store, Registry.of(plugin, "planning:plugin"))
    engine.start(alone=True)
    try:
        yield app
    finally:
        engine.stop()


def dataset(name: str, **metadata: Any) -> dict[str, Any]:
    """The JSON of a dataset of this name."""
    return DATASET | {"metadata": {**DATASET["metadata"], "name": name, **metadata}}


def stored(api: Any, name: str = "base", session: str = MAIN) -> str:
    """The name of a dataset that is there now."""
    answer = api.post(f"{session}/data/from-json", json=dataset(name))
    assert answer.status_code == 201, answer.text
    return name


def made(api: Any, algorithm: str = "Plan", session: str = MAIN, tag: str | None = None, **params: Any) -> str:
    """The path of a new scenario over the dataset `base`."""
    body = {"tag": tag or f"{algorithm} {params}", "dataset_key": "base", "algo_name": algorithm, "algo_params": params}
    answer = api.post(f"{session}/scenarios", json=body)
    assert answer.status_code == 201, answer.text
    return f"{session}/scenarios/{answer.json()['id']}"


def begun(api: Any, path: str) -> str:
    """The scenario's path, once it runs."""
    assert api.post(f"{path}/run").status_code == 202
    until(api, path, "processing")
    return path


def finished(api: Any, path: str) -> dict[str, Any]:
    """The scenario after its run."""
    answer = api.post(f"{path}/run")
    assert answer.status_code == 202, answer.text
    until(api, path, "complete", "failed")
    return dict(api.get(path).json())


def until(api: Any, path: str, *statuses: str) -> dict[str, Any]:
    """The scenario's status, as soon as it is one of these."""
    end = time.monotonic() + PATIENCE_S
    while (status := api.get(f"{path}/status").json())["status"] not in statuses:
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return dict(status)


def refused(answer: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The one error body of a refusal."""
    assert answer.status_code == status, answer.text
    body = dict(answer.json())
    assert set(body) >= {"error", "detail", "error_type", "code", "details"}
    assert body["error"] == body["detail"]
    assert code in (None, body["code"]), body
    return body
