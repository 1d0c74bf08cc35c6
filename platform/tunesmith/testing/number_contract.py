"""The store's contract on numbers of trials: nobody gets another's, and what is new is found."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import pytest

from tunesmith.domain import JobState, TrialState
from tunesmith.errors import ExperimentNotFound, LeaseLost
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, running_job
from tunesmith.testing.races import race


class NumberContract(Contract):
    """Numbers that are reserved, and trials that changed."""

    def test_numbers_that_are_reserved_at_once_are_nobody_elses(self, store: Store) -> None:
        experiment = new_experiment(store)

        def reserve() -> range:
            with store.write() as tx:
                first = tx.reserve_numbers(experiment.id, 5)
            return range(first, first + 5)

        found = [number for numbers in race(*[reserve] * 6) if isinstance(numbers, range) for number in numbers]
        assert sorted(found) == list(range(30))

    def test_only_an_experiment_that_there_is_has_numbers(self, store: Store) -> None:
        with pytest.raises(ExperimentNotFound), store.write() as tx:
            tx.reserve_numbers(10**6, 1)

    def test_numbers_that_a_job_did_not_use_are_used_by_the_next(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)
        with store.write() as tx:
            assert tx.reserve_job_numbers(job.id, token, 100) == 0
            tx.record(job.id, token, experiment, [finished_trial(job, number) for number in range(3)])
            tx.end_lease(job.id, token, JobState.SUCCEEDED)
            assert tx.next_number(experiment.id) == 3
        with pytest.raises(LeaseLost), store.write() as tx:
            tx.reserve_job_numbers(job.id, token, 1)

    def test_what_changed_is_what_was_added_and_what_was_unfinished(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        others = [open_trial(job, number, job_id=None, run_number=None) for number in range(4)]
        with store.write() as tx:
            tx.write_trials(experiment, [*others[:3], open_trial(job, 9)])
            above, unfinished = tx.newest_id(experiment.id), tx.unfinished_numbers(experiment.id, job.id)
            assert sorted(unfinished) == [0, 1, 2]
            tx.write_trials(experiment, [others[1].evolve(state=TrialState.FAILED, error="e"), others[3]])
            tx.write_trials(experiment, [finished_trial(job, 10)])
            changed = tx.changed_trials(experiment.id, above, unfinished, job.id)
            assert [(trial.number, trial.state) for trial in changed] == [
                (0, TrialState.RUNNING),
                (1, TrialState.FAILED),
                (2, TrialState.RUNNING),
                (3, TrialState.RUNNING),
            ]
            assert [trial.number for trial in tx.changed_trials(experiment.id, above)] == [3, 10]
