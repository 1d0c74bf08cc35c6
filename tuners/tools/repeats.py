"""Noisy objectives: a point evaluated several times in a row, its values the means, with their standard errors."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tuners.messages import Batch, Evaluation, Outcome, Stop
from tuners.tools.metrics import MAX_NAME
from tuners.tools.outcome import failure, outcome
from tunesmith.domain import ExperimentSpec, TrialState, utcnow

Watch = Callable[[list[tuple[str, int, float]]], Stop | None]
"""Called a few times a second with new intermediate values; tells when to stop."""
Once = Callable[[int, Watch, float | None], Outcome]
"""One of the repeats: its number from 0, its watch, and the moment (`time.monotonic`) when the trial's time is over."""

STDERR = "_stderr"
"""What the name of a metric's standard error ends with."""


def evaluate(batch: Batch, evaluation: Evaluation, watch: Watch, once: Once) -> Outcome:
    """Evaluate a point as often as its experiment says; the first repeat that is not complete ends the trial.

    Each repeat's value of an objective is an intermediate value of that metric at the step of its number, so that
    pruners compare trials repeat by repeat; what the tool itself reports with a step is kept as `<metric>.repeat<n>`.
    """
    spec, started = batch.spec, utcnow()
    deadline = None if spec.trial_timeout_s is None else time.monotonic() + spec.trial_timeout_s
    if spec.repeats == 1:
        return once(0, watch, deadline)
    done: list[Mapping[str, float]] = []
    while True:
        repeat = len(done)
        found = replace(once(repeat, _renaming(watch, repeat), deadline), started_at=started)
        if found.state is not TrialState.COMPLETE:
            return _cut_short(spec, found, done)
        done.append(found.metrics)
        stop = watch([(o.metric, repeat, found.metrics[o.metric]) for o in spec.objectives])
        late = deadline is not None and time.monotonic() >= deadline
        if len(done) == spec.repeats:
            return replace(found, metrics=combined(spec, done))
        if stop is not None or late:
            return _ended_between(batch, evaluation, replace(found, metrics=combined(spec, done)), stop, len(done))


def combined(spec: ExperimentSpec, repeats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means of every metric that all repeats gave, and the standard errors of objectives and constraints.

    The standard error is the sample standard deviation / sqrt(number of repeats); there is none of a single repeat. The
    exit code is the last one's.
    """
    shared = [name for name in repeats[0] if all(name in metrics for metrics in repeats)]
    columns = {name: [metrics[name] for metrics in repeats] for name in shared}
    found = {name: _mean(values) for name, values in columns.items()}
    if "exit_code" in columns:
        found["exit_code"] = columns["exit_code"][-1]
    if len(repeats) > 1:
        judged = dict.fromkeys([*(o.metric for o in spec.objectives), *(c.metric for c in spec.constraints)])
        found |= {name + STDERR: _standard_error(columns[name]) for name in judged if name in columns}
    return found


def title(spec: ExperimentSpec, repeat: int) -> str:
    """The line of the log above a repeat's output."""
    return f"==> repeat {repeat + 1} of {spec.repeats} <==\n"


def _renaming(watch: Watch, repeat: int) -> Watch:
    suffix = f".repeat{repeat}"

    def look(measured: list[tuple[str, int, float]]) -> Stop | None:
        return watch([(name[: MAX_NAME - len(suffix)] + suffix, step, value) for name, step, value in measured])

    return look


def _cut_short(spec: ExperimentSpec, found: Outcome, done: Sequence[Mapping[str, float]]) -> Outcome:
    """The outcome of a trial whose repeat failed or was ended; its metrics are those of the repeats before, if any."""
    metrics = dict(combined(spec, done) if done else found.metrics)
    if "exit_code" in found.metrics:
        metrics["exit_code"] = found.metrics["exit_code"]
    error = None if found.error is None else f"repeat {len(done) + 1} of {spec.repeats}: {found.error}"
    return replace(found, metrics=metrics, error=error)


def _ended_between(batch: Batch, evaluation: Evaluation, found: Outcome, stop: Stop | None, done: int) -> Outcome:
    """The outcome of a trial that was stopped, or ran out of time, after so many repeats."""
    if stop is None:
        limit, repeats = f"{batch.spec.trial_timeout_s:g} s (trial_timeout_s)", batch.spec.repeats
        error = f"repeat {done + 1} of {repeats}: not begun after {limit}; the trial's time is for all its repeats"
        ended = failure(batch, evaluation, found.started_at, error, found.metrics)
    else:
        state = TrialState.PRUNED if stop == "pruned" else TrialState.WAITING
        ended = outcome(batch, evaluation, state, found.started_at, found.metrics)
    return replace(ended, log=found.log)


def _mean(values: Sequence[float]) -> float:
    """The mean; of floats so large that their sum is none, too."""
    with contextlib.suppress(OverflowError):
        return statistics.fmean(values)
    return math.fsum(value / len(values) for value in values)


def _standard_error(values: Sequence[float]) -> float:
    with contextlib.suppress(OverflowError):
        return statistics.stdev(values) / math.sqrt(len(values))
    scaled = [value / sys.float_info.max for value in values]
    return min(1.0, statistics.stdev(scaled) / math.sqrt(len(values))) * sys.float_info.max
