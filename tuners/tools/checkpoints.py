"""Checkpoints: the directory that a trial may keep its state in, what lies there at first, and how it is kept.

The tool writes to a directory of its own, `.checkpoint` beside its other files. When the trial ends, and anything lies
there, it becomes the trial's `checkpoint` by being renamed; in S3 its files are copied, and a manifest that names them
is written last. What has no manifest is no checkpoint, so that nobody goes on from half of one. S3 keeps files: no
empty directories, no links, no permissions.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

from tuners.messages import Batch, Evaluation, Outcome
from tuners.tools.outcome import storable
from tunesmith.domain import TrialState
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

LIVE, KEPT, REPLACED = ".checkpoint", "checkpoint", ".checkpoint.old"
VARIABLE, STEP, STEPS = "TUNESMITH_CHECKPOINT", "TUNESMITH_STEP", "TUNESMITH_STEPS"
"""Environment variables of a command: the directory, the training steps that are done, and those to be done now."""


class NoCheckpoint(Exception):
    """There is no checkpoint to go on from, or it cannot be read; the message says why."""


def checkpoint_key(experiment_id: int, number: int) -> str:
    """The key prefix of what a trial kept: the `Evaluation.checkpoint` of a trial that goes on from it."""
    return f"{trial_key(experiment_id, number)}/{KEPT}"


class Checkpoint:
    """The checkpoint of one trial. Nothing is made, read or written before `open`."""

    def __init__(self, batch: Batch, evaluation: Evaluation) -> None:
        self._storage = Storage(batch.artifacts)
        self._evaluation = evaluation
        self._key = checkpoint_key(batch.experiment_id, evaluation.number)
        self._live: Path | None = None

    def open(self, parent: Path) -> Path:
        """Make the directory below `parent` that the tool may write to, with what it is to go on from.

        That is the checkpoint that the evaluation names, or what an earlier attempt of this trial kept. A directory
        that is open already is made anew.

        Raises:
            NoCheckpoint: the checkpoint that the evaluation names is not there.
            OSError, StorageUnavailable: it cannot be copied.
        """
        self._live = live = parent / LIVE
        if live.exists():
            _clear(live)
        wanted = self._evaluation.checkpoint
        found = self._fetch(wanted or self._key, live) if wanted or self._may_have_own else False
        if wanted and not found:
            raise NoCheckpoint(
                f"there is no checkpoint {wanted} to go on from; a tool that is trained piece by piece has to write "
                f"its state to the directory ${VARIABLE} (in a Python function: tuners.checkpoint_dir())"
            )
        if not found:
            _make(live)
        return live

    def keep(self, found: Outcome) -> Outcome:
        """Keep what the tool wrote, if anything; the outcome fails when that cannot be done."""
        if self._live is None:
            return found
        try:
            self._keep(self._live)
        except (OSError, StorageUnavailable) as error:
            if found.state is TrialState.WAITING or found.error is not None:
                return found
            return replace(found, state=TrialState.FAILED, error=storable(f"the checkpoint could not be kept: {error}"))
        return found

    @property
    def _may_have_own(self) -> bool:
        """Whether to look for an earlier attempt's: in a directory that is for nothing, in S3 it takes a request.

        Never where the steps to train are said: those before them are what is in the checkpoint that is named.
        """
        return span(self._evaluation) is None and (self._storage.local is not None or self._evaluation.attempt > 1)

    def _fetch(self, key: str, live: Path) -> bool:
        """Copy what is kept under a key, whether there is anything."""
        if self._storage.local is None:
            return _download(self._storage, key, live)
        kept = self._storage.local / key
        if not kept.is_dir():
            return False
        shutil.copytree(kept, live, symlinks=True)
        return True

    def _keep(self, live: Path) -> None:
        if live.is_symlink() or not live.is_dir():  # the tool may have removed it
            return
        if not any(live.iterdir()):
            _clear(live)
        elif self._storage.local is None:
            _upload(self._storage, self._key, live)
        else:
            _rename(live, self._storage.local / self._key)


def checkpoint_dir() -> Path:
    """The directory of the running trial's checkpoint: it holds what to go on from, and what is left there is kept.

    It is empty when there is nothing to go on from. Write a file under another name and rename it: a trial may be ended
    at any moment. For functions that are evaluated as trials, and for Python commands.

    Raises:
        RuntimeError: no trial is running here.
        NoCheckpoint: the checkpoint to go on from is not there.
    """
    offer = _offer.get()
    if offer is not None:
        return offer.directory()
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    raise RuntimeError("checkpoint_dir() is for what is evaluated as a trial; no trial is running in this thread")


def steps(otherwise: int = 1) -> range:
    """The training steps that the running trial is to do now, numbered from 0 over the whole training.

    A search that trains piece by piece (`pbt`, `pb2`) says them: `for step in steps(): ...`. Everywhere else they are
    the first `otherwise` ones.
    """
    offer = _offer.get()
    if offer is not None:
        return offer.span or range(otherwise)
    if STEP in os.environ and STEPS in os.environ:
        return range(int(os.environ[STEP]), int(os.environ[STEP]) + int(os.environ[STEPS]))
    return range(otherwise)


def span(evaluation: Evaluation) -> range | None:
    """The steps that an evaluation is to train, where its search says so."""
    count, done = evaluation.steps, evaluation.step
    return None if count is None else range(done, done + count)


def variables(evaluation: Evaluation, directory: Path) -> dict[str, str]:
    """What a command's environment says about its checkpoint."""
    found, planned = {VARIABLE: str(directory)}, span(evaluation)
    if planned is not None:
        found |= {STEP: str(planned.start), STEPS: str(len(planned))}
    return found


class Offer:
    """A checkpoint that a function may ask for."""

    def __init__(self, batch: Batch, evaluation: Evaluation) -> None:
        self.checkpoint = Checkpoint(batch, evaluation)
        self.span = span(evaluation)
        self._root, self._key = Storage(batch.artifacts).local, trial_key(batch.experiment_id, evaluation.number)
        self._directory: Path | None = None
        self._temporary: str | None = None

    def directory(self) -> Path:
        """The checkpoint's directory, made when it is first asked for."""
        if self._directory is None:
            self._directory = self.checkpoint.open(self._parent())
        return self._directory

    def renew(self) -> None:
        """Let the next one who asks have a fresh directory."""
        self._directory = None

    def close(self) -> None:
        """Take away what was temporary."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _parent(self) -> Path:
        if self._root is not None:
            (self._root / self._key).mkdir(parents=True, exist_ok=True)
            return self._root / self._key
        self._temporary = self._temporary or tempfile.mkdtemp(prefix="tunesmith-checkpoint-")
        return Path(self._temporary)


_offer: ContextVar[Offer | None] = ContextVar("offer", default=None)


@contextlib.contextmanager
def offered(batch: Batch, evaluation: Evaluation) -> Iterator[Offer]:
    """Let `checkpoint_dir` and `steps` answer for this trial, in this thread."""
    offer = Offer(batch, evaluation)
    token = _offer.set(offer)
    try:
        yield offer
    finally:
        _offer.reset(token)
        offer.close()


_spare: list[Path] = []
"""Empty directories for the next trials: making and removing one takes longer than a short trial on some disks."""


def is_spare(path: Path) -> bool:
    """Whether a directory is a worker's spare one, which it may take away at any moment."""
    return path.name.startswith(f"{LIVE}.") and path.name != REPLACED


def _make(live: Path) -> None:
    """Make an empty directory."""
    with contextlib.suppress(IndexError, OSError):  # what there was may have been removed, or be on another disk
        _spare.pop().rename(live)
        return
    live.mkdir()


def _clear(live: Path) -> None:
    """Take a directory away, with what is in it."""
    if any(live.iterdir()):
        shutil.rmtree(live)
        return
    spare = live.with_name(f"{LIVE}.{uuid.uuid4().hex}")  # another attempt of the trial may make its own
    live.rename(spare)
    _spare.append(spare)


@atexit.register
def _remove_spare() -> None:
    while _spare:
        with contextlib.suppress(OSError):
            _spare.pop().rmdir()


def _rename(live: Path, kept: Path) -> None:
    """Put a directory in the place of another; its content is on the disk before it has its name."""
    for path in files(live):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    old = kept.with_name(REPLACED)
    if kept.exists():
        shutil.rmtree(old, ignore_errors=True)
        kept.rename(old)
    live.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def _upload(storage: Storage, key: str, live: Path) -> None:
    storage.write(f"{key}.json", b"")  # an earlier attempt's files are overwritten
    sizes = {}
    for path in files(live):
        name = path.relative_to(live).as_posix()
        sizes[name] = path.stat().st_size
        storage.upload(path, f"{key}/{name}")
    storage.write(f"{key}.json", json.dumps(sizes).encode())


def _download(storage: Storage, key: str, live: Path) -> bool:
    manifest = b"".join(storage.read(f"{key}.json"))
    if not manifest:
        return False
    for name, size in json.loads(manifest).items():
        written = download_file(storage, f"{key}/{name}", live / name)
        if written != size:
            raise NoCheckpoint(f"the checkpoint {key} is not whole: {name} has {written} of {size} bytes")
    return True


def download_file(storage: Storage, key: str, path: Path) -> int:
    """Copy one file from the storage; answers how many bytes it has there. Raises OSError, StorageUnavailable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        return sum(stream.write(chunk) for chunk in storage.read(key))


def files(directory: Path) -> Iterator[Path]:
    """The files below a directory, no links."""
    for root, _directories, names in os.walk(directory):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path
