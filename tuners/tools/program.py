"""The program tool: a command line with no shell, on the node or in an image, resumed from a checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from tuners.messages import Batch, Evaluation, Isolation, Outcome
from tuners.tools import checkpoints, containers, repeats
from tuners.tools.checkpoints import NoCheckpoint
from tuners.tools.containers import Container, Engine
from tuners.tools.outcome import failure, outcome
from tuners.tools.process import Ended
from tuners.tools.repeats import Watch
from tuners.tools.resuming import ExecutionCheckpoint, execution_checkpoint, execution_id, turn
from tuners.tools.rotation import Pump, RotatedLog
from tuners.tools.running import (
    LOG,
    TAIL_BYTES,
    Failed,
    Stopped,
    TrialRun,
    keep_log,
    trial_directory,
    usage,
)
from tuners.tools.templates import as_text
from tunesmith.domain import ProgramTool, Scalar, TrialState, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

HOLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill(text: str, declared: Collection[str], params: Mapping[str, Scalar]) -> str:
    """The text with `${param}` replaced; an inactive parameter is empty text, and `$${` says `${`.

    Raises:
        Failed: there is no such parameter.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "${"
        if name in params:
            return as_text(params[name]).replace("\0", "")  # no argument can hold a NUL
        if name in declared:
            return ""
        known = ", ".join(sorted(declared)) or "there are none"
        raise Failed(f"${{{name}}} in {text!r:.200} is no parameter ({known}); for the text, write $${{{name}}}")

    return HOLE.sub(value, text)


class ProgramRun(TrialRun):
    """One run of a program: an attempt's, or one of its repeats."""

    limit_name = "timeout_s"

    def __init__(
        self,
        batch: Batch,
        evaluation: Evaluation,
        watch: Watch,
        directory: Path,
        log: RotatedLog,
        checkpoint: ExecutionCheckpoint,
        lock: IO[bytes],
        deadline: float | None,
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(batch, evaluation, watch, directory, deadline, variables)
        assert isinstance(batch.spec.tool, ProgramTool)
        self.tool = batch.spec.tool
        self.network = self.tool.network
        if self.tool.image is not None:  # a container keeps it apart
            self.isolation = Isolation()
        self.log, self.checkpoint, self.lock = log, checkpoint, lock
        self.engine: Engine | None = None

    def _run(self) -> None:
        if self.tool.image is None:
            env = self._inherited() | self._variables(self.directory, self.checkpoint.directory)
            ended = self._start(self._arguments(self.checkpoint.directory), env)
        else:
            self.engine = containers.find_engine(self.batch.containers)
            if self.evaluation.attempt > 1:
                containers.remove_left(self.engine, self._execution)
            ended = self._start_contained(self._container(self.engine, self.tool.image))
        self.watch(self.metrics.read(ended=True))
        self.values = {**self.metrics.final, **self._usage(ended)}
        for line in self._problems():
            self.log.write(line)
        self._check(ended)

    def _arguments(self, checkpoint: Path) -> list[str]:
        """The command line; `checkpoint`: the directory, as the program sees it."""
        args = [fill(word, self.declared, self.evaluation.params) for word in self.tool.command]
        if self.checkpoint.resumable and self.tool.resume_flag is not None:
            args += [self.tool.resume_flag, str(checkpoint)]
        return args

    def _variables(self, directory: Path, checkpoint: Path) -> dict[str, str]:
        """Its environment; the directories are those that the program sees."""
        own = {name: fill(value, self.declared, self.evaluation.params) for name, value in self.tool.env.items()}
        return own | dict(self.batch.secrets) | self._own_variables(directory) | {
            checkpoints.VARIABLE: str(checkpoint),
            "JOB_ID": self.batch.training_id or self.batch.job_id,
            "ATTEMPT": str(self.evaluation.attempt),
            "CHECKPOINT_DIR": str(checkpoint),
            "RESUME_FROM_CHECKPOINT": str(checkpoint) if self.checkpoint.resumable else "",
        }  # fmt: skip

    @property
    def _checkpoint(self) -> Path:
        return self.checkpoint.directory

    @property
    def _execution(self) -> str:
        return execution_id(self.batch, self.evaluation)

    def _container(self, engine: Engine, image: str) -> Container:
        for directory in [self.directory, *([] if self.checkpoint.named else [self.checkpoint.directory])]:
            directory.chmod(0o777)  # an image may run as another user
        spec = self.batch.spec
        return containers.container(
            engine,
            self.batch.containers,
            image,
            self._arguments(containers.CHECKPOINT_DIR),
            self._variables(containers.TRIAL_DIR, containers.CHECKPOINT_DIR),
            {self.directory: containers.TRIAL_DIR, self.checkpoint.directory: containers.CHECKPOINT_DIR},
            spec.resources,
            {"execution": self._execution},
            {
                "job": self.batch.training_id or self.batch.job_id,
                "trial": str(self.evaluation.number),
                "attempt": str(self.evaluation.attempt),
            },
        )

    def _start_contained(self, made: Container) -> Ended:
        with os.fdopen(os.memfd_create("environment"), "r+b", buffering=0) as stdin:
            stdin.write(made.stdin)
            return self._start(made.args, self._inherited() | made.env, stdin, made.cleanup)

    def _start(
        self, args: list[str], env: Mapping[str, str], stdin: IO[bytes] | None = None, cleanup: Sequence[str] = ()
    ) -> Ended:
        pump = Pump(self.log, self.batch.secrets.values())
        try:
            ended = self._group(args, pump, self._look, env, stdin=stdin, cleanup=cleanup, held=self.lock)
        except OSError as error:
            if error.filename is None:  # the launcher died
                raise
            raise Failed(_why_not(args[0], error)) from error
        finally:
            pump.close()
        if pump.problem is not None:
            raise pump.problem
        return ended

    def _usage(self, ended: Ended) -> dict[str, float]:
        found = usage(ended)
        if self.engine is not None and self.engine.is_docker:  # what docker's client used, not the program
            del found["cpu_time_s"], found["max_rss_bytes"]
        return found

    def _explanation(self, exit_code: int) -> str:
        if self.engine is None or self.tool.image is None:
            return ""
        return containers.explanation(self.engine, self.tool.image, self.tool.command[0], exit_code)

    def _ending(self) -> bytes:
        return self.log.tail(TAIL_BYTES)


def _why_not(program: str, error: OSError) -> str:
    """Why a program could not be started."""
    if isinstance(error, PermissionError):
        return f"{program}: may not be executed on this node"
    if not isinstance(error, FileNotFoundError):
        return f"{program}: cannot be executed on this node: {error.strerror}"
    if Path(program).exists():
        return f"{program}: the interpreter that its #! line asks for is not on this node"
    return f"{program}: not found on this node; write its whole path, or name an image that has it"


def evaluate(batch: Batch, evaluation: Evaluation, watch: Watch) -> Outcome:
    """Evaluate one configuration of a program tool, on this node: one attempt of an execution."""
    started = utcnow()
    storage, key = Storage(batch.artifacts), trial_key(batch.experiment_id, evaluation.number)
    if checkpoints.span(evaluation) is not None:
        return failure(batch, evaluation, started, "a program is not trained piece by piece; choose another search")
    try:
        with (
            turn(batch, evaluation, watch) as lock,
            trial_directory(storage, key) as directory,
            execution_checkpoint(batch, evaluation) as checkpoint,
        ):
            with RotatedLog(directory / LOG, batch.max_log_bytes) as log:
                once = partial(_once, batch, evaluation, directory, log, checkpoint, lock)
                found = checkpoint.keep(repeats.evaluate(batch, evaluation, watch, once))
            found = replace(found, resumed_from=checkpoint.name if checkpoint.resumable else None)
            return keep_log(storage, key, directory, found)
    except Stopped:
        return outcome(batch, evaluation, TrialState.WAITING, started, {})
    except (Failed, NoCheckpoint) as error:
        return failure(batch, evaluation, started, str(error))
    except (OSError, StorageUnavailable) as error:
        return failure(batch, evaluation, started, f"the trial could not be run on its node: {error}")


def _once(
    batch: Batch,
    evaluation: Evaluation,
    directory: Path,
    log: RotatedLog,
    checkpoint: ExecutionCheckpoint,
    lock: IO[bytes],
    repeat: int,
    watch: Watch,
    deadline: float | None,
) -> Outcome:
    """One of the repeats; each has a directory of its own, and all share the checkpoint."""
    variables = {"TUNESMITH_REPEAT": str(repeat)}
    if batch.spec.repeats > 1:
        log.write(repeats.title(batch.spec, repeat).encode())
        directory = directory / f"repeat{repeat}"
        directory.mkdir(parents=True)
    return ProgramRun(batch, evaluation, watch, directory, log, checkpoint, lock, deadline, variables).outcome()
