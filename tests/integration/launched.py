"""Applications of sessions in processes of their own, started as people start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from tunesmith.data import DataSource

T = TypeVar("T")
START_S = 60


def until(condition: Callable[[], T], seconds: float = 30) -> T:
    """What a condition gives once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Launched:
    """An application on a port, and its sessions."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, prefix: str) -> None:
        self.process, self.url = process, f"http://127.0.0.1:{port}"
        self.client = httpx2.Client(base_url=self.url + prefix, timeout=30)

    def kill(self) -> None:
        """As the out-of-memory killer does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def get(self, path: str) -> Any:
        """What a GET below `/sessions` answers."""
        answer = self.client.get(f"/sessions{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **options: Any) -> Any:
        """What a POST below `/sessions` answers."""
        answer = self.client.post(f"/sessions{path}", **options)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def upload(self, source: DataSource) -> None:
        """Post a dataset to session `main`."""
        self.post("/main/data/from-json", content=source.to_json(), headers={"Content-Type": "application/json"})

    def scenario(self, tag: str, algorithm: str, run: bool = True, dataset: str = "example_data", **params: Any) -> str:
        """Make a scenario in `main`, and have it run; its id."""
        body = {"tag": tag, "dataset_key": dataset, "algo_name": algorithm, "algo_params": params}
        made = str(self.post("/main/scenarios", json=body)["id"])
        if run:
            self.post(f"/main/scenarios/{made}/run")
        return made

    def status(self, scenario_id: str) -> str:
        return str(self.get(f"/main/scenarios/{scenario_id}/status")["status"])

    def ended(self, scenario_id: str) -> dict[str, Any]:
        """The scenario, once its run ended."""
        until(lambda: self.status(scenario_id) in ("complete", "failed"))
        return dict(self.get(f"/main/scenarios/{scenario_id}"))


@contextmanager
def launched(words: list[str], directory: Path, port: int, prefix: str = "/api/v1") -> Iterator[Launched]:
    """`python words...` in a directory, once it answers on the port; ended with the block, whatever became of it."""
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with (directory / "application.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, *words], cwd=directory, env=environ, stdout=log, stderr=log)
    application = Launched(process, port, prefix)

    def healthy() -> bool:
        assert process.poll() is None, (directory / "application.log").read_text()
        try:
            return application.client.get(f"{application.url}/health").status_code == 200
        except httpx2.TransportError:
            return False

    try:
        until(healthy, START_S)
        yield application
    finally:
        application.client.close()
        process.kill()
        process.wait()
