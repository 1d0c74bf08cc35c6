"""Isolation: commands and programs of trials as another Unix user, and in a sandbox of bubblewrap.

As another user a trial can neither signal the platform's processes nor read their environment. Its directory stays the
platform's, with the sticky bit: it writes there, and cannot take away what is not its own, the log and the scripts.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuners.messages import Batch, Isolation
from tuners.tools.outcome import Failed
from tunesmith.storage import Storage

DEVICES = ("dev/nvidia*", "dev/dri", "dev/kfd")
"""Accelerators, which a sandbox has as the node does."""
SCRATCH = ("/tmp", "/var/tmp", "/run")  # nosec B108  # hidden from the trial, not used
"""Places of which a sandbox has its own, empty: the node's hold sockets of services, and files of others."""
KERNEL = "/proc/sys"
"""Settings of the machine's kernel: root may write them in a sandbox too, and `core_pattern` names a program to run."""
CREDENTIALS = (".aws", ".ray", ".ssh")
"""What a sandbox does not see of the home directory."""
RESOLVER = "/run/systemd/resolve"
"""What a sandbox with a network needs to resolve names, on many nodes."""


@dataclass(frozen=True)
class User:
    """The Unix user that trials run as."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def request(self) -> dict[str, Any]:
        """What the launcher becomes."""
        return {"uid": self.uid, "gid": self.gid, "groups": os.getgrouplist(self.name, self.gid)}

    @property
    def variables(self) -> dict[str, str]:
        """Variables of its environment that say who it is."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def admit(self, directory: Path) -> None:
        """Let it add to a directory. Raises OSError."""
        os.chown(directory, -1, self.gid)
        directory.chmod(0o1770)

    def own(self, directory: Path) -> None:
        """Let it have a directory, with all that is in it. Raises OSError."""
        os.chown(directory, self.uid, self.gid)
        for root, directories, files in os.walk(directory):
            for name in (*directories, *files):
                os.chown(os.path.join(root, name), self.uid, self.gid, follow_symlinks=False)


def user_of(isolation: Isolation) -> User | None:
    """The user that trials run as, if it is another one. Raises Failed: this node cannot run them so."""
    if isolation.user is None:
        return None
    try:
        entry = pwd.getpwnam(isolation.user)
    except KeyError:
        raise Failed(f"TUNESMITH_TRIAL_USER={isolation.user!r}: this node has no such user; add it there") from None
    if os.geteuid() != 0:
        raise Failed("TUNESMITH_TRIAL_USER needs a platform that runs as root: nobody else can become another user")
    if entry.pw_uid == 0:
        raise Failed("TUNESMITH_TRIAL_USER: root is the platform's own user; name another one")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def sandboxed(batch: Batch, args: Sequence[str], writable: Iterable[Path], network: bool) -> list[str]:
    """The command line, in a sandbox where there is to be one. Raises Failed: this node has none.

    `writable`: directories that it may write to; `network`: whether it has the node's.
    """
    if batch.isolation.sandbox == "none":
        return list(args)
    program = shutil.which("bwrap")
    if program is None:
        raise Failed("TUNESMITH_TRIAL_SANDBOX=bwrap: this node has no bwrap; install the package bubblewrap there")
    words = [program, "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += ["--ro-bind-try", *[KERNEL] * 2]
    for device in (str(path) for pattern in DEVICES for path in sorted(Path("/").glob(pattern))):
        words += ["--dev-bind", device, device]
    for place in [*map(Path, SCRATCH), *_hidden(batch)]:
        words += ["--tmpfs", str(place)] if place.is_dir() else []
    if network:
        words += ["--share-net", "--ro-bind-try", RESOLVER, RESOLVER]
    for directory in writable:
        words += ["--bind", *[str(directory.resolve())] * 2]
    return [*words, "--", *args]


def refuse_functions(isolation: Isolation) -> None:
    """Raise Failed where trials are isolated: a function runs in the worker's own process."""
    if isolation.active:
        raise Failed(
            "a Python function runs inside of a worker of the platform, which TUNESMITH_TRIAL_USER and "
            "TUNESMITH_TRIAL_SANDBOX keep trials out of; make it a command, or run a platform without them"
        )


def _hidden(batch: Batch) -> list[Path]:
    """What the platform keeps, its key and its database among it."""
    places = [Storage(batch.artifacts).local, None if batch.data_dir is None else Path(batch.data_dir)]
    found = [place.resolve() for place in places if place is not None]
    if batch.isolation.user is None:  # to another user they are closed
        found += [Path.home() / name for name in CREDENTIALS]
    return found
