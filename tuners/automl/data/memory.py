"""How much memory there is left: of the machine, and of the control groups that this process is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MARGIN = 0.9
"""Share of what is left that may be used."""
UNLIMITED = 1 << 60
"""A limit from here on is none."""


def available(root: Path = Path("/")) -> int:
    """Bytes that this process may use besides what it has; `root`: where /proc and /sys lie."""
    left = [_machine(root), *_groups(root)]
    return int(MARGIN * max(0, min(left)))


def _machine(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return UNLIMITED


def _groups(root: Path) -> Iterator[int]:
    """What each control group, of version 1 or 2, has left."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, base = ("memory.max", "memory.current", "inactive_file"), mounted
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = mounted / "memory"
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for part in (own, *own.parents):  # a group has no more than those above it; the last is the mount itself
            left = _left(base / part, *names)
            if left is not None:
                yield left


def _left(group: Path, limit: str, usage: str, cached: str) -> int | None:
    """What a group has left, files that can be dropped from its cache included; None: it has no limit."""
    try:
        allowed, used = (group / limit).read_text().strip(), int((group / usage).read_text())
        if allowed == "max" or int(allowed) >= UNLIMITED:
            return None
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(allowed) - used + int(facts.get(cached, 0))
    except (OSError, ValueError):
        return None
