"""The store's contract on jobs: one active one an experiment, the state machine, what people ask for, retries."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import threading

import pytest

from tunesmith.domain import Job, JobState, Progress, TrialState
from tunesmith.errors import ExperimentNotFound, JobActive, JobNotFound, StateForbids
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import (
    finished_trial,
    new_experiment,
    open_trial,
    queued_job,
    running_job,
    search,
)
from tunesmith.testing.races import race


class JobContract(Contract):
    """Jobs."""

    def test_a_job_is_read_back_as_it_was_made(self, store: Store) -> None:
        experiment = new_experiment(store)
        wanted = search(
            type="tpe",
            options={"b": 1, "a": [1, {"c": None}]},
            enqueue=[{"x": 0.5, "n": 1}],
            num_configs_per_param=[2, 3],
            pruner={"type": "median", "options": {"n": 1}},
        )
        with store.write() as tx:
            made = tx.create_job(experiment.id, wanted, total=12, priority=30, submitted_by="ann", note="hello")
        with store.read() as tx:
            assert tx.job(made.id) == made == tx.active_job(experiment.id)
        assert (made.search, made.state, made.run_number) == (wanted, JobState.QUEUED, 1)
        assert (made.progress.total, made.priority, made.submitted_by, made.note) == (12, 30, "ann", "hello")

    @pytest.mark.parametrize("unknown", ["", "job-0", "\0", "\ud800", "x" * 10_000, "' OR 1=1 --"])
    def test_an_unknown_job_is_not_found(self, store: Store, unknown: str) -> None:
        with store.write() as tx:
            for ask in (tx.job, tx.lock_job, tx.retry_job, lambda job_id: tx.ask_job(job_id, "paused")):
                with pytest.raises(JobNotFound):
                    ask(unknown)

    def test_a_job_needs_its_experiment(self, store: Store) -> None:
        with pytest.raises(ExperimentNotFound), store.write() as tx:
            tx.create_job(4711, search())

    def test_an_experiment_has_one_active_job(self, store: Store) -> None:
        experiment = new_experiment(store)
        first = queued_job(store, experiment)
        with pytest.raises(JobActive, match="already enqueued or running") as caught:
            queued_job(store, experiment)
        assert caught.value.details == {"job_id": first.id}
        with store.write() as tx:
            tx.move_job(first.id, JobState.CANCELLED, {JobState.QUEUED})
        assert queued_job(store, experiment).run_number == 2

    def test_of_jobs_posted_at_once_one_is_made(self, store: Store) -> None:
        experiment = new_experiment(store)
        answers = race(*[lambda: queued_job(store, experiment)] * 4)
        assert sorted(type(answer).__name__ for answer in answers) == ["Job", "JobActive", "JobActive", "JobActive"]

    def test_of_a_retry_and_a_new_job_at_once_one_is_active(self, store: Store) -> None:
        def retry(job: Job) -> Job:
            with store.write() as tx:
                return tx.retry_job(job.id)

        experiment = new_experiment(store)
        for _ in range(5):
            ended = queued_job(store, experiment)
            with store.write() as tx:
                tx.move_job(ended.id, JobState.CANCELLED, {JobState.QUEUED})
            answers = race(lambda job=ended: retry(job), lambda: queued_job(store, experiment))  # type: ignore[misc]
            assert sorted(type(answer).__name__ for answer in answers) == ["Job", "JobActive"], answers
            with store.write() as tx:
                active = tx.active_job(experiment.id)
                assert active is not None
                tx.move_job(active.id, JobState.CANCELLED, {JobState.QUEUED})

    def test_posting_a_job_beside_a_runner_that_writes_blocks_neither(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        answers: list[list[Job | Exception]] = []
        poster = threading.Thread(target=lambda: answers.append(race(lambda: queued_job(store, experiment))))
        with store.write() as tx:
            tx.add_event(job.id, "message", {"text": "the job's row is written"})
            poster.start()
            poster.join(0.3)
            tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
        poster.join(10)
        assert [type(answer) for answer in answers[0]] == [JobActive]

    def test_a_created_job_waits_to_be_queued_and_is_not_active(self, store: Store) -> None:
        experiment = new_experiment(store)
        created = queued_job(store, experiment, state=JobState.CREATED)
        other = queued_job(store, experiment)
        with store.read() as tx:
            assert tx.active_job(experiment.id) == other
        with store.write() as tx, pytest.raises(JobActive):
            tx.move_job(created.id, JobState.QUEUED, {JobState.CREATED})

    def test_a_step_that_the_state_machine_does_not_know_is_refused(self, store: Store) -> None:
        job = queued_job(store, new_experiment(store))
        with store.write() as tx:
            with pytest.raises(StateForbids, match="queued; it cannot become succeeded"):
                tx.move_job(job.id, JobState.SUCCEEDED, set(JobState))
            with pytest.raises(StateForbids, match="queued"):
                tx.move_job(job.id, JobState.CANCELLED, {JobState.PAUSED})
            assert tx.job(job.id) == job

    def test_a_wish_is_kept_for_the_runner(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        with store.write() as tx:
            assert tx.ask_job(job.id, "paused").wanted == "paused"
            assert tx.ask_job(job.id, "cancelled").wanted == "cancelled"
            with pytest.raises(StateForbids, match="being cancelled"):
                tx.ask_job(job.id, "paused")
            assert tx.renew_leases([str(job.lease_token)], 60)[str(job.lease_token)].wanted == "cancelled"
            ended = tx.end_lease(job.id, str(job.lease_token), JobState.CANCELLED)
        assert (ended.wanted, ended.lease_token, ended.state) == (None, None, JobState.CANCELLED)

    def test_a_wish_to_pause_can_be_taken_back(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        with store.write() as tx:
            tx.ask_job(job.id, "paused")
            taken_back = tx.ask_job(job.id, None)
        assert (taken_back.wanted, taken_back.message, taken_back.state) == (None, None, JobState.RUNNING)

    def test_only_a_running_job_can_be_asked(self, store: Store) -> None:
        job = queued_job(store, new_experiment(store))
        with store.write() as tx, pytest.raises(StateForbids, match="queued, not running"):
            tx.ask_job(job.id, "paused")

    def test_an_ended_job_leaves_no_trial_open(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)
        found = [finished_trial(job, 0), open_trial(job, 1), open_trial(job, 2, TrialState.WAITING)]
        with store.write() as tx:
            tx.record(job.id, token, experiment, found)
            ended = tx.end_lease(job.id, token, JobState.CANCELLED)
            assert not tx.open_trials(job.id)
            trials = tx.trials(experiment).items
        assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAILED, TrialState.FAILED]
        assert [trial.error for trial in trials[1:]] == ["not evaluated: its job was cancelled"] * 2
        assert ended.ended_at is not None

    def test_a_retry_runs_the_failed_trials_again_and_keeps_the_others(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)
        found = [
            finished_trial(job, 0, 1.0),
            finished_trial(job, 1, state=TrialState.FAILED),
            open_trial(job, 2),
            finished_trial(job, 3, 2.0, state=TrialState.PRUNED),
        ]
        with store.write() as tx:
            tx.record(job.id, token, experiment, found, progress=Progress(finished=3, failed=1, total=10))
            tx.end_lease(job.id, token, JobState.FAILED, error="too many")
            again = tx.retry_job(job.id)
            trials = tx.trials(experiment).items
            counts = tx.experiment(experiment.id).counts
        assert (again.state, again.error, again.ended_at) == (JobState.QUEUED, None, None)
        assert again.progress == Progress(finished=2, failed=0, total=10)
        assert (trials[0], trials[3]) == (found[0], found[3])
        for trial, before in ((trials[1], found[1]), (trials[2], found[2])):
            assert (trial.state, trial.params, trial.error) == (TrialState.WAITING, before.params, None)
            assert (trial.metrics, trial.ended_at, trial.worker) == ({}, None, None)
        assert (counts[TrialState.WAITING], counts[TrialState.FAILED], counts[TrialState.COMPLETE]) == (2, 0, 1)

    def test_a_job_that_has_not_ended_cannot_be_retried(self, store: Store) -> None:
        job = queued_job(store, new_experiment(store))
        with store.write() as tx, pytest.raises(StateForbids, match="only an ended one"):
            tx.retry_job(job.id)
