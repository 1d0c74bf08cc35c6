"""From measurements to an outcome: complete when every objective has a value, failed with a reason otherwise."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from functools import cache

from tuners.messages import Batch, Evaluation, Outcome
from tunesmith.domain import TrialState, utcnow

MAX_ERROR = 8000
"""Characters of an error that are kept."""


class Failed(Exception):
    """The evaluation failed; the message says why."""


class Stopped(Exception):
    """The evaluation was ended from outside; the argument is the reason."""


@cache
def worker_name() -> str:
    """This host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def storable(text: str) -> str:
    """The text without what databases cannot hold: NUL characters and lone surrogates."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def outcome(
    batch: Batch,
    evaluation: Evaluation,
    state: TrialState,
    started: datetime,
    metrics: Mapping[str, float],
    error: str | None = None,
) -> Outcome:
    """An outcome that ends now."""
    return Outcome(
        job_id=batch.job_id,
        number=evaluation.number,
        state=state,
        started_at=started,
        ended_at=utcnow(),
        metrics=metrics,
        error=None if error is None else storable(error)[:MAX_ERROR],
        worker=worker_name(),
    )


def failure(
    batch: Batch, evaluation: Evaluation, started: datetime, error: str, metrics: Mapping[str, float] | None = None
) -> Outcome:
    """A failed evaluation."""
    return outcome(batch, evaluation, TrialState.FAILED, started, metrics or {}, error)


IN_METRICS_FILE = ' Append {"name": value} as a JSON line to the file $TUNESMITH_METRICS, or set metrics.patterns.'
"""How a command gives its objectives values."""


def judge(
    batch: Batch,
    evaluation: Evaluation,
    started: datetime,
    metrics: Mapping[str, float],
    advice: str = IN_METRICS_FILE,
) -> Outcome:
    """Complete, unless an objective (or a constraint's metric) has no value. `advice`: how a tool gives it one."""
    wanted = {o.metric: "objective" for o in batch.spec.objectives}
    wanted |= {c.metric: "constraint" for c in batch.spec.constraints if c.metric not in wanted}
    missing = [f"{kind} {name!r}" for name, kind in wanted.items() if name not in metrics]
    if missing:
        measured = ", ".join(sorted(metrics)) or "nothing"
        error = f"no finite value for {', '.join(missing)}; it measured: {measured}.{advice}"
        return failure(batch, evaluation, started, error, metrics)
    return outcome(batch, evaluation, TrialState.COMPLETE, started, metrics)
