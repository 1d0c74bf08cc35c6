"""A container image of nothing but busybox, made by real podman; for tests that run containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ENGINE = "podman --runtime runc"
OPTIONS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""podman's own defaults may be more than the machine grants."""
APPLETS = ("sh", "cat", "echo", "ls", "env", "sleep", "kill", "true", "head", "id", "pwd", "ps", "tr", "dd", "yes")


def engine(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the engine."""
    return subprocess.run([*ENGINE.split(), *words], capture_output=True, text=True, check=False, **options)


def reason_to_skip() -> str | None:
    """Why no container can run on this machine, if so."""
    missing = [name for name in ("podman", "busybox") if shutil.which(name) is None]
    if shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        missing.append("runc")
    return f"{', '.join(missing)} not installed" if missing else None


@contextmanager
def busybox_image(root: Path) -> Iterator[str]:
    """The name of an image that is made in an empty directory, and removed in the end; skips where none can run."""
    if (reason := reason_to_skip()) is not None:
        pytest.skip(reason)
    (root / "bin").mkdir()
    (root / "not-executable").write_text("data")
    shutil.copy(str(shutil.which("busybox")), root / "bin" / "busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    archive = shutil.make_archive(str(root), "tar", root)
    name = f"localhost/tunesmith-test-{uuid.uuid4().hex[:8]}:1"
    made = engine("import", "--change=WORKDIR /bin", archive, name)
    if made.returncode:
        pytest.skip(f"podman cannot make an image here: {made.stderr.strip()}")
    probe = engine("run", "--rm", *OPTIONS, name, "true")
    if probe.returncode:
        engine("rmi", "--force", name)
        pytest.skip(f"no container can run here: {probe.stderr.strip()}")
    yield name
    engine("rmi", "--force", name)
