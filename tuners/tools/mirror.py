"""A directory mirrored to S3 while it changes: at any moment there is one whole state of it, that of its manifest.

Each file is there as it was at one moment, also one that changes all the time; two files may be from two moments. New
files get their own names. One that the manifest refers to already is first put aside, and takes the place of the old
one when the manifest has been written: so the node may be lost at any moment, and the last whole state counts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tuners.tools.checkpoints import NoCheckpoint, download_file, files
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import CHUNK, Storage

log = logging.getLogger(__name__)

PUSH_S = 60.0
"""Seconds between two looks at whether files changed."""
LOOKS = 2
"""How often a push looks for what changed: what was renewed while others were uploaded is not from before them."""
MANIFEST, STAGING = ".tunesmith.json", ".tunesmith"

Stamp = tuple[int, int]
"""Size in bytes and modification time in ns: what tells whether a file changed."""


def stamps(directory: Path) -> dict[str, Stamp]:
    """Name -> stamp of every file below a directory."""
    found = {}
    for path in files(directory):
        with contextlib.suppress(FileNotFoundError):  # renamed just now
            found[path.relative_to(directory).as_posix()] = _stamp(path.stat())
    return found


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_size, status.st_mtime_ns)


class Mirror:
    """A directory of this node, and its copy under a key prefix of a storage."""

    def __init__(
        self, directory: Path, storage: Storage, prefix: str, owner: str, attempt: int = 1, live: bool = True
    ) -> None:
        """`prefix`: empty, or it ends with a slash; `owner`: whose state it is, as only that is fetched.

        `attempt`: of several mirrors of an owner, the one with the highest may write; `live`: whether it does before
        `close`.
        """
        self.directory, self.owner, self.attempt = directory, owner, attempt
        self._storage, self._prefix = storage, prefix
        self._objects: dict[str, str] = {}
        """Name -> key, as the manifest has it."""
        self._seen: dict[str, Stamp] = {}
        self._over = threading.Event()
        if not live:
            self._over.set()
        self._thread = threading.Thread(target=self._push_forever, name="checkpoint", daemon=True)

    def fetch(self) -> None:
        """Copy the last whole state of this owner to the directory, if there is one; earlier attempts write no more.

        Raises:
            NoCheckpoint: somebody else changed it.
            OSError, StorageUnavailable: it cannot be copied.
        """
        for name, (key, size) in self._manifest().get("files", {}).items():
            written = download_file(self._storage, key, self.directory / name)
            if written != size:
                raise NoCheckpoint(f"the checkpoint is not whole: {key} has {written} of {size} bytes")
            self._objects[name] = key
        self._seen = stamps(self.directory)
        self._write(self._objects, self._seen)

    def __enter__(self) -> Mirror:
        """Begin to push every PUSH_S seconds what changed."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def close(self) -> None:
        """Push the last state, which nobody changes any more. Raises OSError, StorageUnavailable."""
        self.__exit__()
        self.push()

    def push(self) -> None:
        """Make the copy equal, whatever changes meanwhile.

        Raises:
            OSError, StorageUnavailable: it cannot be copied.
        """
        if stamps(self.directory) == self._seen:
            return
        if self._manifest().get("attempt", 0) > self.attempt:  # this node was given up meanwhile
            return
        aside = f"{self._prefix}{STAGING}/{uuid.uuid4().hex}/"
        keys, now = dict(self._objects), dict(self._seen)
        for _ in range(LOOKS):
            changed = [name for name, stamp in stamps(self.directory).items() if stamp != now.get(name)]
            for name in changed:
                keys[name] = (aside if name in self._objects else self._prefix) + name
                try:
                    now[name] = self._upload(self.directory / name, keys[name])
                except FileNotFoundError:  # renamed or removed just now
                    now.pop(name, None)
        there = now.keys() & stamps(self.directory).keys()
        self._commit({name: keys[name] for name in there}, {name: now[name] for name in there})
        self._remove(keys[name] for name in keys.keys() - there)
        self._commit({**self._objects, **self._moved(aside)}, self._seen)

    def _upload(self, path: Path, key: str) -> Stamp:
        """Put what a file holds at one moment under a key; its stamp then, with the size of what was put there."""
        before = _stamp(path.stat())
        try:
            self._storage.upload(path, key)
        except StorageUnavailable:
            path.stat()  # it may be gone
            raise
        if before == _stamp(path.stat()):
            return before
        with path.open("rb") as source, self._storage.open_output(key) as target:  # a copy on this node, sent then
            size, changed_at = _stamp(os.fstat(source.fileno()))
            left = size
            while chunk := source.read(min(CHUNK, left)):
                left -= target.write(chunk)
        return (size - left, changed_at)

    def _commit(self, objects: dict[str, str], now: dict[str, Stamp]) -> None:
        """Write the manifest, and take away what it does not refer to any more."""
        if objects == self._objects and now == self._seen:
            return
        self._write(objects, now)
        unused = set(self._objects.values()) - set(objects.values()) - {self._prefix + name for name in objects}
        self._objects, self._seen = objects, now
        self._remove(unused)

    def _manifest(self) -> dict[str, Any]:
        """What the last whole state of this owner is; empty when there is none."""
        text = b"".join(self._storage.read(self._prefix + MANIFEST))
        manifest: dict[str, Any] = json.loads(text) if text else {}
        return manifest if manifest.get("owner") == self.owner else {}

    def _write(self, objects: dict[str, str], now: dict[str, Stamp]) -> None:
        sizes = {name: (key, now[name][0]) for name, key in objects.items()}
        manifest = {"owner": self.owner, "attempt": self.attempt, "files": sizes}
        self._storage.write(self._prefix + MANIFEST, json.dumps(manifest).encode())

    def _moved(self, aside: str) -> dict[str, str]:
        """Copy what was put aside to its own names; what is too large for that stays where it is."""
        moved = {}
        for name, key in self._objects.items():
            if key.startswith(aside):
                with contextlib.suppress(StorageUnavailable):
                    self._storage.copy(key, self._prefix + name)
                    moved[name] = self._prefix + name
        return moved

    def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            with contextlib.suppress(StorageUnavailable):  # it takes up room, and nothing else
                self._storage.remove(key)

    def _push_forever(self) -> None:
        while not self._over.wait(PUSH_S):
            try:
                self.push()
            except (OSError, StorageUnavailable) as error:
                log.warning("the checkpoint could not be uploaded: %s", error)
