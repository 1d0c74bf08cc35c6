"""The store's contract on lost runners: their jobs go on, with no finished trial lost or run again."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from tunesmith.domain import Job, JobState, TrialState
from tunesmith.store import Store
from tunesmith.store.leases import MAX_LOSSES
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, running_job


class RecoveryContract(Contract):
    """Recovery."""

    def test_a_lost_job_goes_on_where_it_stood(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment, lease_s=-1)
        found = [finished_trial(job, 0, 1.0), open_trial(job, 1, worker="a:1"), open_trial(job, 2, TrialState.WAITING)]
        with store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, found)
            (recovered,) = tx.recover_jobs()
            trials = tx.trials(experiment).items
            counts = tx.experiment(experiment.id).counts
        assert (recovered.state, recovered.lease_token, recovered.lease_owner) == (JobState.QUEUED, None, None)
        assert recovered.message == "its runner was lost; it goes on"
        assert trials[0] == found[0]
        assert [trial.state for trial in trials[1:]] == [TrialState.WAITING] * 2
        assert [(trial.number, trial.params) for trial in trials] == [(t.number, t.params) for t in found]
        assert (trials[1].worker, trials[1].started_at) == (None, None)
        assert (counts[TrialState.COMPLETE], counts[TrialState.WAITING], counts[TrialState.RUNNING]) == (1, 2, 0)

    def test_only_expired_leases_are_taken_unless_their_owner_is_known_to_be_dead(self, store: Store) -> None:
        alive = running_job(store, new_experiment(store), owner="alive")
        dead = running_job(store, new_experiment(store), owner="dead")
        with store.write() as tx:
            assert tx.recover_jobs() == []
            assert [job.id for job in tx.recover_jobs(owner="dead")] == [dead.id]
            assert [job.id for job in tx.recover_jobs(everyone=True)] == [alive.id]

    def test_the_job_of_a_script_waits_for_the_script_and_is_left_alone_while_that_lives(self, store: Store) -> None:
        alive = running_job(store, new_experiment(store), owner="tune:here/1/1")
        dead = running_job(store, new_experiment(store), owner="tune:here/2/1", lease_s=-1)
        with store.write() as tx:
            (recovered,) = tx.recover_jobs(everyone=True)
            assert (recovered.id, recovered.state) == (dead.id, JobState.PAUSED)
            assert tx.job(alive.id).state is JobState.RUNNING

    def test_what_a_person_asked_of_a_lost_job_is_done(self, store: Store) -> None:
        for wanted in ("cancelled", "paused"):
            job = running_job(store, new_experiment(store))
            with store.write() as tx:
                tx.ask_job(job.id, wanted)
                (recovered,) = tx.recover_jobs(owner="runner")
            assert (recovered.id, recovered.state, recovered.wanted) == (job.id, JobState(wanted), None)

    def test_a_job_that_takes_every_runner_with_it_fails(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        states = [job.state]
        for _ in range(MAX_LOSSES):
            states.append(_lose(store).state)
            _claim(store)
        assert states[1:] == [JobState.QUEUED] * (MAX_LOSSES - 1) + [JobState.FAILED]
        with store.read() as tx:
            assert f"died {MAX_LOSSES} times in a row" in (tx.job(job.id).error or "")

    def test_a_finished_trial_between_losses_starts_the_count_again(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        for number in range(MAX_LOSSES + 1):
            with store.write() as tx:
                tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, number)])
            assert _lose(store).state is JobState.QUEUED
            (job,) = _claim(store)

    def test_a_retry_starts_the_count_again(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        for _ in range(MAX_LOSSES):
            _lose(store)
            _claim(store)
        with store.write() as tx:
            tx.retry_job(job.id)
        _claim(store)
        assert _lose(store).state is JobState.QUEUED


def _claim(store: Store) -> list[Job]:
    with store.write() as tx:
        return tx.claim_jobs("runner", 60.0, 100)


def _lose(store: Store) -> Job:
    with store.write() as tx:
        (lost,) = tx.recover_jobs(owner="runner")
        return lost
