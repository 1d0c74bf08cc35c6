"""A running platform, shared by a test session, and the means to start others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import PASSWORD, PLUGIN, Platform, module_of_page

from tunesmith import Client


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that many tests use, each with experiments or a session of its own; it has the pages' plugins too."""
    place = tmp_path_factory.mktemp("shared")
    shown = [module_of_page("model_runs", "churn", place), module_of_page("automl", "Centroids", place)]
    settings = {
        "PYTHONPATH": f"{PLUGIN['PYTHONPATH']}:{place}",
        "TUNESMITH_PLUGINS": ",".join([PLUGIN["TUNESMITH_PLUGINS"], "own_models:models", "weighing:plugin", *shown]),
        "TUNESMITH_ADMIN_PASSWORD": PASSWORD,
        "TUNESMITH_NUM_CPUS": "4",
        "TUNESMITH_PRICES": '{"*": 3600}',
    }
    with Platform(place / "data", **settings) as platform:
        yield platform


@pytest.fixture
def client(shared: Platform) -> Client:
    """A client of the shared platform."""
    return Client(shared.url)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Start further platforms, which end with the test."""
    started: list[Platform] = []

    def start_one(name: str = "data", **settings: str) -> Platform:
        platform = Platform(tmp_path / name, **settings)
        started.append(platform)
        return platform.start()

    yield start_one
    for platform in started:
        platform.close()
