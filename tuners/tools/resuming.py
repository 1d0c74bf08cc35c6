"""The checkpoint directory of an execution: kept across its attempts, on this node or mirrored to S3, and its turn."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import IO

from tuners.messages import Batch, Evaluation, Outcome
from tuners.tools.checkpoints import KEPT
from tuners.tools.mirror import Mirror, stamps
from tuners.tools.outcome import storable
from tuners.tools.process import TICK_S
from tuners.tools.repeats import Watch
from tuners.tools.running import Failed, Stopped
from tunesmith.domain import ProgramTool, TrialState
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, meets, run_key

OWN_STORAGE = "the platform keeps its own files there; name another bucket or a prefix beside it, or leave it out"


@dataclass
class ExecutionCheckpoint:
    """What one attempt sees of its execution's checkpoint."""

    directory: Path
    """On this node; the program reads and writes here."""
    name: str
    """What people call it: the directory, or the URL without credentials."""
    named: bool
    """Whether a person named it, with `checkpoint_path`."""
    resumable: bool = False
    """Whether an earlier attempt of the same execution left something there."""
    mirror: Mirror | None = None
    """Its copy in S3, if that is where it is kept."""

    def keep(self, found: Outcome) -> Outcome:
        """Keep what the attempt left, however it ended; the outcome fails when that cannot be done."""
        try:
            if self.mirror is not None:
                self.mirror.close()
        except (OSError, StorageUnavailable) as error:
            if found.state is TrialState.COMPLETE:
                error_text = storable(f"the checkpoint could not be kept in {self.name}: {error}")
                return replace(found, state=TrialState.FAILED, error=error_text)
        return found


def execution_key(batch: Batch, evaluation: Evaluation) -> str:
    """The key prefix of what the attempts of one execution share; where points are searched, each has its own."""
    run = evaluation.run if evaluation.run is not None else f"trial-{evaluation.number}"
    key = run_key(batch.experiment_id, run)
    return f"{key}/{_point(evaluation)}" if evaluation.params else key


def execution_id(batch: Batch, evaluation: Evaluation) -> str:
    """What tells an execution from all others, also from those of other platforms."""
    text = f"{shown(batch.artifacts)} {execution_key(batch, evaluation)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _point(evaluation: Evaluation) -> str:
    text = json.dumps(dict(evaluation.params), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def turn(batch: Batch, evaluation: Evaluation, watch: Watch) -> Iterator[IO[bytes]]:
    """Wait until no earlier attempt of the execution is left on this node; the file that is held meanwhile.

    Raises:
        Stopped: it was ended from outside while it waited.
        OSError: there is no such file.
    """
    key, root = execution_key(batch, evaluation), Storage(batch.artifacts).local
    path = _on_node(f"{execution_id(batch, evaluation)}.lock") if root is None else root / key / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    while (lock := _locked(path)) is None:
        if (reason := watch([])) is not None:
            raise Stopped(reason)
        time.sleep(TICK_S)
    try:
        with lock:
            yield lock
    finally:
        if root is None:
            _remove_unheld(path.parent)


def _locked(path: Path) -> IO[bytes] | None:
    """The file, held until it is closed; None when somebody else holds it."""
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(path.open("ab"))
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):  # else its last holder removed it
                stack.pop_all()
                return lock
    return None


def _remove_unheld(directory: Path) -> None:
    """Take away the lock files that nobody holds: of executions that ended, and of workers that were killed."""
    for path in directory.glob("*.lock"):
        with contextlib.suppress(OSError):
            if (lock := _locked(path)) is not None:
                with lock:
                    path.unlink()


def _on_node(name: str) -> Path:
    """A place among the temporary files of this node, this user's alone."""
    directory = Path(tempfile.gettempdir(), f"tunesmith-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to somebody else")
    return directory / name


@contextlib.contextmanager
def execution_checkpoint(batch: Batch, evaluation: Evaluation) -> Iterator[ExecutionCheckpoint]:
    """The checkpoint of the evaluation's execution, with what an earlier attempt left there.

    Raises:
        Failed: it cannot be written where `checkpoint_path` says, or that is the platform's own storage.
        NoCheckpoint, OSError, StorageUnavailable: it cannot be read.
    """
    tool = batch.spec.tool
    assert isinstance(tool, ProgramTool)
    storage, key = Storage(batch.artifacts), execution_key(batch, evaluation)
    path = tool.checkpoint_path
    if batch.isolation.active and path is not None and not path.startswith("s3://"):
        raise Failed(
            f"checkpoint_path {path!r}: where trials are isolated (TUNESMITH_TRIAL_USER, TUNESMITH_TRIAL_SANDBOX), "
            "none may name a directory of its node; leave it out, or write s3://bucket/prefix"
        )
    if path is not None and meets(path, batch.artifacts):
        raise Failed(f"checkpoint_path {shown(path)!r}: {OWN_STORAGE}")
    if path is None and storage.local is not None:
        yield _on_this_node(storage.local / key / KEPT, evaluation, named=False)
    elif path is None:
        with _mirrored(storage, f"{key}/{KEPT}/", batch, evaluation, named=False) as checkpoint:
            yield checkpoint
    elif path.startswith("s3://"):
        with _saying(path):
            remote = Storage(path)
            remote.check()
        prefix = f"{_point(evaluation)}/" if evaluation.params else ""
        with _mirrored(remote, prefix, batch, evaluation, named=True) as checkpoint:
            yield checkpoint
    else:
        directory = _resolved(path, batch) / (_point(evaluation) if evaluation.params else "")
        with _saying(path):
            directory.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory).close()
        changed = _changed(storage, key, directory)
        checkpoint = _on_this_node(directory, evaluation, named=True)
        yield replace(checkpoint, resumable=changed and checkpoint.resumable)


@contextlib.contextmanager
def _saying(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, StorageUnavailable) as error:
        raise Failed(f"checkpoint_path {shown(path)!r} cannot be written: {error}") from error


def _on_this_node(directory: Path, evaluation: Evaluation, named: bool) -> ExecutionCheckpoint:
    directory.mkdir(parents=True, exist_ok=True)
    resumable = evaluation.attempt > 1 and any(directory.iterdir())
    return ExecutionCheckpoint(directory, str(directory), named, resumable)


@contextlib.contextmanager
def _mirrored(
    storage: Storage, prefix: str, batch: Batch, evaluation: Evaluation, named: bool
) -> Iterator[ExecutionCheckpoint]:
    owner = execution_id(batch, evaluation)
    directory = _on_node(f"{owner}.checkpoint")
    if batch.isolation.user is not None:
        directory.parent.chmod(0o711)  # so that the trial's user gets to its own, whose name nobody else knows
    shutil.rmtree(directory, ignore_errors=True)  # a worker that was killed left it
    directory.mkdir()
    # While another user writes there, a file may become a link to what only the platform may read.
    mirror = Mirror(directory, storage, prefix, owner, evaluation.attempt, live=not batch.isolation.active)
    try:
        if evaluation.attempt > 1:
            mirror.fetch()
        with mirror:
            name = f"{shown(storage.root)}/{prefix}".rstrip("/")
            try:
                yield ExecutionCheckpoint(directory, name, named, any(directory.iterdir()), mirror)
            except BaseException:
                with contextlib.suppress(OSError, StorageUnavailable):
                    mirror.close()
                raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _resolved(path: str, batch: Batch) -> Path:
    """The directory that a path names. Raises Failed when it is none of the data directory's."""
    if PurePath(path).is_absolute():
        return Path(path)
    if batch.data_dir is None:
        raise Failed(f"checkpoint_path {path!r} is relative, but this node knows no data directory; write it in full")
    root = Path(batch.data_dir).resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise Failed(f"checkpoint_path {path!r} leads out of the data directory")
    return found


def _changed(storage: Storage, key: str, directory: Path) -> bool:
    """Whether this execution changed anything in a directory that may hold the work of earlier ones.

    What lies there when it is first asked is what was there before.
    """
    now = {name: list(stamp) for name, stamp in stamps(directory).items()}
    before = b"".join(storage.read(f"{key}/before.json"))
    if before:
        return bool(json.loads(before) != now)
    storage.write(f"{key}/before.json", json.dumps(now).encode())
    return False


def shown(path: str) -> str:
    """A path or URL as people may see it: without credentials and options."""
    return re.sub(r"//[^/@]*@", "//", path).partition("?")[0] if "://" in path else path
