"""`Client.tune`: a function searched on a platform: shipped, submitted, followed, and its result read back."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.client.experiment import Experiment, PriorityWord
from tunesmith.client.functions import pack
from tunesmith.client.job import Job
from tunesmith.client.tune_progress import ProgressBar
from tunesmith.client.tune_request import INCIDENTAL, Task, TuneOptions, task_of
from tunesmith.client.tune_result import Interrupted, Result
from tunesmith.client.tune_space import SpaceLike
from tunesmith.domain import Progress, Trial, TrialState
from tunesmith.errors import JobActive, PayloadTooLarge, StateForbids, TunesmithError
from tunesmith.schemas.functions import FunctionAnswer
from tunesmith.schemas.jobs import JobAnswer
from tunesmith.schemas.trials import TrialAnswer

if TYPE_CHECKING:
    from tunesmith.client.client import Client

DEFAULT_TRIALS = 100
"""Trials of a search that says neither how many nor how long, on any platform."""
REFRESH_S = 0.3
"""Seconds between two looks at how far the job is, while things happen to it."""
FINISHED = tuple(state.value for state in TrialState if state.finished)


def tune(
    client: Client,
    connection: Connection,
    objective: Callable[..., Any],
    space: SpaceLike | None,
    workers: int | None,
    priority: PriorityWord,
    options: TuneOptions,
) -> Result:
    """Search on the client's platform; see `Client.tune`."""
    task = task_of(objective, space, options, max_concurrent=workers)
    experiment, changed = _experiment(client, connection, task)
    stopped = None if changed else _stopped(client, task, experiment)
    if stopped is not None:
        return read_result(experiment, task, stopped)
    job = _job(client, connection, task, experiment, priority)
    if job is None:  # all its trials are there
        return read_result(experiment, task, None)
    metric = task.experiment.objectives[0].metric
    try:
        info = _followed(job, ProgressBar(task.name, metric, task.progress, _before(experiment, job)))
    except KeyboardInterrupt as error:
        with contextlib.suppress(StateForbids):
            job.pause() if task.named else job.cancel()
        found = read_result(experiment, task, None)
        onwards = f"; the same call goes on with it, by its name {task.name!r}" if task.named else ""
        raise Interrupted(f"interrupted after {len(found)} trials{onwards}", found) from error
    if info.job_status == "failed":
        raise TunesmithError(f"{task.name!r} failed: {info.job_exc_info}", name=task.name, job_id=job.id)
    return read_result(experiment, task, "it was stopped" if info.job_status == "stopped" else info.message)


def read_result(experiment: Experiment, task: Task, stopped: str | None) -> Result:
    """Everything that a run found, page after page; the curves when a figure wants them."""
    spec = task.experiment.spec()
    begun = (answer for answer in experiment.trials() if answer.started_at is not None)
    trials = [_trial(answer) for answer in begun if answer.state in FINISHED]

    def curves() -> Mapping[int, Mapping[int, float]]:
        metric = spec.objectives[0].metric
        details = (experiment.trial(trial.number) for trial in trials)
        return {d.number: dict(d.curve(metric)) for d in details}

    return Result(spec, trials, curves, stopped)


def _experiment(client: Client, connection: Connection, task: Task) -> tuple[Experiment, bool]:
    """The run of the task's name, with the space that it is to have now, or a new one; whether either is new."""
    found = _find(client, task.name) if task.named else None
    if found is None:
        return client.create_experiment(task.experiment), True
    info, wanted = found.info, task.experiment
    task.refuse_another(info, info.callable is not None and info.callable.define_by_run)
    if (info.parameters, info.parameter_constraints) == (wanted.parameters, wanted.parameter_constraints):
        return found, False
    changes = {"parameters": wanted.parameters, "parameter_constraints": wanted.parameter_constraints}
    connection.patch(f"/api/v1/experiments/{found.id}", changes)
    return found, True


def _find(client: Client, name: str) -> Experiment | None:
    for experiment in client.experiments(name, archived=True):
        if experiment.info.callable is not None and experiment.info.tool_name.casefold() == name.casefold():
            return experiment
    return None


def _stopped(client: Client, task: Task, experiment: Experiment) -> str | None:
    """Why the run's last job stopped by itself (by its patience, say), if the task asks for no more than it did."""
    trials = [] if experiment.job() is not None else list(experiment.trials(order="number"))
    if not trials or trials[-1].job_id is None:
        return None
    last = client.job(trials[-1].job_id)
    if last.info.job_status != "finished" or last.info.message == last.info.note:
        return None
    left = _left(client, task, _before(experiment, last))
    if left is not None and left <= 0:  # fewer than the jobs before it made
        return None
    known = [trial.params for trial in trials if trial.job_id != last.id]
    search = task.search(left, known).search()
    asked = search.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    asked |= {"type": search.type} | asked.pop("options", {})
    made = dict(last.info.job_meta.optimizer)
    if "n_iter" in made and "budget_s" not in asked:
        asked.setdefault("n_iter", DEFAULT_TRIALS)
    return last.info.message if _lasting(asked) == _lasting(made) else None


def _lasting(search: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a search that make it ask for more, or for something else."""
    return {field: value for field, value in search.items() if field not in INCIDENTAL}


def _job(
    client: Client, connection: Connection, task: Task, experiment: Experiment, priority: PriorityWord
) -> Job | None:
    """The run's job: the one that is there, going on if it was paused, or a new one; None when nothing is left."""
    running = experiment.job()
    if running is None:
        finished = _finished(experiment)
        left = _left(client, task, finished)
        if left is not None and left <= 0:
            return None
        known = [answer.params for answer in experiment.trials()] if finished and task.optimizer["enqueue"] else []
        search = task.search(left, known).model_copy(update={"code": _ship(connection, task)})
        with contextlib.suppress(JobActive):  # somebody else was faster: follow that one
            return experiment.submit(search, priority)
        running = experiment.job()
    if running is not None and running.info.job_status == "paused":
        running.resume()
    return running


def _finished(experiment: Experiment) -> int:
    """Trials that count: all finished ones, but failed ones only beside others that succeeded."""
    counts = experiment.refresh().trial_counts
    succeeded = sum(counts.get(state, 0) for state in FINISHED if state != TrialState.FAILED.value)
    return succeeded + counts.get(TrialState.FAILED.value, 0) if succeeded else 0


def _left(client: Client, task: Task, finished: int) -> int | None:
    """Trials that are still to be made; None: as many as the search makes by itself."""
    if task.trials is not None:
        return task.trials - finished
    if not finished or "budget_s" in task.optimizer:
        return None
    counted = any(s.name == task.optimizer["type"] and "n_iter" in s.fields for s in client.samplers())
    return DEFAULT_TRIALS - finished if counted else 0


def _ship(connection: Connection, task: Task) -> str:
    """Upload the function; its digest."""
    shipped = pack(task.objective)
    body = {
        "name": shipped.name[:500],
        "payload": base64.b64encode(shipped.payload).decode(),
        "python": shipped.python,
        "cloudpickle": shipped.cloudpickle,
    }
    try:
        return parsed(connection, FunctionAnswer, connection.post("/api/v1/functions", body)).digest
    except PayloadTooLarge as error:
        raise PayloadTooLarge(
            f"{shipped.name} with all that it refers to is {len(shipped.payload):,} bytes, more than it takes "
            f"({error.message}). Load data inside the function, not around it",
            **error.details,
        ) from error


def _before(experiment: Experiment, job: Job) -> int:
    """Trials that earlier jobs of the run made."""
    counts = experiment.refresh().trial_counts
    return max(0, sum(counts.get(state, 0) for state in FINISHED) - job.info.progress.finished)


def _followed(job: Job, bar: ProgressBar) -> JobAnswer:
    """Show how the job goes until it has ended; the job as it ended."""
    with bar:
        bar.update(_progress(job.refresh()))
        looked = time.monotonic()
        for event in job.events():
            if event.kind == "trial" and time.monotonic() - looked >= REFRESH_S:
                bar.update(_progress(job.refresh()))
                looked = time.monotonic()
        info = job.refresh()
        bar.update(_progress(info))
    return info


def _progress(info: JobAnswer) -> Progress:
    return Progress.model_validate(info.progress.model_dump())


def _trial(answer: TrialAnswer) -> Trial:
    """A trial as the domain knows it; how far it breaks its constraints is not told, only whether."""
    complete = answer.state == TrialState.COMPLETE.value
    values = tuple(value for value in answer.outcomes.values() if value is not None)
    return Trial.model_construct(
        experiment_id=answer.experiment_id,
        number=answer.number,
        job_id=answer.job_id,
        run_number=answer.run_number,
        state=TrialState(answer.state),
        params=answer.params,
        values=values if complete else None,
        metrics={name: value for name, value in answer.metrics.items() if value is not None},
        violation=None if answer.feasible is None else 0.0 if answer.feasible else 1.0,
        error=answer.error,
        attempt=answer.attempt,
        worker=answer.worker,
        started_at=answer.started_at,
        ended_at=answer.timestamp,
    )
