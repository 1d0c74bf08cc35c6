"""The function tools: a Python function that this worker imports, or that was shipped with the job, called by it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import FrameType

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.callable_load import load
from tuners.tools.callable_run import Interrupted, Watch, call, ended
from tuners.tools.callable_trial import Suggest
from tuners.tools.masking import masked
from tuners.tools.outcome import failure
from tuners.tools.process import TICK_S
from tunesmith.domain import Parameter, Scalar, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

__all__ = ["Suggest", "Watch", "call", "evaluate", "interruptible"]


def evaluate(batch: Batch, evaluation: Evaluation, watch: Watch, suggest: Suggest | None = None) -> Outcome:
    """Evaluate one configuration with the batch's function; what it prints becomes the trial's log.

    `suggest` hands out the parameters of a function that asks for them while it runs.
    """
    started, output = utcnow(), io.StringIO()
    found: Outcome
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), in_environment(batch.secrets):
        try:
            function = load(batch)
        except (Exception, SystemExit):
            error = f"the function could not be loaded\n{traceback.format_exc(limit=-20)}"
            found = failure(batch, evaluation, started, error)
        else:
            try:
                with interruptible(batch, watch, suggest) as (watched, asked):
                    found = call(function, batch, evaluation, watched, asked)
            except Interrupted as reason:  # just before the call, or just after it
                found = ended(batch, evaluation, started, str(reason))
    text = masked(output.getvalue(), batch.secrets.values()) if batch.secrets else output.getvalue()
    try:
        return _keep_log(batch, evaluation, found, text) if text else found
    except StorageUnavailable as error:
        return failure(batch, evaluation, started, f"the log could not be kept: {error}", found.metrics)


@contextlib.contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let this process have some variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def interruptible(batch: Batch, watch: Watch, suggest: Suggest | None = None) -> Iterator[tuple[Watch, Suggest | None]]:
    """Look a few times a second whether to stop, from a timer signal; only the main thread can have one.

    Gives `watch` and `suggest` back in a form that the signal never breaks into: neither can be entered twice.
    """
    if threading.current_thread() is not threading.main_thread():
        yield watch, suggest
        return
    limit = batch.spec.trial_timeout_s
    deadline = None if limit is None else time.monotonic() + limit
    busy = False

    @contextlib.contextmanager
    def undisturbed() -> Iterator[None]:
        nonlocal busy
        busy = True
        try:
            yield
        finally:
            busy = False

    def watched(measured: list[tuple[str, int, float]]) -> Stop | None:
        with undisturbed():
            return watch(measured)

    def asked(parameter: Parameter) -> Scalar:
        assert suggest is not None
        with undisturbed():
            return suggest(parameter)

    def look(_signal: int, _frame: FrameType | None) -> None:
        if busy:
            return  # the next tick comes soon
        if deadline is not None and time.monotonic() >= deadline:
            raise Interrupted("timeout")
        reason = watch([])
        if reason is not None:
            raise Interrupted(reason)

    with _ticking(look):
        try:
            yield watched, asked if suggest is not None else None
        finally:
            busy = True


@contextlib.contextmanager
def _ticking(look: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _keep_log(batch: Batch, evaluation: Evaluation, found: Outcome, text: str) -> Outcome:
    storage = Storage(batch.artifacts)
    key = f"{trial_key(batch.experiment_id, evaluation.number)}/log.txt"
    storage.write(key, text.encode(errors="replace"))
    return replace(found, log=key)
