"""The Optuna server beside the platform: a child process of the supervisor, started again whenever it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tunesmith.settings import Settings

log = logging.getLogger("tunesmith.up")

STOP_S = 8.0
"""Seconds that it has to stop in order."""
PAUSE_S = 2.0
"""Seconds until one that died is started again."""


@contextmanager
def optuna_server(settings: Settings) -> Iterator[None]:
    """Serve Optuna workers while the block runs, if the settings have a port for them."""
    if settings.optuna_port is None:
        yield
        return
    child = OptunaChild(settings, settings.optuna_port)
    child.start()
    try:
        yield
    finally:
        child.stop()


class OptunaChild:
    """Keeps one `tunesmith optuna-server` alive."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._command = [sys.executable, "-m", "tunesmith.cli", "optuna-server"]
        self._command += ["--port", str(port), "--parent", str(os.getpid())]
        self._environment = {**os.environ, **settings.environment()}
        self._over = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="optuna-server", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def stop(self) -> None:
        """End it: TERM, and KILL after STOP_S."""
        with self._starting:  # so that none is started behind our back
            self._over.set()
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                log.error("the Optuna server did not stop within %.0f s; killing it", STOP_S)
                process.kill()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while True:
            with self._starting:
                if self._over.is_set():
                    return
                self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL)
            code = self._process.wait()
            if self._over.is_set():
                return
            log.error("the Optuna server ended with %s; a new one starts in %.0f s", code, PAUSE_S)
            self._over.wait(PAUSE_S)
