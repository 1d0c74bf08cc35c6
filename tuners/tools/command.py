"""The command tool: setup, command (timed) and finish, in the trial's own directory, with one log."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import templates
from tuners.tools.metrics import MetricsFile, Patterns
from tuners.tools.outcome import failure, judge, outcome
from tuners.tools.process import Ended, run_group
from tunesmith.domain import CommandTool, TrialState, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

LOG, METRICS = "log.txt", "metrics.jsonl"
TAIL_BYTES = 2000
"""Bytes of output that an error quotes."""
FINISH_S = 60.0
"""Seconds that the finish script of a trial that ran out of time may take."""

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]
"""Called a few times a second with new intermediate values; tells when to stop."""


class Failed(Exception):
    """The evaluation failed; the message says why."""


class Stopped(Exception):
    """The evaluation was ended from outside; the argument is the reason."""


class CommandRun:
    """One evaluation of a command tool."""

    def __init__(self, batch: Batch, evaluation: Evaluation, watch: Watch) -> None:
        assert isinstance(batch.spec.tool, CommandTool)
        self.batch, self.evaluation, self.watch = batch, evaluation, watch
        self.tool = batch.spec.tool
        self.declared = [parameter.name for parameter in batch.spec.space]
        timeout = batch.spec.trial_timeout_s
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.directory = Path()
        self.values: dict[str, float] = {}

    def evaluate(self) -> Outcome:
        """Run it to its end, however it ends."""
        started = utcnow()
        storage, key = Storage(self.batch.artifacts), trial_key(self.batch.experiment_id, self.evaluation.number)
        try:
            with _directory(storage, key) as self.directory:
                found = self._judge(started)
                return self._keep_log(storage, key, found)
        except (OSError, StorageUnavailable) as error:
            return failure(self.batch, self.evaluation, started, f"the trial could not be run on its node: {error}")

    def _judge(self, started: datetime) -> Outcome:
        try:
            with (self.directory / LOG).open("ab") as log:
                self._run(log)
        except Stopped as reason:
            state = TrialState.PRUNED if str(reason) == "pruned" else TrialState.WAITING
            return outcome(self.batch, self.evaluation, state, started, self.values)
        except (Failed, templates.UnsafeValue) as error:
            return failure(self.batch, self.evaluation, started, str(error), self.values)
        return judge(self.batch, self.evaluation, started, self.values)

    def _run(self, log: IO[bytes]) -> None:
        if self.tool.setup is not None:
            self._check(self._script("setup", self.tool.setup, log), "the setup script: ")
        metrics, patterns = MetricsFile(self.directory / METRICS), Patterns(self.tool.patterns)
        ended = self._command(log, metrics, patterns)
        self.watch(metrics.read(ended=True))
        self.values = {**metrics.final, **patterns.found, **_usage(ended)}
        for problem in metrics.problems[:20]:
            log.write(f"tunesmith: in $TUNESMITH_METRICS: {problem}\n".encode())
        finished = None
        if self.tool.finish is not None and ended.stopped in (None, "timeout"):
            code = {"TUNESMITH_EXIT_CODE": str(ended.exit_code)}
            finished = self._script("finish", self.tool.finish, log, code, at_least_s=FINISH_S)
        self._check(ended)
        if finished is not None:
            self._check(finished, "the finish script: ")

    def _command(self, log: IO[bytes], metrics: MetricsFile, patterns: Patterns) -> Ended:
        def watch() -> str | None:
            return self.watch(metrics.read())

        args = self._write("command", self.tool.command)
        if not self.tool.patterns:
            return self._group(args, log, watch=watch)
        with _tee(patterns, log) as stdout:
            return self._group(args, log, stdout=stdout, watch=watch)

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
            return run_group(args, self.directory, variables, log, stdout, left, watch, self.batch.grace_s)
        except FileNotFoundError as error:
            raise Failed(
                f"{error.filename}: not found on this node; it is what the script's #! line asks for"
            ) from error

    def _write(self, name: str, template: str) -> list[str]:
        path = self.directory / f"{name}.sh"
        path.write_text(templates.render(template, self.declared, self.evaluation.params))
        return [*templates.interpreter(template), str(path)]

    def _environment(self) -> dict[str, str]:
        # The platform's own variables (database, tokens) are none of a tool's business.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
        return inherited | templates.environment(self.declared, self.evaluation.params) | {
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
            raise Failed(f"{what}still running after {limit}; ended{self._tail()}")
        if ended.stopped is not None:
            raise Stopped(ended.stopped)
        if ended.exit_code < 0:
            name = signal.Signals(-ended.exit_code).name
            hint = "; on Linux that is often the out-of-memory killer" if name == "SIGKILL" else ""
            raise Failed(f"{what}killed by {name}{hint}{self._tail()}")
        if ended.exit_code:
            raise Failed(f"{what}exit code {ended.exit_code}{self._tail()}")

    def _tail(self) -> str:
        with (self.directory / LOG).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode(errors="replace").strip().replace("\0", "\ufffd")
        return f"; its output ends with:\n{text}" if text else "; it printed nothing"

    def _keep_log(self, storage: Storage, key: str, found: Outcome) -> Outcome:
        if (self.directory / LOG).stat().st_size == 0:
            return found
        if storage.local is None:
            storage.upload(self.directory / LOG, f"{key}/{LOG}")
        return replace(found, log=f"{key}/{LOG}")


def evaluate(batch: Batch, evaluation: Evaluation, watch: Watch) -> Outcome:
    """Evaluate one configuration of a command tool, on this node."""
    return CommandRun(batch, evaluation, watch).evaluate()


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
    except FileExistsError:  # an earlier attempt's
        shutil.rmtree(path)
        path.mkdir()
    yield path


@contextlib.contextmanager
def _tee(patterns: Patterns, log: IO[bytes]) -> Iterator[int]:
    """A pipe whose every line goes into the log and past the patterns; all of it is read when the block ends."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source:
        thread = threading.Thread(target=patterns.copy, args=(source, log), daemon=True)
        thread.start()
        try:
            yield write_end
        finally:
            os.close(write_end)
            thread.join(timeout=10)


def _usage(ended: Ended) -> dict[str, float]:
    return {
        "wall_time_s": ended.wall_time_s,
        "cpu_time_s": ended.cpu_time_s,
        "max_rss_bytes": float(ended.max_rss_bytes),
        "exit_code": float(ended.exit_code),
    }
