"""A running platform, shared by a test session, and the means to start others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from running import PASSWORD, PLUGIN, Platform, module_of_page

from tests.images import ENGINE, OPTIONS
from tunesmith import Client

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The URL of a local S3 service, which the workers of the shared platform take for Amazon's."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str) -> Any:
    """A client of it."""
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=s3_url, **credentials)


@pytest.fixture(scope="session")
def shared(s3_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that many tests use, each with experiments or a session of its own; it has the pages' plugins too."""
    place = tmp_path_factory.mktemp("shared")
    shown = [module_of_page("model_runs", "churn", place), module_of_page("automl", "Centroids", place)]
    settings = {
        "PYTHONPATH": f"{PLUGIN['PYTHONPATH']}:{place}",
        "TUNESMITH_PLUGINS": ",".join([PLUGIN["TUNESMITH_PLUGINS"], "own_models:models", "weighing:plugin", *shown]),
        "TUNESMITH_ADMIN_PASSWORD": PASSWORD,
        "TUNESMITH_NUM_CPUS": "4",
        "TUNESMITH_PRICES": '{"*": 3600}',
        "TUNESMITH_CONTAINER_ENGINE": ENGINE,
        "TUNESMITH_CONTAINER_OPTIONS": json.dumps(OPTIONS),
        "AWS_ENDPOINT_URL": s3_url,
        **KEYS,
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
