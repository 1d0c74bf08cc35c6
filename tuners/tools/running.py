"""What the runs of commands and programs have in common: a directory, a process group, and what its end means."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tuners.messages import Batch, Evaluation, Isolation, Outcome
from tuners.tools import checkpoints, isolation, templates
from tuners.tools.environment import inherited
from tuners.tools.metrics import MetricsFile
from tuners.tools.outcome import Failed as Failed
from tuners.tools.outcome import Stopped as Stopped
from tuners.tools.outcome import failure, judge, outcome, storable
from tuners.tools.process import Ended, Stream, run_group
from tuners.tools.repeats import Watch
from tunesmith.domain import TrialState, utcnow
from tunesmith.storage import Storage

LOG, METRICS = "log.txt", "metrics.jsonl"
TAIL_BYTES = 2000
"""Bytes of output that an error quotes."""


class TrialRun(ABC):
    """One run of a tool that is a process: a trial's, or one of its repeats."""

    place: Path
    """The directory that it runs in: the run's own."""
    limit_name = "trial_timeout_s"
    """What people call the limit of its time."""
    network = False
    """Whether it has a network in a sandbox."""
    user: isolation.User | None = None
    """The Unix user that it runs as, if it is another one."""

    def __init__(
        self,
        batch: Batch,
        evaluation: Evaluation,
        watch: Watch,
        directory: Path,
        deadline: float | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`deadline`: when the trial's time is over (`time.monotonic`); `variables`: more of its environment."""
        self.batch, self.evaluation, self.watch = batch, evaluation, watch
        self.declared = [parameter.name for parameter in batch.spec.space]
        self.directory = self.place = directory
        self.deadline, self.variables = deadline, variables
        self.isolation: Isolation = batch.isolation
        self.metrics = MetricsFile(directory / METRICS)
        self.values: dict[str, float] = {}

    @abstractmethod
    def _run(self) -> None:
        """Run it to its end, and note its `values`. Raises Failed, Stopped, UnsafeValue."""

    @property
    def _checkpoint(self) -> Path | None:
        """The directory of its checkpoint, if it has one."""
        name = self.variables.get(checkpoints.VARIABLE)
        return None if name is None else Path(name)

    @abstractmethod
    def _ending(self) -> bytes:
        """The last of what it printed, TAIL_BYTES at most."""

    def outcome(self) -> Outcome:
        """Run it to its end, however it ends."""
        started = utcnow()
        try:
            self._admit()
            self._run()
        except Stopped as reason:
            state = TrialState.PRUNED if str(reason) == "pruned" else TrialState.WAITING
            return outcome(self.batch, self.evaluation, state, started, self.values)
        except (Failed, templates.UnsafeValue) as error:
            return failure(self.batch, self.evaluation, started, str(error), self.values)
        return judge(self.batch, self.evaluation, started, self.values)

    def _admit(self) -> None:
        """Make its directories those of the user that it runs as. Raises Failed, OSError."""
        self.user = isolation.user_of(self.isolation)
        if self.user is not None:
            self.user.admit(self.directory)
            if self._checkpoint is not None:
                self.user.own(self._checkpoint)

    def _look(self) -> str | None:
        return self.watch(self.metrics.read())

    def _group(
        self,
        args: Sequence[str],
        log: Stream,
        watch: Callable[[], str | None],
        env: Mapping[str, str],
        at_least_s: float = 0,
        stdout: int | None = None,
        stdin: Stream | None = None,
        cleanup: Sequence[str] = (),
        held: Stream | None = None,
    ) -> Ended:
        left = None if self.deadline is None else max(self.deadline - time.monotonic(), at_least_s)
        if self.isolation.active:
            writable = [self.directory, *filter(None, (self._checkpoint,))]
            args = isolation.sandboxed(self.batch, args, writable, self.network)
        grace_s, user = self.batch.grace_s, None if self.user is None else self.user.request
        return run_group(args, self.place, env, log, stdout, left, watch, grace_s, stdin, cleanup, held, user)

    def _inherited(self) -> dict[str, str]:
        return inherited(self.batch.isolation.without) | ({} if self.user is None else self.user.variables)

    def _environment(self) -> dict[str, str]:
        return self._inherited() | dict(self.batch.secrets) | self._own_variables(self.directory)

    def _own_variables(self, directory: Path) -> dict[str, str]:
        """What the platform says of the trial; `directory`: the run's, as the process sees it."""
        return templates.environment(self.declared, self.evaluation.params) | {
            **self.variables,
            "TUNESMITH_METRICS": str(directory / METRICS),
            "TUNESMITH_JOB_ID": self.batch.job_id,
            "TUNESMITH_EXPERIMENT_ID": str(self.batch.experiment_id),
            "TUNESMITH_TRIAL_NUMBER": str(self.evaluation.number),
            "TUNESMITH_TRIAL_DIR": str(directory),
            "TUNESMITH_ATTEMPT": str(self.evaluation.attempt),
        }

    def _problems(self) -> Iterator[bytes]:
        """Lines for the log: what could not be read of the metrics, unless a secret could stand there, cut in two."""
        if self.batch.secrets and self.metrics.problems:
            count = len(self.metrics.problems)
            yield f"tunesmith: {count} of the lines in $TUNESMITH_METRICS could not be read\n".encode()
            return
        for problem in self.metrics.problems:
            yield f"tunesmith: in $TUNESMITH_METRICS: {storable(problem)}\n".encode()

    def _check(self, ended: Ended, what: str = "", own_time: str = "") -> None:
        if ended.stopped == "timeout":
            limit = f"{self.batch.spec.trial_timeout_s:g} s ({self.limit_name}){own_time}"
            raise Failed(f"{what}still running after {limit}; ended{self._tail()}")
        if ended.stopped is not None:
            raise Stopped(ended.stopped)
        if ended.exit_code < 0:
            hint = "; on Linux that is often the out-of-memory killer" if ended.exit_code == -signal.SIGKILL else ""
            raise Failed(f"{what}killed by {signal_name(-ended.exit_code)}{hint}{self._tail()}")
        if ended.exit_code:
            raise Failed(f"{what}exit code {ended.exit_code}{self._explanation(ended.exit_code)}{self._tail()}")

    def _explanation(self, exit_code: int) -> str:
        """What the exit code means, where that is known."""
        return ""

    def _tail(self) -> str:
        text = self._ending().decode(errors="replace").strip()
        return f"; its output ends with:\n{text}" if text else "; it printed nothing"


def usage(ended: Ended) -> dict[str, float]:
    """What a command used, as metrics."""
    return {
        "wall_time_s": ended.wall_time_s,
        "cpu_time_s": ended.cpu_time_s,
        "max_rss_bytes": float(ended.max_rss_bytes),
        "exit_code": float(ended.exit_code),
    }


def keep_log(storage: Storage, key: str, directory: Path, found: Outcome) -> Outcome:
    """Keep a trial's log, when there is one. Raises StorageUnavailable."""
    log = directory / LOG
    if log.is_symlink() or not log.is_file() or log.stat().st_size == 0:  # the script may have removed it
        return found
    if storage.local is None:
        storage.upload(log, f"{key}/{LOG}")
    return replace(found, log=f"{key}/{LOG}")


@contextlib.contextmanager
def trial_directory(storage: Storage, key: str) -> Iterator[Path]:
    """The trial's directory, empty: in the storage itself where that is a directory, else a temporary one."""
    if storage.local is None:
        with tempfile.TemporaryDirectory(prefix="tunesmith-trial-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    path = storage.local / key
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        _empty(path)
    yield path


def _empty(directory: Path) -> None:
    """Remove what an earlier attempt left, but the checkpoint that it kept, and what its worker keeps for others."""
    for path in directory.iterdir():
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        elif path.name != checkpoints.KEPT and not checkpoints.is_spare(path):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)


def signal_name(number: int) -> str:
    """What a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
