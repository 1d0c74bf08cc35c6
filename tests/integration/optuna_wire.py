"""An Optuna server in this process, Optuna's own client, and processes that take part in a study."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import GrpcStorageProxy

from tunesmith.optuna.server import OptunaServer

WORKER = textwrap.dedent("""
    import sys, optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    def say(*words): print(*words, flush=True)
    def hear(): return sys.stdin.readline().strip()
""")
UNMODIFIED = "storage = optuna.storages.GrpcStorageProxy(host='localhost', port={port})"
CONNECTED = "import tunesmith.optuna; storage = tunesmith.optuna.connect('localhost:{port}')"


@contextmanager
def serving(database: str, **options: Any) -> Iterator[OptunaServer]:
    server = OptunaServer(database, port=0, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def proxy(server: OptunaServer) -> Iterator[GrpcStorageProxy]:
    storage = GrpcStorageProxy(host="localhost", port=server.port)
    try:
        yield storage
    finally:
        storage.close()


class Worker:
    """A process that takes part in a study and does what it is told on its stdin."""

    def __init__(self, port: int, client: str, body: str) -> None:
        script = WORKER + client.format(port=port) + "\n" + body
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def wait_for(condition: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
