"""Who holds a run: a process that others on the same host can tell to be dead or alive."""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from pathlib import Path

from tunesmith.store.leases import SCRIPT

OWNER = re.compile(rf"^{SCRIPT}(?P<place>.+)/(?P<pid>\d+)/(?P<started>\d+)$")


def this_process() -> str:
    """This process as the owner of a lease."""
    pid = os.getpid()
    return f"{SCRIPT}{_place()}/{pid}/{_started(pid) or 0}"


def known_dead(owner: str | None) -> bool:
    """Whether the owner is a process of this host that has ended; False also when that cannot be known."""
    found = OWNER.match(owner or "")
    if found is None or found["place"] != _place():
        return False
    return _started(int(found["pid"])) != int(found["started"])


def shown(owner: str | None) -> str:
    """The owner in words."""
    found = OWNER.match(owner or "")
    if found is None:
        return owner or "nobody"
    return f"process {found['pid']} on {found['place'].partition('@')[0]}"


@cache
def _place() -> str:
    """Host, boot and space of process ids: where a process id means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, space = "?", "?"
    return f"{socket.gethostname()}@{boot}{space}"


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
