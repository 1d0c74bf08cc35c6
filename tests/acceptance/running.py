"""Starting, stopping and killing a whole platform from a test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
START_S, STOP_S = 150, 60
HERE = Path(__file__).parent
PLUGIN = {"PYTHONPATH": f"{HERE.parent / 'integration'}:{HERE}", "TUNESMITH_PLUGINS": "planning:plugin"}
"""Settings of a platform with the tests' own algorithms and objectives."""
PASSWORD = "correct-horse"
"""Of the user `admin` of the shared platform."""
MODULE = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block of a page that is a module of its own."""


class Platform:
    """A platform in a data directory of its own."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
        self.environ = {
            **inherited,
            "TUNESMITH_DATA_DIR": str(data_dir),
            "TUNESMITH_PORT": "0",
            "TUNESMITH_DASHBOARD": "false",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Platform:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return str(self.record["url"])

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "run.json").read_text()))

    @property
    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text(errors="replace")

    def start(self) -> Platform:
        (self.data_dir / "run.json").unlink(missing_ok=True)
        with (self.data_dir.parent / f"{self.data_dir.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve_app.up"], env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        try:
            until(lambda: (self.data_dir / "run.json").exists() or self.process.poll() is not None, START_S)
            assert self.process.poll() is None, self.log[-3000:]
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """In order, as `tunesmith down` does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(STOP_S)

    def kill(self) -> None:
        """Every process of it at once, with no chance to say goodbye."""
        for _again in range(3):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)
        (self.data_dir / "run.json").unlink(missing_ok=True)

    def close(self) -> None:
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self.kill()

    def pids(self, name: str = "") -> list[int]:
        """The processes of this platform whose command line holds `name`."""
        mark = f"TUNESMITH_DATA_DIR={self.data_dir}".encode()
        found = []
        for directory in Path("/proc").iterdir():
            try:
                if directory.name.isdigit() and mark in (directory / "environ").read_bytes().split(b"\0"):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if name in command and int(directory.name) != os.getpid():
                        found.append(int(directory.name))
            except OSError:
                continue
        return found


def module_of_page(page: str, name: str, folder: Path) -> str:
    """Write the module that a page of the documentation shows; the reference of what is called so in it."""
    (found,) = MODULE.finditer((HERE.parents[1] / "docs" / f"{page}.md").read_text())
    (folder / f"{found[1]}.py").write_text(found[2])
    return f"{found[1]}:{name}"


def until(condition: Callable[[], T], timeout_s: float = 60, every_s: float = 0.05) -> T:
    """Wait until the condition holds; returns what it returned."""
    end = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {condition}"
        time.sleep(every_s)
    return result


def processes_with(text: str) -> list[int]:
    """The processes of this machine whose command line holds the text."""
    found = []
    for directory in Path("/proc").iterdir():
        try:
            if directory.name.isdigit() and text.encode() in (directory / "cmdline").read_bytes():
                found.append(int(directory.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
