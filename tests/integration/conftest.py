"""Fixtures for tests of the service: the application in process, and behind a real port."""

from __future__ import annotations

import datetime
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve_app.app import build
from serve_app.platform import Alone
from tuners.hosting.pool import close_idle
from tuners.messages import Prepared
from tunesmith.automl import Predictions
from tunesmith.settings import Settings
from tunesmith.store import Store

OTHERS = (
    "analysis_figures",
    "training_document",
    r"optuna_grpc\w*",
    r"optuna_storage_\w+",
    "identity",
    "rates",
    "audit",
    "limiting",
)
SURFACES = re.compile(rf"test_(\w+_api|{'|'.join(OTHERS)})")
"""What these modules test hangs little on the database, whose every query test_store.py asks on all kinds of it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of surfaces on databases other than SQLite to `make test-all`."""
    for item in items:
        chosen = (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        if SURFACES.fullmatch(item.path.stem) and any(kind in chosen for kind in ("postgres", "memory")):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _children() -> Iterator[None]:
    """The child processes that run algorithms serve one test after another."""
    yield
    close_idle()


@dataclass
class Surroundings:
    """A platform whose cluster is as the test says."""

    types: frozenset[str] = frozenset()
    missing: list[str] = field(default_factory=list)
    wakes: int = 0
    alone: Alone | None = None

    def wake(self) -> None:
        self.wakes += 1

    def slots(self, cpus: float) -> int | None:
        return 4

    def node_types(self) -> frozenset[str]:
        return self.types

    def ready(self) -> list[str]:
        return self.missing

    def prepare(self, experiment_id: int, count: int) -> Prepared:
        assert self.alone is not None
        return self.alone.prepare(experiment_id, count)

    def refill(self, experiment_id: int, ahead: int) -> None:
        assert self.alone is not None
        self.alone.refill(experiment_id, ahead)

    def prune(self, experiment_id: int, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        assert self.alone is not None
        return self.alone.prune(experiment_id, number, step, metrics)

    async def predict(self, artifact: str, plugin: str, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        assert self.alone is not None
        return await self.alone.predict(artifact, plugin, rows)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_body_bytes=100_000)


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings()


@pytest.fixture
def app(settings: Settings, surroundings: Surroundings, sqlite_store: Store) -> FastAPI:
    surroundings.alone = Alone(sqlite_store, settings)
    return build(settings, surroundings, sqlite_store)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    """The application in process."""
    with TestClient(app) as client:
        yield client


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The application on a port of this machine (0: a free one), for as long as the block runs; gives its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def live(app: FastAPI) -> Iterator[httpx2.Client]:
    """A client of the application behind a real port."""
    with served(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine that nobody but a test trusts, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "cert.pem", directory / "key.pem"
