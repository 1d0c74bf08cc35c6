"""The function tool: a Python function that this worker can import, called with the parameters as keywords."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import FrameType
from typing import Any

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.metrics import MAX_METRICS, metric_of
from tuners.tools.outcome import failure, judge, outcome
from tuners.tools.process import TICK_S
from tunesmith.domain import FunctionTool, TrialState, utcnow
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage, trial_key

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]


class _Interrupted(BaseException):
    """Raised inside the function when it must end; a BaseException, so that `except Exception` does not swallow it."""


def evaluate(batch: Batch, evaluation: Evaluation, watch: Watch) -> Outcome:
    """Call the function with one configuration. It returns a number (the first objective) or a dict of metrics."""
    assert isinstance(batch.spec.tool, FunctionTool)
    started, output = utcnow(), io.StringIO()
    begun = time.perf_counter()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), _interruptions(batch, watch):
            result = _load(batch.spec.tool.entrypoint)(**evaluation.params)
        metrics = _metrics(batch, result)
        metrics.setdefault("wall_time_s", time.perf_counter() - begun)
        found = judge(batch, evaluation, started, metrics)
    except _Interrupted as reason:
        found = _interrupted(batch, evaluation, started, str(reason))
    except (Exception, SystemExit):
        found = failure(batch, evaluation, started, traceback.format_exc(limit=-20))
    text = output.getvalue()
    try:
        return _keep_log(batch, evaluation, found, text) if text else found
    except StorageUnavailable as error:
        return failure(batch, evaluation, started, f"the log could not be kept: {error}", found.metrics)


def _interrupted(batch: Batch, evaluation: Evaluation, started: Any, reason: str) -> Outcome:
    if reason == "timeout":
        limit = f"{batch.spec.trial_timeout_s:g} s (trial_timeout_s)"
        return failure(batch, evaluation, started, f"still running after {limit}; ended")
    state = TrialState.PRUNED if reason == "pruned" else TrialState.WAITING
    return outcome(batch, evaluation, state, started, {})


def _metrics(batch: Batch, result: Any) -> dict[str, float]:
    pairs = result if isinstance(result, Mapping) else {batch.spec.objectives[0].metric: result}
    numbers = {str(name): metric_of(str(name), value) for name, value in pairs.items()}
    return dict(itertools.islice(((n, v) for n, v in numbers.items() if v is not None), MAX_METRICS))


@lru_cache(maxsize=64)
def _load(entrypoint: str) -> Callable[..., Any]:
    module, _, name = entrypoint.partition(":")
    function = getattr(importlib.import_module(module), name)
    if not callable(function):
        raise TypeError(f"{entrypoint} is no function")
    return function  # type: ignore[no-any-return]


@contextlib.contextmanager
def _interruptions(batch: Batch, watch: Watch) -> Iterator[None]:
    """Look a few times a second whether to stop, from a timer signal; only the main thread can have one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limit = batch.spec.trial_timeout_s
    deadline = None if limit is None else time.monotonic() + limit

    def look(_signal: int, _frame: FrameType | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise _Interrupted("timeout")
        reason = watch([])
        if reason is not None:
            raise _Interrupted(reason)

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
