"""The store's contract on leases: who is served first, nobody twice, and nothing written without the lease."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import time
from datetime import timedelta

import pytest

from tunesmith.domain import Job, JobState, Progress, utcnow
from tunesmith.errors import LeaseLost
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, queued_job, running_job
from tunesmith.testing.races import race


class LeaseContract(Contract):
    """Claims, renewals, fencing."""

    def test_the_highest_priority_goes_first_then_the_oldest(self, store: Store) -> None:
        queued = [queued_job(store, new_experiment(store), priority=priority) for priority in (10, 30, 10, 0, 30)]
        claimed = [_claim(store, max_running=n)[0].id for n in range(1, 6)]
        assert claimed == [queued[i].id for i in (1, 4, 0, 2, 3)]

    def test_no_more_run_than_may(self, store: Store) -> None:
        for _ in range(4):
            queued_job(store, new_experiment(store))
        assert [len(_claim(store, max_running=n)) for n in (0, 2, 2, 3, 9, 9)] == [0, 2, 0, 1, 1, 0]

    def test_a_claimed_job_is_held_under_a_fresh_token(self, store: Store) -> None:
        queued = queued_job(store, new_experiment(store))
        (job,) = _claim(store)
        assert (job.id, job.state, job.lease_owner, job.attempt) == (queued.id, JobState.RUNNING, "runner", 1)
        assert job.lease_expires_at is not None
        assert timedelta(seconds=50) < job.lease_expires_at - utcnow() <= timedelta(seconds=60)
        with store.write() as tx:
            tx.end_lease(job.id, str(job.lease_token), JobState.QUEUED)
        (again,) = _claim(store)
        assert (again.attempt, again.started_at) == (2, job.started_at)
        assert again.lease_token not in (None, job.lease_token)

    def test_claimers_at_once_never_get_the_same_job_nor_too_many(self, store: Store) -> None:
        for _ in range(8):
            queued_job(store, new_experiment(store))
        answers = race(*[lambda: _claim(store, max_running=5)] * 4)
        assert all(isinstance(answer, list) for answer in answers), answers
        claimed = [job.id for answer in answers if isinstance(answer, list) for job in answer]
        assert len(claimed) == len(set(claimed)) == 5

    def test_a_job_is_not_taken_before_its_time(self, store: Store) -> None:
        job = running_job(store, new_experiment(store))
        with store.write() as tx:
            later = utcnow() + timedelta(seconds=0.2)
            tx.end_lease(job.id, str(job.lease_token), JobState.QUEUED, available_at=later)
        assert not _claim(store)
        time.sleep(0.25)
        assert [claimed.id for claimed in _claim(store)] == [job.id]

    def test_the_dispatcher_sleeps_until_there_is_something_to_do(self, store: Store) -> None:
        def idle() -> bool:
            with store.read() as tx:
                return tx.nothing_to_dispatch()

        experiment = new_experiment(store)
        assert idle()
        queued_job(store, experiment)
        assert not idle()
        (job,) = _claim(store)
        assert idle()
        with store.write() as tx:
            tx.renew_leases([str(job.lease_token)], lease_s=-1)
        assert not idle()

    def test_a_lease_is_renewed_by_its_token_alone(self, store: Store) -> None:
        held, lost = (running_job(store, new_experiment(store), lease_s=1) for _ in range(2))
        with store.write() as tx:
            tx.end_lease(lost.id, str(lost.lease_token), JobState.QUEUED)
            renewed = tx.renew_leases([str(held.lease_token), str(lost.lease_token), "unknown"], lease_s=60)
            assert tx.renew_leases([], lease_s=60) == {}
        assert list(renewed) == [held.lease_token]
        assert held.lease_expires_at is not None
        assert renewed[str(held.lease_token)].lease_expires_at > held.lease_expires_at  # type: ignore[operator]

    def test_a_lease_that_was_renewed_in_time_is_not_taken_away(self, store: Store) -> None:
        job = running_job(store, new_experiment(store), lease_s=-1)
        with store.write() as tx:
            tx.renew_leases([str(job.lease_token)], lease_s=60)
            assert tx.recover_jobs() == []
            assert tx.leased_job(job.id, str(job.lease_token)).state is JobState.RUNNING

    @pytest.mark.parametrize("to", [JobState.SUCCEEDED, JobState.PAUSED, JobState.QUEUED])
    def test_nothing_is_written_under_a_lease_that_was_lost(self, store: Store, to: JobState) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        stale = str(job.lease_token)
        with store.write() as tx:
            tx.end_lease(job.id, stale, JobState.QUEUED)
        _claim(store)
        before = _all_of(store, job)
        with pytest.raises(LeaseLost, match=job.id), store.write() as tx:
            tx.record(job.id, stale, experiment, [finished_trial(job, 0)], progress=Progress(finished=1), message="x")
        with pytest.raises(LeaseLost), store.write() as tx:
            tx.end_lease(job.id, stale, to)
        with pytest.raises(LeaseLost), store.write() as tx:
            tx.leased_job(job.id, stale)
        assert _all_of(store, job) == before

    def test_leasing_again_beside_the_last_write_leaves_one_writer(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)

        def write() -> str:
            with store.write() as tx:
                tx.record(job.id, token, experiment, [finished_trial(job, 0)])
            return "written"

        def recover() -> str:
            with store.write() as tx:
                return "recovered" if tx.recover_jobs(owner="runner") else "busy"

        written, recovered = race(write, recover)
        with store.read() as tx:
            trials, present = tx.trials(experiment).items, tx.job(job.id)
        assert (written == "written") is bool(trials)
        assert isinstance(written, LeaseLost) or written == "written"
        assert (recovered == "recovered") is (present.state is JobState.QUEUED)


def _claim(store: Store, max_running: int = 100) -> list[Job]:
    with store.write() as tx:
        return tx.claim_jobs("runner", 60.0, max_running)


def _all_of(store: Store, job: Job) -> tuple[object, ...]:
    with store.read() as tx:
        experiment = tx.experiment(job.experiment_id)
        return experiment, tx.job(job.id), tx.trials(experiment).items, tx.events(job.id)
