"""Training jobs: made, changed, deleted, and steered by people."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tunesmith.domain import ExperimentSpec, JobState, TrainingJob, TrainingPlan, TrainingStatus, utcnow
from tunesmith.errors import BadRequest, StateForbids
from tunesmith.services import jobs
from tunesmith.services.firing import new_firing, next_instant
from tunesmith.store import Tx

OVER = (TrainingStatus.COMPLETED, TrainingStatus.FAILED, TrainingStatus.CANCELLED)


def create(
    tx: Tx,
    name: str,
    spec: ExperimentSpec,
    plan: TrainingPlan,
    depends_on: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> TrainingJob:
    """Make a training job; without a schedule it fires at once, or when what it depends on has completed.

    Raises:
        NameTaken: another one has its name.
        BadRequest: it depends on itself, or on one that is not there.
    """
    workspace = tx.workspace()
    if depends_on:
        tx.hold_dependencies()
    training = tx.create_training(workspace, name, spec, plan, tags)
    tx.set_dependencies(training.id, _ids(tx, workspace, name, depends_on))
    if plan.schedule is None and not depends_on:
        new_firing(tx, training)
        return tx.change_training(training.id, fired_at=utcnow())
    return tx.change_training(training.id, next_run_at=next_instant(training, utcnow()))


def change(
    tx: Tx,
    training: TrainingJob,
    spec: ExperimentSpec,
    plan: TrainingPlan,
    depends_on: Sequence[str],
    tags: Sequence[str],
) -> TrainingJob:
    """Change what it runs, and when; its name is the spec's. What fired before stays as it was.

    Whoever calls it has called `tx.hold_dependencies` first.

    Raises:
        StateForbids: it is running.
        NameTaken, BadRequest: as for `create`.
    """
    now = tx.lock_training(training.id)
    _refuse_running(tx, now, "changed")
    if spec.tool_name != now.name:
        now = tx.change_training(now.id, name=spec.tool_name)
    replanned = (plan.schedule, plan.timezone) != (now.plan.schedule, now.plan.timezone)
    ids = _ids(tx, now.workspace_id, spec.tool_name, depends_on)
    if replanned or set(tx.dependencies([now.id])[now.id]) != set(depends_on):
        tx.set_dependencies(now.id, ids)
        replanned = True
    tx.change_program(now.experiment_id, spec, tags)
    now = tx.change_training(now.id, plan=plan)
    tx.apply_policy(now)
    return tx.change_training(now.id, next_run_at=next_instant(now, utcnow())) if replanned else now


def delete(tx: Tx, training: TrainingJob) -> None:
    """Delete it with everything of it. Raises StateForbids (it is running), DependedOn."""
    tx.hold_dependencies()
    tx.delete_training(training)


def run(tx: Tx, training: TrainingJob) -> TrainingJob:
    """Fire it now, whatever the schedule says. Raises StateForbids (it is running, or queued already)."""
    active = tx.active_job(training.experiment_id)
    if active is None:
        now = tx.lock_training(training.id)
        new_firing(tx, now)
        return tx.change_training(training.id, fired_at=utcnow())
    if active.state in (JobState.RUNNING, JobState.QUEUED):
        raise StateForbids(f"The job is {active.state} already", state=active.state.value)
    tx.move_job(active.id, JobState.QUEUED, (JobState.PAUSED, JobState.RETRY_WAIT), available_at=None)
    return tx.training(training.id)


def cancel(tx: Tx, training: TrainingJob) -> TrainingJob:
    """Stop its firing, and those that wait behind it; the schedule stays, held back if it was.

    Raises:
        StateForbids: there is no firing.
    """
    waiting = tx.firings(training, {JobState.CREATED}, lock=True)
    active = tx.active_job(training.experiment_id)
    if active is None and not waiting:
        raise StateForbids(f"The job is {training.shown}; there is nothing to cancel", state=training.shown.value)
    for job in waiting:
        tx.move_job(job.id, JobState.CANCELLED, (JobState.CREATED,))
    asked = None if active is None else jobs.cancel(tx, active.id)
    changes: dict[str, object] = {} if asked is None or asked.state.ended else {"message": asked.message}
    if training.paused and training.plan.schedule is None:  # there is nothing left to hold back
        changes["paused"] = False
    return tx.change_training(training.id, **changes) if changes else tx.training(training.id)


def pause(tx: Tx, training: TrainingJob) -> TrainingJob:
    """Hold it back: nothing fires or begins until it is resumed; an attempt that runs ends by itself.

    Raises:
        StateForbids: it is paused, or has nothing to hold back.
    """
    active = tx.active_job(training.experiment_id)
    if training.paused:
        raise StateForbids("The job is paused already", state="paused")
    if training.plan.schedule is None and active is None and training.shown in OVER:
        raise StateForbids(f"The job is {training.shown}, and has no schedule", state=training.shown.value)
    if active is not None and (active.state is not JobState.RUNNING or training.plan.search is not None):
        jobs.pause(tx, active.id)
    now = tx.lock_training(training.id)
    message = "paused when what runs has ended" if now.shown is TrainingStatus.RUNNING else now.message
    return _tell(tx, training, tx.change_training(training.id, paused=True, message=message))


def resume(tx: Tx, training: TrainingJob) -> TrainingJob:
    """Let a paused one fire again, from the next instant of its schedule on; a retry that waited begins at once.

    How its last firing ended was told when it did, and is not told again. Raises StateForbids (it is not paused).
    """
    active = tx.active_job(training.experiment_id)
    held = active is not None and (active.state is JobState.PAUSED or active.wanted == "paused")
    if not training.paused and not held:
        raise StateForbids(f"The job is {training.shown}, not paused", state=training.shown.value)
    if active is not None and held:
        jobs.resume(tx, active.id)
    now = tx.lock_training(training.id)
    after = tx.change_training(training.id, paused=False, message=None, next_run_at=next_instant(now, utcnow()))
    return after if after.shown in OVER else _tell(tx, training, after)


def retry(tx: Tx, training: TrainingJob) -> TrainingJob:
    """Begin anew: a failed or cancelled firing goes on from its checkpoint, after a completed one a new one is made.

    Raises:
        StateForbids: its latest firing has not ended, or it is paused.
    """
    latest = tx.latest_firing(training)
    if latest is None or not latest.state.ended or training.shown not in OVER:
        state = training.shown.value
        raise StateForbids(f"The job is {state}; only a failed, completed or cancelled one can be retried", state=state)
    if latest.state is JobState.SUCCEEDED:
        new_firing(tx, tx.lock_training(training.id))
    else:
        tx.retry_firing(latest)
    return tx.change_training(training.id, error_message=None, completed_at=None)


def _tell(tx: Tx, before: TrainingJob, after: TrainingJob) -> TrainingJob:
    """Tell of another status that no firing has brought about."""
    if after.shown is not before.shown and after.status is before.status:
        tx.notify(after.id, after.name, tx.latest_firing(after), after.shown)
    return after


def _refuse_running(tx: Tx, training: TrainingJob, what: str) -> None:
    active = tx.active_job(training.experiment_id)
    if active is not None and active.state is JobState.RUNNING:
        raise StateForbids(f"The job is running; it can be {what} when it has ended, or was cancelled", state="running")


def _ids(tx: Tx, workspace: str, name: str, depends_on: Sequence[str]) -> list[str]:
    found = []
    for other in depends_on:
        if other == name:
            raise BadRequest(f"depends_on: {other!r} is this job itself", field="depends_on", value=other)
        training = tx.training_named(workspace, other)
        if training is None:
            near = difflib.get_close_matches(other, [job.name for job in tx.trainings(limit=1000)[0]], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadRequest(f"depends_on: no training job is called {other!r}{hint}", field="depends_on", value=other)
        found.append(training.id)
    return found
