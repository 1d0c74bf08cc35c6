"""Firing: which training jobs are due, and what becomes of an instant of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from tunesmith.domain import Job, JobState, Search, TrainingJob, utcnow
from tunesmith.domain.cron import Cron
from tunesmith.errors import InvalidSchedule, JobActive, SessionNotFound, StateForbids, TrainingNotFound
from tunesmith.store import Store, Tx

ONE_POINT = Search(type="random", n_iter=1)
"""The search of a job of one point, which asks for none: its trial is there already."""
MISSED_S = 60.0
"""Seconds after which an instant that did not fire counts as missed."""
MAX_CAUGHT_UP = 1000
"""Missed firings that are caught up, at most; the latest ones."""
AT_ONCE = 100
"""Training jobs that are looked at in one go."""


def fire_due(store: Store, now: datetime | None = None) -> int:
    """Fire every training job that is due, and let firings and scenarios that waited begin; how many were queued.

    Any number of dispatchers may do it at once: each takes up a training job with its row locked, and looks again.
    """
    now = now or utcnow()
    queued = 0
    while True:
        with store.read() as tx:
            due = tx.due_trainings(now, AT_ONCE)
        for training_id in due:
            queued += _fire_safely(store, training_id, now)
        if len(due) < AT_ONCE:
            return queued + _begin_waiting(store) + _begin_scenarios(store)


def new_firing(
    tx: Tx, training: TrainingJob, scheduled_at: datetime | None = None, state: JobState = JobState.QUEUED
) -> Job:
    """Make a firing of a training job. Raises JobActive when it is to be queued, and another one is active."""
    plan = training.plan
    job = tx.create_job(
        training.experiment_id,
        plan.search or ONE_POINT,
        1 if plan.search is None else plan.total,
        plan.priority,
        state=state,
        training_id=training.id,
        scheduled_at=scheduled_at,
        max_retries=plan.max_retries,
        retry_backoff_s=plan.retry_backoff_s,
    )
    if plan.search is None:
        tx.first_attempt(job, tx.experiment(training.experiment_id))
    return job


def next_instant(training: TrainingJob, now: datetime) -> datetime | None:
    """When it fires next by its schedule; None without one. Never again when it fired, should a clock be behind."""
    plan, last = training.plan, training.fired_at or now
    return None if plan.schedule is None else Cron(plan.schedule, plan.timezone).after(max(now, last))


def _fire_safely(store: Store, training_id: str, now: datetime) -> int:
    """Fire one; a schedule that cannot be read any more, as its time zone is gone, holds up no other."""
    try:
        with store.write() as tx:
            return _fire(tx, training_id, now)
    except InvalidSchedule as error:
        with store.write() as tx:
            tx.change_training(training_id, next_run_at=None, message=error.message)
        return 0


def _fire(tx: Tx, training_id: str, now: datetime) -> int:
    """Fire one that is due, if nobody else did; how many firings were queued."""
    try:
        training = tx.lock_training(training_id)
    except TrainingNotFound:  # deleted meanwhile
        return 0
    if not _is_due(tx, training, now):
        return 0
    wanted, message = _wanted(training, now)
    queued = 0
    for instant in wanted:
        state = _state_of_new(tx, training, several=len(wanted) > 1)
        if state is None:
            message = f"the firing of {instant or now:%Y-%m-%d %H:%M} UTC was skipped: the one before it had not ended"
            continue
        if state is JobState.CREATED and (needed := _needed(tx, training)):
            message = f"waits for {', '.join(needed)}"
        new_firing(tx, training, instant, state)
        queued += state is JobState.QUEUED
    changes = {"message": message} if message else {}
    tx.change_training(training_id, next_run_at=next_instant(training, now), fired_at=now, **changes)
    return queued


def _is_due(tx: Tx, training: TrainingJob, now: datetime) -> bool:
    if training.plan.schedule is None:
        return tx.is_ready(training.id)
    return not training.paused and training.next_run_at is not None and training.next_run_at <= now


def _wanted(training: TrainingJob, now: datetime) -> tuple[Sequence[datetime | None], str | None]:
    """The instants that are to fire now, and what is to be said of those that were missed."""
    plan, first = training.plan, training.next_run_at
    if plan.schedule is None or first is None:
        return [None], None
    instants = [first, *Cron(plan.schedule, plan.timezone).between(first, now, MAX_CAUGHT_UP)][-MAX_CAUGHT_UP:]
    on_time = now - instants[-1] <= timedelta(seconds=MISSED_S)
    if len(instants) == 1 and on_time:
        return instants, None
    missed = len(instants) - on_time
    text = f"{missed} firing{'s were' if missed > 1 else ' was'} missed while nothing looked at the schedule"
    if plan.catch_up == "skip":
        return instants[-1:] if on_time else [], f"{text}, and left out (catch_up: skip)"
    if plan.catch_up == "once":
        return instants[-1:], f"{text}; it fired once for all of them (catch_up: once)"
    return instants, f"{text}; each is caught up (catch_up: all)"


def _state_of_new(tx: Tx, training: TrainingJob, several: bool) -> JobState | None:
    """Whether a firing can begin, or has to wait; None: it is skipped."""
    busy = tx.active_job(training.experiment_id) is not None or tx.firings(training, {JobState.CREATED})
    if busy and training.plan.overlap == "skip" and not several and training.plan.schedule is not None:
        return None
    return JobState.CREATED if busy or _needed(tx, training) else JobState.QUEUED


def _needed(tx: Tx, training: TrainingJob) -> list[str]:
    """What a firing of a schedule waits for; without a schedule it is fired when there is nothing left."""
    return [] if training.plan.schedule is None else tx.waits_for(training.id)


def _begin_waiting(store: Store) -> int:
    with store.read() as tx:
        waiting = tx.waiting_firings()
    begun = 0
    for job in waiting:
        try:
            with store.write() as tx:
                tx.move_job(job.id, JobState.QUEUED, (JobState.CREATED,), queued_at=utcnow())
        except (JobActive, StateForbids):  # somebody else was faster
            continue
        begun += 1
    return begun


def _begin_scenarios(store: Store) -> int:
    with store.read() as tx:
        sessions = tx.waiting_scenarios()
    begun = 0
    for session_id in sessions:
        with suppress(SessionNotFound), store.write() as tx:
            begun += len(tx.begin_waiting(tx.lock_session(session_id)))
    return begun
