"""One trial, whatever its tool: evaluated once or several times, with a checkpoint where the tool wants one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools import checkpoints, command, function, hosted, program, repeats
from tuners.tools.hosted import Tell
from tuners.tools.isolation import refuse_functions
from tuners.tools.masking import masked
from tuners.tools.outcome import MAX_ERROR, Failed, failure
from tuners.tools.repeats import Watch
from tunesmith.domain import CommandTool, HostedTool, Parameter, ProgramTool, Scalar, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

Suggest = Callable[[Parameter], Scalar]
"""Asks the search for one parameter of the running trial, for functions that are defined by their run."""


def evaluate(
    batch: Batch,
    evaluation: Evaluation,
    watch: Watch,
    suggest: Suggest | None = None,
    tell: Tell = lambda _percent, _message: None,
) -> Outcome:
    """Evaluate one configuration, on this node.

    `watch` takes new intermediate values a few times a second and tells when to stop; `tell` takes how far it is.
    """
    found = _evaluated(batch, evaluation, watch, suggest, tell)
    if not batch.secrets or found.error is None:
        return found
    cut = len(found.error) >= MAX_ERROR
    return replace(found, error=masked(found.error, batch.secrets.values(), cut))


def _evaluated(batch: Batch, evaluation: Evaluation, watch: Watch, suggest: Suggest | None, tell: Tell) -> Outcome:
    if isinstance(batch.spec.tool, CommandTool):
        return command.evaluate(batch, evaluation, watch)
    if isinstance(batch.spec.tool, ProgramTool):
        return program.evaluate(batch, evaluation, watch)
    if isinstance(batch.spec.tool, HostedTool):
        return hosted.evaluate(batch, evaluation, watch, tell)
    try:
        refuse_functions(batch.isolation)
    except Failed as error:
        return failure(batch, evaluation, utcnow(), str(error))
    return around(batch, evaluation, watch, lambda look: function.evaluate(batch, evaluation, look, suggest=suggest))


def around(batch: Batch, evaluation: Evaluation, watch: Watch, call: Callable[[Watch], Outcome]) -> Outcome:
    """Evaluate a configuration by `call`, in this process and thread: with repeats, and a checkpoint to ask for."""
    started = utcnow()
    with checkpoints.offered(batch, evaluation) as offer:
        if batch.spec.repeats == 1:
            return offer.checkpoint.keep(call(watch))
        log = _Log(batch, evaluation)

        def once(repeat: int, look: Watch, deadline: float | None) -> Outcome:
            offer.renew()
            return log.add(repeat, call(_until(deadline, look)))

        try:
            found = log.keep(repeats.evaluate(batch, evaluation, watch, once))
        except StorageUnavailable as error:
            return failure(batch, evaluation, started, f"the log could not be kept: {error}")
        return offer.checkpoint.keep(found)


class _Log:
    """What the repeats of a function printed, one after another; each left it as the trial's log."""

    def __init__(self, batch: Batch, evaluation: Evaluation) -> None:
        self.spec, self.storage = batch.spec, Storage(batch.artifacts)
        self.key = f"{trial_key(batch.experiment_id, evaluation.number)}/log.txt"
        self.text = b""
        self.printed = False

    def add(self, repeat: int, found: Outcome) -> Outcome:
        """Take in a repeat's."""
        self.text += repeats.title(self.spec, repeat).encode()
        if found.log is not None:
            self.text += b"".join(self.storage.read(found.log))
            self.printed = True
        return found

    def keep(self, found: Outcome) -> Outcome:
        """Write them all, when there is anything. Raises StorageUnavailable."""
        if not self.printed:
            return found
        self.storage.write(self.key, self.text)
        return replace(found, log=self.key)


def _until(deadline: float | None, watch: Watch) -> Watch:
    """A watch that also says when the time of all repeats is over; a tool takes its word as that of its own clock."""

    def look(measured: list[tuple[str, int, float]]) -> Stop | None:
        stop = watch(measured)
        late = stop is None and deadline is not None and time.monotonic() >= deadline
        return cast(Stop, "timeout") if late else stop

    return look
