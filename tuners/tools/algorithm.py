"""The algorithm tool: an algorithm on a dataset, or a model, in a child process of this worker.

Its result lies beside the trial's log: `result.json`, and of a model `rows.parquet`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from tuners.hosting.host import GRACE_S, HostDied, Stopped, TimedOut, Told
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import AlgorithmTask, ModelTask, TaskFailed
from tuners.messages import Batch, Evaluation, Outcome
from tuners.tools import repeats
from tuners.tools.outcome import failure, judge, outcome
from tuners.tools.repeats import Watch
from tuners.tools.running import LOG, keep_log, trial_directory
from tunesmith.domain import AlgorithmTool, TrialState, utcnow
from tunesmith.errors import StorageUnavailable, TunesmithError
from tunesmith.storage import Storage, trial_key

Tell = Callable[[int, "str | None"], None]
"""Takes how far the trial is: percent, 0 to 100, and what it does, if it said so."""
KEPT = ("result.json", "rows.parquet")
"""What a run leaves besides its log."""


def evaluate(
    batch: Batch, evaluation: Evaluation, watch: Watch, tell: Tell = lambda _percent, _message: None
) -> Outcome:
    """Evaluate one configuration of an algorithm tool, on this node."""
    started = utcnow()
    storage, key = Storage(batch.artifacts), trial_key(batch.experiment_id, evaluation.number)
    try:
        with trial_directory(storage, key) as directory:
            with (directory / LOG).open("ab", buffering=0) as log:
                once = partial(_once, batch, evaluation, directory, log, tell)
                found = repeats.evaluate(batch, evaluation, watch, once)
            if found.state is TrialState.COMPLETE and storage.local is None:
                for name in filter(lambda name: (directory / name).exists(), KEPT):
                    storage.upload(directory / name, f"{key}/{name}")
            found = keep_log(storage, key, directory, found)
            if found.log is None:
                (directory / LOG).unlink(missing_ok=True)
            return found
    except (OSError, StorageUnavailable) as error:
        return failure(batch, evaluation, started, f"the trial could not be run on its node: {error}")


def _once(
    batch: Batch,
    evaluation: Evaluation,
    directory: Path,
    log: IO[bytes],
    tell: Tell,
    repeat: int,
    watch: Watch,
    deadline: float | None,
) -> Outcome:
    """One of a trial's repeats; the last one's result stays."""
    started = utcnow()
    if batch.spec.repeats > 1:
        log.write(repeats.title(batch.spec, repeat).encode())
    left = limit = batch.spec.trial_timeout_s
    if deadline is not None and batch.spec.repeats > 1:
        left = max(0.0, deadline - time.monotonic())
    try:
        with borrowed(log) as host:
            metrics = host.call(
                _task(batch, evaluation, directory),
                log,
                _scaled(tell, repeat, batch.spec.repeats),
                lambda: watch([]),
                left,
                None if limit is None else f"{limit:g} s (trial_timeout_s)",
                min(batch.grace_s, GRACE_S),
            )
    except Stopped as reason:
        state = TrialState.PRUNED if str(reason) == "pruned" else TrialState.WAITING
        return outcome(batch, evaluation, state, started, {})
    except (TaskFailed, TimedOut, TunesmithError) as error:
        return failure(batch, evaluation, started, str(error))
    except HostDied as died:
        return failure(batch, evaluation, started, _how(batch, died))
    return judge(batch, evaluation, started, metrics, " These are its KPIs; choose objectives among them.")


def _task(batch: Batch, evaluation: Evaluation, directory: Path) -> AlgorithmTask | ModelTask:
    tool = batch.spec.tool
    assert isinstance(tool, AlgorithmTool)
    values, place = {**tool.parameters, **evaluation.params}, str(directory.absolute())
    if tool.kind == "model":
        return ModelTask(tool.plugin, tool.name, values, batch.artifacts, place)
    data, kpis = dict(tool.data_parameters), [kpi.name for kpi in tool.kpis]
    return AlgorithmTask(tool.plugin, tool.name, values, tool.files, data, kpis, batch.artifacts, place)


def _scaled(tell: Tell, repeat: int, count: int) -> Told:
    """One repeat's progress as the trial's."""
    return lambda percent, message: tell((100 * repeat + percent) // count, message)


def _how(batch: Batch, died: HostDied) -> str:
    tool = batch.spec.tool
    assert isinstance(tool, AlgorithmTool)
    who = died.part or f"the {tool.kind}"
    if died.exit_code is None:
        return f"{who}: {died}"
    if died.exit_code >= 0:
        return f"{who} ended its process ({died})"
    hint = "; on Linux that is often the out-of-memory killer" if died.exit_code == -signal.SIGKILL else ""
    return f"the process of {who} was {died}{hint}"
