"""What training jobs promise on every database: firings, retries, dependencies, what people ask for."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest

from tunesmith.domain import (
    CommandTool,
    ExperimentSpec,
    Job,
    JobState,
    Space,
    TrainingJob,
    TrainingPlan,
    TrainingStatus,
    TrialState,
    utcnow,
)
from tunesmith.errors import BadRequest, DependedOn, LeaseLost, NameTaken, StateForbids, TrainingNotFound
from tunesmith.services import trainings
from tunesmith.services.firing import fire_due
from tunesmith.storage import experiment_key
from tunesmith.store import Store
from tunesmith.store.leases import MAX_LOSSES
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race

HOURLY = "0 * * * *"


def program(name: str) -> ExperimentSpec:
    """One point of a command."""
    return ExperimentSpec(tool_name=name, tool=CommandTool(command="true"), space=Space(parameters=()))


def new_training(store: Store, name: str | None = None, depends_on: tuple[str, ...] = (), **plan: Any) -> TrainingJob:
    """A training job of a name that nobody has."""
    name = name or f"train {secrets.token_hex(4)}"
    with store.write() as tx:
        return trainings.create(tx, name, program(name), TrainingPlan(**plan), depends_on)


def read(store: Store, training: TrainingJob) -> TrainingJob:
    """How it stands now."""
    with store.read() as tx:
        return tx.training(training.id)


def claim(store: Store) -> list[Job]:
    """Take every queued job."""
    with store.write() as tx:
        return tx.claim_jobs("runner", 60.0, max_running=10_000)


def finish(store: Store, job: Job, to: JobState = JobState.SUCCEEDED, error: str | None = None) -> Job:
    """End the attempt of a job that was claimed, as a runner does."""
    with store.write() as tx:
        experiment = tx.experiment(job.experiment_id)
        last = tx.last_attempt(job)
        assert last is not None
        state = TrialState.COMPLETE if to is JobState.SUCCEEDED else TrialState.FAILED
        values = (1.0,) if to is JobState.SUCCEEDED else None
        now = utcnow()
        ended = last.evolve(state=state, values=values, started_at=now, ended_at=now, error=error)
        tx.record(job.id, str(job.lease_token), experiment, [ended])
        return tx.end_lease(job.id, str(job.lease_token), to, error=error)


def run_once(store: Store, training: TrainingJob, to: JobState = JobState.SUCCEEDED) -> None:
    """Let its queued firing run to its end."""
    (job,) = [job for job in claim(store) if job.training_id == training.id]
    finish(store, job, to, None if to is JobState.SUCCEEDED else "exit code 1")


def due_at(store: Store, training: TrainingJob, moment: datetime) -> None:
    """Make a training job due since a moment."""
    with store.write() as tx:
        tx.change_training(training.id, next_run_at=moment)


def runs(store: Store, training: TrainingJob) -> list[tuple[int, JobState]]:
    """Number and state of its firings, oldest first."""
    with store.read() as tx:
        return [(job.run_number, job.state) for job in tx.firings(training, set(JobState))]


class TrainingContract(Contract):
    """Training jobs."""

    def test_without_a_schedule_it_fires_at_once_and_completes(self, store: Store) -> None:
        training = new_training(store)
        assert (training.status, training.latest_run) == (TrainingStatus.PENDING, 1)
        (job,) = claim(store)
        assert (job.training_id, job.max_retries) == (training.id, 3)
        assert read(store, training).status is TrainingStatus.RUNNING
        finish(store, job)
        done = read(store, training)
        assert done.status is TrainingStatus.COMPLETED
        assert done.completed_at is not None
        with store.read() as tx:
            ((trial, run),) = tx.executions(training).items
        assert (trial.attempt, trial.state, run.id) == (1, TrialState.COMPLETE, job.id)

    def test_a_name_is_taken_once(self, store: Store) -> None:
        first = new_training(store)
        with pytest.raises(NameTaken, match="choose another one"):
            new_training(store, first.name)
        second = new_training(store)
        with pytest.raises(NameTaken), store.write() as tx:
            tx.change_training(second.id, name=first.name)

    def test_equal_programs_have_experiments_of_their_own(self, store: Store) -> None:
        first, second = new_training(store, "a" + secrets.token_hex(4)), new_training(store)
        assert first.experiment_id != second.experiment_id

    def test_a_failed_attempt_is_repeated_until_its_retries_are_used_up(self, store: Store) -> None:
        training = new_training(store, max_retries=2, retry_backoff_s=0)
        for attempt in (1, 2):
            (job,) = claim(store)
            waiting = finish(store, job, JobState.FAILED, f"exit code {attempt}")
            assert waiting.state is JobState.RETRY_WAIT
            shown = read(store, training)
            assert (shown.status, shown.retry_count) == (TrainingStatus.RETRYING, attempt)
            assert shown.error_message == f"exit code {attempt}"
            assert shown.message is not None
            assert f"retry {attempt} of 2" in shown.message
            with store.write() as tx:
                tx.wake_retries()
        (job,) = claim(store)
        assert finish(store, job, JobState.FAILED, "exit code 3").state is JobState.FAILED
        assert read(store, training).status is TrainingStatus.FAILED
        with store.read() as tx:
            found = tx.executions(training).items
        assert [(trial.attempt, trial.state) for trial, _job in found] == [(n, TrialState.FAILED) for n in (3, 2, 1)]

    def test_a_retry_waits_longer_each_time(self, store: Store) -> None:
        training = new_training(store, retry_backoff_s=100)
        for pause in (100, 200, 400):
            (job,) = claim(store)
            before = utcnow()
            waiting = finish(store, job, JobState.FAILED, "no")
            assert waiting.available_at is not None
            assert pause * 0.89 < (waiting.available_at - before).total_seconds() < pause * 1.11
            with store.write() as tx:
                assert not tx.wake_retries()
                assert tx.next_retry() == waiting.available_at
                trainings.run(tx, training)  # now, whatever it waits for

    def test_a_retry_that_succeeds_leaves_no_error(self, store: Store) -> None:
        training = new_training(store, retry_backoff_s=0)
        run_once(store, training, JobState.FAILED)
        with store.write() as tx:
            tx.wake_retries()
        run_once(store, training)
        done = read(store, training)
        assert (done.status, done.error_message, done.retry_count) == (TrainingStatus.COMPLETED, None, 1)

    def test_a_lost_runner_costs_no_retry_but_is_an_attempt(self, store: Store) -> None:
        training = new_training(store, max_retries=0)
        (job,) = claim(store)
        with store.write() as tx:
            last = tx.last_attempt(job)
            assert last is not None
            running = last.evolve(state=TrialState.RUNNING, started_at=utcnow())
            tx.record(job.id, str(job.lease_token), tx.experiment(job.experiment_id), [running])
        with store.write() as tx:
            (freed,) = tx.recover_jobs(owner="runner")
        assert (freed.state, freed.retries) == (JobState.QUEUED, 0)
        with pytest.raises(LeaseLost):
            finish(store, job)
        run_once(store, training)
        with store.read() as tx:
            found = [trial for trial, _job in tx.executions(training).items]
        assert [(trial.attempt, trial.state) for trial in found] == [(2, TrialState.COMPLETE), (1, TrialState.FAILED)]
        assert "runner was lost" in str(found[1].error)

    def test_a_person_retries_a_failed_one_with_its_retries_anew(self, store: Store) -> None:
        training = new_training(store, max_retries=0)
        run_once(store, training, JobState.FAILED)
        with store.write() as tx:
            again = trainings.retry(tx, tx.training(training.id))
        assert (again.status, again.retry_count, again.error_message) == (TrainingStatus.PENDING, 0, None)
        run_once(store, training)
        assert runs(store, training) == [(1, JobState.SUCCEEDED)]
        with store.write() as tx:
            trainings.retry(tx, tx.training(training.id))
        assert runs(store, training) == [(1, JobState.SUCCEEDED), (2, JobState.QUEUED)]
        with pytest.raises(StateForbids, match="only a failed"), store.write() as tx:
            trainings.retry(tx, tx.training(training.id))

    def test_a_schedule_fires_when_it_is_due_and_not_before(self, store: Store) -> None:
        training = new_training(store, schedule=HOURLY)
        assert training.next_run_at is not None
        assert fire_due(store) == 0
        instant = training.next_run_at
        assert fire_due(store, instant + timedelta(milliseconds=3)) == 1
        assert fire_due(store, instant + timedelta(milliseconds=4)) == 0
        (job,) = claim(store)
        assert job.scheduled_at == instant
        assert read(store, training).next_run_at == instant + timedelta(hours=1)

    def test_many_dispatchers_fire_an_instant_once(self, store: Store) -> None:
        found = [new_training(store, schedule=HOURLY) for _ in range(5)]
        now = utcnow() + timedelta(hours=1)
        answers = race(*[lambda: fire_due(store, now)] * 4)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert [runs(store, training) for training in found] == [[(1, JobState.QUEUED)]] * 5

    @pytest.mark.parametrize(("overlap", "then"), [("skip", 1), ("queue", 2)])
    def test_overlap(self, store: Store, overlap: str, then: int) -> None:
        training = new_training(store, schedule=HOURLY, overlap=overlap)
        first = training.next_run_at
        assert first is not None
        fire_due(store, first)
        fire_due(store, first + timedelta(hours=1))
        assert len(runs(store, training)) == then
        if overlap == "skip":
            assert "was skipped" in str(read(store, training).message)
            return
        assert fire_due(store, first + timedelta(hours=1)) == 0
        run_once(store, training)
        assert fire_due(store, first + timedelta(hours=1, seconds=1)) == 1
        assert runs(store, training) == [(1, JobState.SUCCEEDED), (2, JobState.QUEUED)]

    @pytest.mark.parametrize(("catch_up", "fired"), [("skip", 0), ("once", 1), ("all", 5)])
    def test_missed_firings(self, store: Store, catch_up: str, fired: int) -> None:
        training = new_training(store, schedule=HOURLY, catch_up=catch_up)
        now = utcnow().replace(minute=30) - timedelta(hours=1)
        due_at(store, training, now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=4))
        fire_due(store, now)
        assert len(runs(store, training)) == fired
        shown = read(store, training)
        assert shown.next_run_at is not None
        assert shown.next_run_at > now
        assert catch_up in str(shown.message)

    def test_a_paused_one_keeps_its_schedule_and_does_not_fire(self, store: Store) -> None:
        training = new_training(store, schedule=HOURLY)
        with store.write() as tx:
            paused = trainings.pause(tx, training)
        assert paused.shown is TrainingStatus.PAUSED
        assert paused.next_run_at is not None
        assert fire_due(store, paused.next_run_at) == 0
        with pytest.raises(StateForbids), store.write() as tx:
            trainings.pause(tx, paused)
        with store.write() as tx:
            resumed = trainings.resume(tx, paused)
        assert resumed.shown is TrainingStatus.PENDING
        assert fire_due(store, paused.next_run_at) == 1

    def test_a_paused_one_begins_no_further_attempt(self, store: Store) -> None:
        training = new_training(store, retry_backoff_s=0)
        (job,) = claim(store)
        with store.write() as tx:
            assert trainings.pause(tx, training).shown is TrainingStatus.RUNNING
        assert finish(store, job, JobState.FAILED, "no").state is JobState.RETRY_WAIT
        assert read(store, training).shown is TrainingStatus.PAUSED
        with store.write() as tx:
            assert tx.next_retry() is None
            assert tx.wake_retries() == []
            trainings.resume(tx, tx.training(training.id))
            assert [job.training_id for job in tx.wake_retries()] == [training.id]

    def test_a_paused_one_begins_no_firing_that_waited(self, store: Store) -> None:
        training = new_training(store, schedule=HOURLY, overlap="queue")
        first = training.next_run_at
        assert first is not None
        fire_due(store, first)
        fire_due(store, first + timedelta(hours=1))
        (job,) = claim(store)
        with store.write() as tx:
            trainings.pause(tx, training)
        finish(store, job)
        assert fire_due(store, first + timedelta(hours=1, seconds=1)) == 0
        with store.write() as tx:
            trainings.resume(tx, tx.training(training.id))
        assert fire_due(store, first + timedelta(hours=1, seconds=2)) == 1

    def test_a_paused_one_is_not_retried_but_cancelled(self, store: Store) -> None:
        training = new_training(store)
        with store.write() as tx:
            trainings.pause(tx, training)
        with pytest.raises(StateForbids, match="paused"), store.write() as tx:
            trainings.retry(tx, tx.training(training.id))
        with store.write() as tx:
            assert trainings.cancel(tx, tx.training(training.id)).shown is TrainingStatus.CANCELLED

    def test_it_is_told_when_a_schedule_is_held_back(self, store: Store) -> None:
        training = new_training(store, schedule="0 0 1 1 *")
        with store.write() as tx:
            tx.take_status_changes(10_000)
            trainings.resume(tx, trainings.pause(tx, training))
            told = [change.status for change, _rules, _workspace in tx.take_status_changes(10_000)]
        assert told == ["paused", "pending"]

    def test_a_resumed_retry_begins_at_once_and_is_told_once(self, store: Store) -> None:
        training = new_training(store, retry_backoff_s=3600)
        run_once(store, training, JobState.FAILED)
        with store.write() as tx:
            trainings.pause(tx, tx.training(training.id))
            tx.take_status_changes(10_000)
            trainings.resume(tx, tx.training(training.id))
            told = [change.status for change, _rules, _workspace in tx.take_status_changes(10_000)]
        assert told == ["pending"]
        assert [job.training_id for job in claim(store)] == [training.id]

    def test_how_a_firing_ended_is_not_told_again_when_its_schedule_is_resumed(self, store: Store) -> None:
        training = new_training(store, schedule="0 0 1 1 *")
        with store.write() as tx:
            trainings.run(tx, training)
        run_once(store, training, JobState.SUCCEEDED)
        with store.write() as tx:
            trainings.pause(tx, tx.training(training.id))
            tx.take_status_changes(10_000)
            assert trainings.resume(tx, tx.training(training.id)).shown is TrainingStatus.COMPLETED
            assert tx.take_status_changes(10_000) == []

    def test_a_dependent_that_is_made_while_it_completes_is_not_forgotten(self, store: Store) -> None:
        for _ in range(10):
            first = new_training(store)
            (job,) = [job for job in claim(store) if job.training_id == first.id]
            made: list[TrainingJob] = []

            def depend(name: str = first.name, made: list[TrainingJob] = made) -> None:
                made.append(new_training(store, depends_on=(name,)))

            def complete(job: Job = job) -> None:
                finish(store, job)

            assert race(depend, complete) == [None, None]
            fire_due(store)
            assert [number for number, _state in runs(store, made[0])] == [1]
            run_once(store, made[0])

    def test_changes_and_claims_at_once_wait_for_one_another(self, store: Store) -> None:
        for _ in range(10):
            training = new_training(store)

            def change(training: TrainingJob = training) -> None:
                with store.write() as tx:
                    tx.hold_dependencies()
                    held = tx.lock_training(training.id)
                    trainings.change(tx, held, program(held.name), held.plan.evolve(max_retries=1), (), ())

            answers = race(change, lambda: claim(store))
            assert not [a for a in answers if isinstance(a, Exception) and not isinstance(a, StateForbids)]
            for job in claim(store):
                finish(store, job)
            for answer in answers:
                for job in answer if isinstance(answer, list) else ():
                    finish(store, job)

    def test_a_deletion_and_a_claim_at_once(self, store: Store) -> None:
        for _ in range(10):
            training = new_training(store)

            def delete(training: TrainingJob = training) -> None:
                with store.write() as tx:
                    trainings.delete(tx, training)

            deleted, claimed = race(delete, lambda: claim(store))
            assert not isinstance(claimed, Exception)
            assert isinstance(deleted, StateForbids) if claimed else deleted is None
            for job in claimed or ():
                finish(store, job)

    def test_a_firing_that_takes_runner_after_runner_with_it_fails(self, store: Store) -> None:
        training = new_training(store, max_retries=0)
        for _ in range(MAX_LOSSES):
            (job,) = claim(store)
            with store.write() as tx:
                last = tx.last_attempt(job)
                assert last is not None
                begun = last.evolve(state=TrialState.RUNNING, started_at=utcnow())
                tx.write_trials(tx.experiment(job.experiment_id), [begun])
            with store.write() as tx:
                tx.recover_jobs(owner="runner")
        failed = read(store, training)
        assert failed.status is TrainingStatus.FAILED
        assert "its runner was lost" in str(failed.error_message)

    def test_cancelled(self, store: Store) -> None:
        training = new_training(store)
        with store.write() as tx:
            assert trainings.cancel(tx, training).shown is TrainingStatus.CANCELLED
        with pytest.raises(StateForbids, match="nothing to cancel"), store.write() as tx:
            trainings.cancel(tx, tx.training(training.id))
        assert claim(store) == []

    def test_one_that_depends_on_others_fires_when_all_have_completed(self, store: Store) -> None:
        a, b = new_training(store), new_training(store)
        last = new_training(store, depends_on=(a.name, b.name))
        run_a, run_b = claim(store)
        assert fire_due(store) == 0
        finish(store, run_a)
        assert fire_due(store) == 0
        with store.read() as tx:
            assert tx.waits_for(last.id) == [b.name]
        finish(store, run_b)
        assert fire_due(store) == 1
        run_once(store, last)
        with store.write() as tx:  # and again when they have completed again
            trainings.run(tx, tx.training(a.id))
        run_once(store, a)
        assert fire_due(store) == 0
        with store.write() as tx:
            trainings.run(tx, tx.training(b.id))
        run_once(store, b)
        assert fire_due(store) == 1
        assert [number for number, _state in runs(store, last)] == [1, 2]

    def test_a_failed_dependency_holds_back(self, store: Store) -> None:
        first = new_training(store, max_retries=0)
        last = new_training(store, depends_on=(first.name,), schedule=HOURLY)
        run_once(store, first, JobState.FAILED)
        assert last.next_run_at is not None
        assert fire_due(store, last.next_run_at) == 0
        assert runs(store, last) == [(1, JobState.CREATED)]
        with store.write() as tx:
            trainings.retry(tx, tx.training(first.id))
        run_once(store, first)
        assert fire_due(store, last.next_run_at) == 1

    def test_circles_and_strangers_are_refused(self, store: Store) -> None:
        a = new_training(store)
        b = new_training(store, depends_on=(a.name,))
        with pytest.raises(BadRequest, match="circle"), store.write() as tx:
            tx.set_dependencies(a.id, [b.id])
        with pytest.raises(BadRequest, match="this job itself"):
            new_training(store, "me", depends_on=("me",))
        with pytest.raises(BadRequest, match="did you mean"):
            new_training(store, depends_on=(a.name + "x",))
        with pytest.raises(DependedOn, match=b.name), store.write() as tx:
            trainings.delete(tx, a)

    def test_deleted_with_everything_of_it(self, store: Store) -> None:
        training = new_training(store, retry_backoff_s=0)
        run_once(store, training, JobState.FAILED)
        with store.write() as tx:
            trainings.delete(tx, training)
        with pytest.raises(TrainingNotFound):
            read(store, training)
        with store.read() as tx:
            assert experiment_key(training.experiment_id) in tx.leftover_keys()
        new_training(store, training.name)

    def test_a_running_one_is_neither_changed_nor_deleted(self, store: Store) -> None:
        training = new_training(store)
        claim(store)
        with pytest.raises(StateForbids, match="running"), store.write() as tx:
            trainings.delete(tx, training)
        with pytest.raises(StateForbids, match="running"), store.write() as tx:
            trainings.change(tx, training, program(training.name), training.plan, (), ())

    def test_changed(self, store: Store) -> None:
        training = new_training(store, schedule=HOURLY)
        plan = training.plan.evolve(schedule="30 2 * * *", max_retries=1)
        name = training.name + " (new)"
        with store.write() as tx:
            changed = trainings.change(tx, training, program(name), plan, (), ("x",))
        assert (changed.name, changed.plan) == (name, plan)
        assert changed.next_run_at is not None
        assert changed.next_run_at.minute == 30

    def test_counts_and_pages(self, store: Store) -> None:
        found = [new_training(store, f"page {n} {secrets.token_hex(4)}") for n in range(3)]
        page, total = self._page(store)
        assert [job.id for job in page[:3]] == [job.id for job in reversed(found)]
        assert total >= 3
        with store.read() as tx:
            counts = tx.training_counts()
        assert counts[TrainingStatus.PENDING] >= 3

    def _page(self, store: Store) -> tuple[list[TrainingJob], int]:
        with store.read() as tx:
            return tx.trainings(limit=3)
