"""The store's contract on its own bookkeeping: whatever happens in whatever order, counters equal the rows."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select

from tunesmith.domain import ENDED, FINISHED, Experiment, Job, JobState, Trial, TrialState
from tunesmith.errors import JobActive, LeaseLost, StateForbids
from tunesmith.store import Store
from tunesmith.store.tables import trials
from tunesmith.testing.base import Contract
from tunesmith.testing.best_contract import front_by_comparison
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, search

SEVERAL_RUNS = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FIGURES = st.sampled_from([0.0, 1.0, 2.0])
STEPS = st.lists(st.tuples(st.sampled_from(TrialState), FIGURES, FIGURES), max_size=4)


class CounterContract(Contract):
    """Counters, fronts, events and open trials under random histories."""

    def test_counters_equal_the_rows_after_any_history(self, store: Store) -> None:
        class HistoryOfThisStore(History):
            def __init__(self) -> None:
                super().__init__(store)

        run_state_machine_as_test(HistoryOfThisStore, settings=SEVERAL_RUNS)


class History(RuleBasedStateMachine):
    """One experiment's jobs and trials, driven at random through everything that may happen to them."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.experiment: Experiment = new_experiment(store, ("loss", "-gain"))
        self.job_ids: list[str] = []
        self.tokens: list[tuple[str, str]] = []
        self.finished: dict[int, Trial] = {}

    @rule()
    def submit(self) -> None:
        """Post a job; refused while another one is active."""
        active = self._active()
        with self.store.write() as tx:
            if active is None:
                self.job_ids.append(tx.create_job(self.experiment.id, search()).id)
            else:
                with pytest.raises(JobActive):
                    tx.create_job(self.experiment.id, search())

    @rule()
    def claim(self) -> None:
        """A runner takes what is queued."""
        with self.store.write() as tx:
            self.tokens += [(job.id, str(job.lease_token)) for job in tx.claim_jobs("runner", 60.0, 100)]

    @precondition(lambda self: self._is(JobState.RUNNING))
    @rule(fresh=STEPS, further=STEPS)
    def record(
        self, fresh: list[tuple[TrialState, float, float]], further: list[tuple[TrialState, float, float]]
    ) -> None:
        """The runner writes new trials, moves its open ones on, and repeats one that is finished."""
        job = self._active()
        assert job is not None
        with self.store.write() as tx:
            first = tx.next_number(self.experiment.id)
            numbers = [trial.number for trial in tx.open_trials(job.id)]
            batch = [_trial(job, n, step) for n, step in zip(numbers, further, strict=False)]
            batch += [_trial(job, first + i, step) for i, step in enumerate(fresh)]
            repeated = [trial.evolve(error="written twice") for trial in list(self.finished.values())[-1:]]
            tx.record(job.id, str(job.lease_token), self.experiment, batch + repeated)
        self.finished |= {trial.number: trial for trial in batch if trial.state in FINISHED}

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def write_late(self, data: st.DataObject) -> None:
        """A runner that lost its lease tries to write."""
        job_id, token = data.draw(st.sampled_from(self.tokens))
        with self.store.write() as tx:
            job = tx.job(job_id)
            if job.lease_token == token:
                return
            with pytest.raises(LeaseLost):
                tx.record(job_id, token, self.experiment, [finished_trial(job, 0, 0.0, 0.0)])

    @precondition(lambda self: self._is(JobState.RUNNING))
    @rule()
    def lose_the_runner(self) -> None:
        """The runner dies."""
        with self.store.write() as tx:
            tx.recover_jobs(owner="runner")
        self._forget_unevaluated()

    @precondition(lambda self: self._is(JobState.RUNNING))
    @rule(wanted=st.sampled_from(["cancelled", "paused", None]))
    def ask(self, wanted: Literal["cancelled", "paused"] | None) -> None:
        """A person asks something of the running job."""
        job = self._active()
        assert job is not None
        with self.store.write() as tx:
            if job.wanted == "cancelled" != wanted:
                with pytest.raises(StateForbids):
                    tx.ask_job(job.id, wanted)
            else:
                tx.ask_job(job.id, wanted)

    @precondition(lambda self: self._is(JobState.RUNNING))
    @rule(to=st.sampled_from([JobState.QUEUED, JobState.PAUSED, *sorted(ENDED)]))
    def end(self, to: JobState) -> None:
        """The runner gives the job back."""
        job = self._active()
        assert job is not None
        with self.store.write() as tx:
            tx.end_lease(job.id, str(job.lease_token), to)
        self._forget_unevaluated()

    @precondition(lambda self: self._is(JobState.QUEUED, JobState.PAUSED))
    @rule(to=st.sampled_from([JobState.QUEUED, JobState.PAUSED, JobState.CANCELLED]))
    def move(self, to: JobState) -> None:
        """A person pauses, resumes or cancels a job that waits."""
        job = self._active()
        assert job is not None
        with self.store.write() as tx:
            if job.state is to:
                with pytest.raises(StateForbids):
                    tx.move_job(job.id, to, set(JobState))
            else:
                tx.move_job(job.id, to, {JobState.QUEUED, JobState.PAUSED})
        self._forget_unevaluated()

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A person retries a job: only an ended one, and only when no other is active."""
        job_id = data.draw(st.sampled_from(self.job_ids))
        active = self._active()
        with self.store.write() as tx:
            if active is not None:
                with pytest.raises((StateForbids, JobActive)):
                    tx.retry_job(job_id)
                return
            tx.retry_job(job_id)
        again = {n for n, trial in self.finished.items() if trial.job_id == job_id and trial.state is TrialState.FAILED}
        self.finished = {number: trial for number, trial in self.finished.items() if number not in again}

    @invariant()
    def counters_equal_the_rows(self) -> None:
        """The experiment's counters and next number."""
        here = trials.c.experiment_id == self.experiment.id
        with self.store.read() as tx:
            query = select(trials.c.state, func.count()).where(here).group_by(trials.c.state)
            rows = {TrialState(state): count for state, count in tx.connection.execute(query)}
            highest = tx.connection.scalar(select(func.max(trials.c.number)).where(here))
            counts = tx.experiment(self.experiment.id).counts
            assert {state: count for state, count in counts.items() if count} == rows
            assert tx.next_number(self.experiment.id) == (0 if highest is None else highest + 1)

    @invariant()
    def finished_trials_stay_as_they_are(self) -> None:
        """Every finished trial, and the front that they make."""
        with self.store.read() as tx:
            for number, trial in self.finished.items():
                assert tx.trial(self.experiment.id, number) == trial
            assert tx.best_trials(self.experiment) == front_by_comparison(
                [self.finished[n] for n in sorted(self.finished)]
            )

    @invariant()
    def jobs_are_consistent(self) -> None:
        """One active job; running trials under running jobs alone, none open under ended ones; events without gaps."""
        with self.store.read() as tx:
            found = [tx.job(job_id) for job_id in self.job_ids]
            assert sum(job.state.active for job in found) <= 1
            for job in found:
                states = {trial.state for trial in tx.open_trials(job.id)}
                assert not (job.state.ended and states)
                assert job.state is JobState.RUNNING or TrialState.RUNNING not in states
                assert (job.lease_token is not None) is (job.state is JobState.RUNNING)
                seqs = [event.seq for event in tx.events(job.id)]
                assert seqs == list(range(1, len(seqs) + 1))

    def teardown(self) -> None:
        """Leave nothing active behind."""
        with self.store.write() as tx:
            tx.recover_jobs(everyone=True)
            if (job := tx.active_job(self.experiment.id)) is not None:
                tx.move_job(job.id, JobState.CANCELLED, {JobState.QUEUED, JobState.PAUSED})

    def _active(self) -> Job | None:
        with self.store.read() as tx:
            return tx.active_job(self.experiment.id)

    def _is(self, *states: JobState) -> bool:
        job = self._active()
        return job is not None and job.state in states

    def _forget_unevaluated(self) -> None:
        """Open trials that were settled count as finished from now on."""
        with self.store.read() as tx:
            for job_id in self.job_ids:
                settled = tx.trials(self.experiment, TrialState.FAILED, job_id=job_id, limit=1000).items
                self.finished |= {trial.number: trial for trial in settled if trial.number not in self.finished}


def _trial(job: Job, number: int, step: tuple[TrialState, float, float]) -> Any:
    state, first, second = step
    if state in FINISHED:
        return finished_trial(job, number, first, second, state=state)
    return open_trial(job, number, state)
