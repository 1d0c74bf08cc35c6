"""The hosted tools: an algorithm on a dataset, a model, or a training, in a child process of this worker.

What they leave lies beside the trial's log: `result.json`, of a model `rows.parquet`, of a training the model's file
and `model.json`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from tuners.hosting.host import GRACE_S, HostDied, Stopped, TimedOut, Told
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import AlgorithmTask, ModelTask, TaskFailed, TrainTask
from tuners.messages import Batch, Evaluation, Outcome
from tuners.tools import repeats
from tuners.tools.outcome import failure, judge, outcome
from tuners.tools.repeats import Watch
from tuners.tools.running import LOG, keep_log, trial_directory
from tunesmith.domain import AlgorithmTool, TrainerTool, TrialState, utcnow
from tunesmith.errors import StorageUnavailable, TunesmithError
from tunesmith.storage import Storage, trial_key

Tell = Callable[[int, "str | None"], None]
"""Takes how far the trial is: percent, 0 to 100, and what it does, if it said so."""
ADVICE = {
    "algorithm": " These are its KPIs; choose objectives among them.",
    "trainer": " These are the template's metrics; choose hyperparameter_search.metric among them.",
}
KILLS = 2
"""How often a training's process may be killed without an end to its trial."""
KEPT = ("model.*", "rows.parquet", "result.json")
"""What a run leaves besides its log."""
LAST = "model.json"
"""Of these, what is uploaded last: it says that the others are there."""


def evaluate(
    batch: Batch, evaluation: Evaluation, watch: Watch, tell: Tell = lambda _percent, _message: None
) -> Outcome:
    """Evaluate one configuration of a hosted tool, on this node."""
    started = utcnow()
    storage, key = Storage(batch.artifacts), trial_key(batch.experiment_id, evaluation.number)
    try:
        with trial_directory(storage, key) as directory:
            with (directory / LOG).open("ab", buffering=0) as log:
                once = partial(_once, batch, evaluation, directory, log, tell)
                found = repeats.evaluate(batch, evaluation, watch, once)
            if found.state is TrialState.COMPLETE and storage.local is None:
                for path in _kept(directory):
                    storage.upload(path, f"{key}/{path.name}")
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
    task = _task(batch, evaluation, directory)
    call = (
        task,
        log,
        _scaled(tell, repeat, batch.spec.repeats),
        watch,
        left,
        None if limit is None else f"{limit:g} s (trial_timeout_s)",
        min(batch.grace_s, GRACE_S),
        "pruned" if isinstance(task, TrainTask) else None,
    )
    try:
        metrics = _performed(*call)
    except Stopped as reason:
        state = TrialState.PRUNED if str(reason) == "pruned" else TrialState.WAITING
        return outcome(batch, evaluation, state, started, {})
    except (TaskFailed, TimedOut, TunesmithError) as error:
        return failure(batch, evaluation, started, str(error))
    except HostDied as died:
        return failure(batch, evaluation, started, _how(batch, died))
    return judge(batch, evaluation, started, metrics, ADVICE[batch.spec.tool.type])


def _performed(task: AlgorithmTask | ModelTask | TrainTask, log: IO[bytes], *more: Any) -> dict[str, float]:
    """What the task returns; a training whose process is killed goes on from its checkpoint in another one."""
    for again in range(KILLS, -1, -1):
        try:
            with borrowed(log) as host:
                return host.call(task, log, *more)
        except HostDied as died:
            if not (again and isinstance(task, TrainTask) and died.exit_code in (None, -signal.SIGKILL)):
                raise  # None: its launcher was killed, and the process with it
            log.write(b"tunesmith: the training's process was killed; another one goes on from its checkpoint\n")
    raise AssertionError("the last one raises")


def _kept(directory: Path) -> list[Path]:
    found = (path for pattern in KEPT for path in sorted(directory.glob(pattern)))
    return sorted(found, key=lambda path: path.name == LAST)


def _task(batch: Batch, evaluation: Evaluation, directory: Path) -> AlgorithmTask | ModelTask | TrainTask:
    tool, place = batch.spec.tool, str(directory.absolute())
    if isinstance(tool, TrainerTool):
        key = trial_key(batch.experiment_id, evaluation.number)
        where = (tool.data_root, tool.files, batch.artifacts, key, place)
        return TrainTask(tool.plugin, tool.template, tool.config, evaluation.params, *where)
    assert isinstance(tool, AlgorithmTool)
    values = {**tool.parameters, **evaluation.params}
    if tool.kind == "model":
        return ModelTask(tool.plugin, tool.name, values, batch.artifacts, place)
    data, kpis = dict(tool.data_parameters), [kpi.name for kpi in tool.kpis]
    return AlgorithmTask(tool.plugin, tool.name, values, tool.files, data, kpis, batch.artifacts, place)


def _scaled(tell: Tell, repeat: int, count: int) -> Told:
    """One repeat's progress as the trial's."""
    return lambda percent, message: tell((100 * repeat + percent) // count, message)


def _how(batch: Batch, died: HostDied) -> str:
    tool = batch.spec.tool
    who = died.part or f"the {tool.kind if isinstance(tool, AlgorithmTool) else 'training'}"
    if died.exit_code is None:
        return f"{who}: {died}"
    if died.exit_code >= 0:
        return f"{who} ended its process ({died})"
    hint = "; on Linux that is often the out-of-memory killer" if died.exit_code == -signal.SIGKILL else ""
    return f"the process of {who} was {died}{hint}"
