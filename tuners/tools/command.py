"""The command tool: setup, command (timed) and finish, in the trial's own directory, with one log."""

from __future__ import annotations

import contextlib
import os
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
from tuners.tools.metrics import Patterns
from tuners.tools.outcome import failure
from tuners.tools.process import TICK_S, Ended, Stream
from tuners.tools.repeats import Watch
from tuners.tools.rotation import Pump
from tuners.tools.running import LOG, TAIL_BYTES, Failed, TrialRun, keep_log, trial_directory, usage
from tunesmith.domain import CommandTool, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

FINISH_S = 60.0
"""Seconds that the finish script of a trial that ran out of time may take."""
TAKE_IN_S = 60.0
"""Seconds that the patterns may take for the last of what a command printed, where the trial has no timeout."""
STOPPED_TAKE_IN_S = 1.0
"""The same where the command was ended, or the trial's time is over."""


class CommandRun(TrialRun):
    """One run of a command tool: a trial's, or one of its repeats."""

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
        super().__init__(batch, evaluation, watch, directory, deadline, variables)
        assert isinstance(batch.spec.tool, CommandTool)
        self.tool = batch.spec.tool
        self.network = self.tool.network
        self.log = log
        self.log_start = os.fstat(log.fileno()).st_size

    def _run(self) -> None:
        if self.tool.setup is not None:
            self._check(self._script("setup", self.tool.setup), "the setup script: ")
        ended, printed, slow = self._command()
        self.watch(self.metrics.read(ended=True))
        self.values = {**self.metrics.final, **printed, **usage(ended)}
        finished = None
        if self.tool.finish is not None and ended.stopped in (None, "timeout"):
            code = {"TUNESMITH_EXIT_CODE": str(ended.exit_code)}
            finished = self._script("finish", self.tool.finish, code, at_least_s=FINISH_S)
            self.metrics.read(ended=True)  # a finish script may measure what the command made
            self.values = {**self.metrics.final, **printed, **usage(ended)}
        for line in self._problems():
            self.log.write(line)
        if slow is not None and ended.stopped in (None, "timeout"):
            raise Failed(slow + self._tail())
        self._check(ended)
        if finished is not None:
            self._check(finished, "the finish script: ", f", and at least {FINISH_S:g} s of its own")

    def _command(self) -> tuple[Ended, dict[str, float], str | None]:
        """How the command ended, what the patterns found in its output, and what was wrong with them."""
        args = self.arguments()
        with self._output() as output:
            if not self.tool.patterns:
                return self._start(args, output, self._look), {}, None
            patterns = Patterns(self.tool.patterns, output)
            try:
                ended = self._start(args, output, self._look, stdout=patterns.stdout)
                ended, slow = self._take_in(patterns, ended)
                return ended, patterns.found, slow
            finally:
                patterns.close()

    @contextlib.contextmanager
    def _output(self) -> Iterator[Stream]:
        """Where it prints: the log itself, or a pipe into it that masks the secrets."""
        if not self.batch.secrets:
            yield self.log
            return
        pump = Pump(self.log, self.batch.secrets.values())
        try:
            yield pump
        finally:
            pump.close()
        if pump.problem is not None:
            raise pump.problem

    def _take_in(self, patterns: Patterns, ended: Ended) -> tuple[Ended, str | None]:
        """Wait for the patterns to see what the ended command printed, not beyond the trial's time or a stop."""
        now = time.monotonic()
        last = now + (TAKE_IN_S if ended.stopped is None else STOPPED_TAKE_IN_S)
        if self.deadline is not None:
            last = min(last, max(self.deadline, now + STOPPED_TAKE_IN_S))
        while not patterns.ended(max(0.0, min(TICK_S, last - time.monotonic()))):
            if time.monotonic() >= last:
                name = patterns.trying or next(iter(self.tool.patterns))
                return ended, f"metrics.patterns.{name} took too long on a line of the output; write a simpler pattern"
            if ended.stopped is None and (reason := self._look()) is not None:
                return replace(ended, stopped=reason), None
        broken = "metrics.patterns: the process that looks for them died before the output's end"
        return ended, broken if patterns.broken else None

    def _script(
        self, name: str, template: str, env: Mapping[str, str] = MappingProxyType({}), at_least_s: float = 0
    ) -> Ended:
        with self._output() as output:
            return self._start(self._write(name, template), output, lambda: self.watch([]), env, at_least_s)

    def _start(
        self,
        args: list[str],
        output: Stream,
        watch: Callable[[], str | None],
        env: Mapping[str, str] = MappingProxyType({}),
        at_least_s: float = 0,
        stdout: int | None = None,
    ) -> Ended:
        try:
            return self._group(args, output, watch, {**self._environment(), **env}, at_least_s, stdout)
        except FileNotFoundError as error:
            raise Failed(
                f"{error.filename}: not found on this node; it is what the script's #! line asks for"
            ) from error

    def arguments(self) -> list[str]:
        """The command line that is timed. Raises UnsafeValue."""
        return self._write("command", self.tool.command)

    def _write(self, name: str, template: str) -> list[str]:
        path = self.directory / f"{name}.sh"
        script = templates.render(template, self.declared, self.evaluation.params)
        path.unlink(missing_ok=True)  # a new file, and not what the script before this one may have linked it to
        with path.open("x", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o644)  # whoever the trial runs as reads it
            stream.write(script)
        return [*templates.interpreter(template), str(path)]

    def _ending(self) -> bytes:
        descriptor = self.log.fileno()  # the script may have removed the file
        size = os.fstat(descriptor).st_size
        start = max(self.log_start, size - TAIL_BYTES)
        return os.pread(descriptor, max(0, size - start), start)


def evaluate(
    batch: Batch, evaluation: Evaluation, watch: Watch, run: Callable[..., CommandRun] = CommandRun
) -> Outcome:
    """Evaluate one configuration of a command tool, on this node; `run` makes each run of its command."""
    started = utcnow()
    storage, key = Storage(batch.artifacts), trial_key(batch.experiment_id, evaluation.number)
    checkpoint = Checkpoint(batch, evaluation)
    try:
        with trial_directory(storage, key) as directory:
            with (directory / LOG).open("a+b", buffering=0) as log:
                once = partial(_once, batch, evaluation, checkpoint, directory, log, run)
                found = checkpoint.keep(repeats.evaluate(batch, evaluation, watch, once))
            return keep_log(storage, key, directory, found)
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
