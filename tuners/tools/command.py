"""The command tool: setup, command (timed) and finish, in the trial's own directory, with one log."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO

from tuners.messages import Batch, Evaluation, Outcome
from tuners.tools import checkpoints, repeats, templates
from tuners.tools.checkpoints import Checkpoint, NoCheckpoint
from tuners.tools.metrics import MetricsFile, Patterns
from tuners.tools.outcome import failure, judge, outcome, storable
from tuners.tools.process import TICK_S, Ended, run_group
from tuners.tools.repeats import Watch
from tunesmith.domain import CommandTool, TrialState, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

LOG, METRICS = "log.txt", "metrics.jsonl"
TAIL_BYTES = 2000
"""Bytes of output that an error quotes."""
FINISH_S = 60.0
"""Seconds that the finish script of a trial that ran out of time may take."""

FINISHING = "the finish script: "
TAKE_IN_S = 60.0
"""Seconds that the patterns may take for the last of what a command printed, where the trial has no timeout."""
STOPPED_TAKE_IN_S = 1.0
"""The same where the command was ended, or the trial's time is over."""


class Failed(Exception):
    """The evaluation failed; the message says why."""


class Stopped(Exception):
    """The evaluation was ended from outside; the argument is the reason."""


class CommandRun:
    """One run of a command tool: a trial's, or one of its repeats."""

    place: Path
    """The directory that it runs in: the run's own."""

    def __init__(
        self,
        batch: Batch,
        evaluation: Evaluation,
        watch: Watch,
        directory: Path,
        log: IO[bytes],
        deadline: float | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`deadline`: when the trial's time is over (`time.monotonic`); `variables`: more of its environment."""
        assert isinstance(batch.spec.tool, CommandTool)
        self.batch, self.evaluation, self.watch = batch, evaluation, watch
        self.tool = batch.spec.tool
        self.declared = [parameter.name for parameter in batch.spec.space]
        self.directory, self.log = directory, log
        self.place = directory
        self.deadline, self.variables = deadline, variables
        self.log_start = os.fstat(log.fileno()).st_size
        self.values: dict[str, float] = {}

    def outcome(self) -> Outcome:
        """Run it to its end, however it ends."""
        started = utcnow()
        try:
            self._run(self.log)
        except Stopped as reason:
            state = TrialState.PRUNED if str(reason) == "pruned" else TrialState.WAITING
            return outcome(self.batch, self.evaluation, state, started, self.values)
        except (Failed, templates.UnsafeValue) as error:
            return failure(self.batch, self.evaluation, started, str(error), self.values)
        return judge(self.batch, self.evaluation, started, self.values)

    def _run(self, log: IO[bytes]) -> None:
        if self.tool.setup is not None:
            self._check(self._script("setup", self.tool.setup, log), "the setup script: ")
        metrics = MetricsFile(self.directory / METRICS)
        ended, printed, slow = self._command(log, metrics)
        self.watch(metrics.read(ended=True))
        self.values = {**metrics.final, **printed, **_usage(ended)}
        finished = None
        if self.tool.finish is not None and ended.stopped in (None, "timeout"):
            code = {"TUNESMITH_EXIT_CODE": str(ended.exit_code)}
            finished = self._script("finish", self.tool.finish, log, code, at_least_s=FINISH_S)
            metrics.read(ended=True)  # a finish script may measure what the command made
            self.values = {**metrics.final, **printed, **_usage(ended)}
        for problem in metrics.problems:
            log.write(f"tunesmith: in $TUNESMITH_METRICS: {storable(problem)}\n".encode())
        if slow is not None and ended.stopped in (None, "timeout"):
            raise Failed(slow + self._tail())
        self._check(ended)
        if finished is not None:
            self._check(finished, FINISHING)

    def _command(self, log: IO[bytes], metrics: MetricsFile) -> tuple[Ended, dict[str, float], str | None]:
        """How the command ended, what the patterns found in its output, and what was wrong with them."""

        def watch() -> str | None:
            return self.watch(metrics.read())

        args = self.arguments()
        if not self.tool.patterns:
            return self._group(args, log, watch=watch), {}, None
        patterns = Patterns(self.tool.patterns, log)
        try:
            ended = self._group(args, log, stdout=patterns.stdout, watch=watch)
            ended, slow = self._take_in(patterns, ended, watch)
            return ended, patterns.found, slow
        finally:
            patterns.close()

    def _take_in(self, patterns: Patterns, ended: Ended, watch: Callable[[], str | None]) -> tuple[Ended, str | None]:
        """Wait for the patterns to see what the ended command printed, not beyond the trial's time or a stop."""
        now = time.monotonic()
        last = now + (TAKE_IN_S if ended.stopped is None else STOPPED_TAKE_IN_S)
        if self.deadline is not None:
            last = min(last, max(self.deadline, now + STOPPED_TAKE_IN_S))
        while not patterns.ended(max(0.0, min(TICK_S, last - time.monotonic()))):
            if time.monotonic() >= last:
                name = patterns.trying or next(iter(self.tool.patterns))
                return ended, f"metrics.patterns.{name} took too long on a line of the output; write a simpler pattern"
            if ended.stopped is None and (reason := watch()) is not None:
                return replace(ended, stopped=reason), None
        broken = "metrics.patterns: the process that looks for them died before the output's end"
        return ended, broken if patterns.broken else None

    def _script(
        self, name: str, template: str, log: IO[bytes], env: Mapping[str, str] | None = None, at_least_s: float = 0
    ) -> Ended:
        return self._group(
            self._write(name, template), log, env=env, at_least_s=at_least_s, watch=lambda: self.watch([])
        )

    def _group(
        self,
        args: list[str],
        log: IO[bytes],
        watch: Callable[[], str | None],
        stdout: int | None = None,
        env: Mapping[str, str] | None = None,
        at_least_s: float = 0,
    ) -> Ended:
        left = None if self.deadline is None else max(self.deadline - time.monotonic(), at_least_s)
        variables = {**self._environment(), **(env or {})}
        try:
            return run_group(args, self.place, variables, log, stdout, left, watch, self.batch.grace_s)
        except FileNotFoundError as error:
            raise Failed(
                f"{error.filename}: not found on this node; it is what the script's #! line asks for"
            ) from error

    def arguments(self) -> list[str]:
        """The command line that is timed. Raises UnsafeValue."""
        return self._write("command", self.tool.command)

    def _write(self, name: str, template: str) -> list[str]:
        path = self.directory / f"{name}.sh"
        path.write_text(templates.render(template, self.declared, self.evaluation.params), encoding="utf-8")
        return [*templates.interpreter(template), str(path)]

    def _environment(self) -> dict[str, str]:
        # The platform's own variables (database, tokens) are none of a tool's business.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
        return inherited | templates.environment(self.declared, self.evaluation.params) | {
            **self.variables,
            "TUNESMITH_METRICS": str(self.directory / METRICS),
            "TUNESMITH_JOB_ID": self.batch.job_id,
            "TUNESMITH_EXPERIMENT_ID": str(self.batch.experiment_id),
            "TUNESMITH_TRIAL_NUMBER": str(self.evaluation.number),
            "TUNESMITH_TRIAL_DIR": str(self.directory),
            "TUNESMITH_ATTEMPT": str(self.evaluation.attempt),
        }  # fmt: skip

    def _check(self, ended: Ended, what: str = "") -> None:
        if ended.stopped == "timeout":
            limit = f"{self.batch.spec.trial_timeout_s:g} s (trial_timeout_s)"
            if what == FINISHING:
                limit += f", and at least {FINISH_S:g} s of its own"
            raise Failed(f"{what}still running after {limit}; ended{self._tail()}")
        if ended.stopped is not None:
            raise Stopped(ended.stopped)
        if ended.exit_code < 0:
            hint = "; on Linux that is often the out-of-memory killer" if ended.exit_code == -signal.SIGKILL else ""
            raise Failed(f"{what}killed by {_signal_name(-ended.exit_code)}{hint}{self._tail()}")
        if ended.exit_code:
            raise Failed(f"{what}exit code {ended.exit_code}{self._tail()}")

    def _tail(self) -> str:
        descriptor = self.log.fileno()  # the script may have removed the file
        size = os.fstat(descriptor).st_size
        start = max(self.log_start, size - TAIL_BYTES)
        text = os.pread(descriptor, max(0, size - start), start).decode(errors="replace").strip()
        return f"; its output ends with:\n{text}" if text else "; it printed nothing"


def evaluate(
    batch: Batch, evaluation: Evaluation, watch: Watch, run: Callable[..., CommandRun] = CommandRun
) -> Outcome:
    """Evaluate one configuration of a command tool, on this node; `run` makes each run of its command."""
    started = utcnow()
    storage, key = Storage(batch.artifacts), trial_key(batch.experiment_id, evaluation.number)
    checkpoint = Checkpoint(batch, evaluation)
    try:
        with _directory(storage, key) as directory:
            with (directory / LOG).open("a+b", buffering=0) as log:
                once = partial(_once, batch, evaluation, checkpoint, directory, log, run)
                found = checkpoint.keep(repeats.evaluate(batch, evaluation, watch, once))
            return _keep_log(storage, key, directory, found)
    except NoCheckpoint as error:
        return failure(batch, evaluation, started, str(error))
    except (OSError, StorageUnavailable) as error:
        return failure(batch, evaluation, started, f"the trial could not be run on its node: {error}")


def _once(
    batch: Batch,
    evaluation: Evaluation,
    checkpoint: Checkpoint,
    directory: Path,
    log: IO[bytes],
    run: Callable[..., CommandRun],
    repeat: int,
    watch: Watch,
    deadline: float | None,
) -> Outcome:
    """One of a trial's repeats; each has a directory of its own, and begins with the same checkpoint."""
    variables = {"TUNESMITH_REPEAT": str(repeat), **checkpoints.variables(evaluation, checkpoint.open(directory))}
    if batch.spec.repeats > 1:
        log.write(repeats.title(batch.spec, repeat).encode())
        directory = directory / f"repeat{repeat}"
        directory.mkdir(parents=True)
    return run(batch, evaluation, watch, directory, log, deadline, variables).outcome()


def _keep_log(storage: Storage, key: str, directory: Path, found: Outcome) -> Outcome:
    log = directory / LOG
    if not log.is_file() or log.stat().st_size == 0:  # the script may have removed it
        return found
    if storage.local is None:
        storage.upload(log, f"{key}/{LOG}")
    return replace(found, log=f"{key}/{LOG}")


@contextlib.contextmanager
def _directory(storage: Storage, key: str) -> Iterator[Path]:
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
    """Remove what an earlier attempt left, but the checkpoint that it kept."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name != checkpoints.KEPT:
                shutil.rmtree(path)
        else:
            path.unlink()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _usage(ended: Ended) -> dict[str, float]:
    return {
        "wall_time_s": ended.wall_time_s,
        "cpu_time_s": ended.cpu_time_s,
        "max_rss_bytes": float(ended.max_rss_bytes),
        "exit_code": float(ended.exit_code),
    }
