"""The store's contract on recording: whole batches, each trial written once, only what can be read again."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import StatementError

from tunesmith.domain import Measurement, Progress, Trial, TrialState
from tunesmith.errors import TrialNotFound
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, open_trial, running_job

NAN, INF = float("nan"), float("inf")


class RecordingContract(Contract):
    """The write path of the runner."""

    def test_trials_are_read_back_as_they_were_written(self, store: Store) -> None:
        experiment = new_experiment(store, ("loss", "-gain"))
        job = running_job(store, experiment)
        written = [
            finished_trial(job, 0, 5e-324, 1e300, violation=-1.5, log="experiments/1/log", attempt=3),
            finished_trial(job, 1, 0.1, 1e22, metrics={"z": 1e16, "a": 0.30000000000000004}),
            finished_trial(job, 2, state=TrialState.FAILED, error="ünï¢ode \U0001f600"),
            open_trial(job, 3, params={"z": "é", "a": True, "n": None, "big": 2**60}),
        ]
        with store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, written)
        with store.read() as tx:
            read = tx.trials(experiment).items
            assert list(read) == written
            assert [tx.trial(experiment.id, n) for n in range(4)] == written
        assert [list(trial.params) for trial in read] == [list(trial.params) for trial in written]
        assert isinstance(read[1].metrics["z"], float)

    def test_an_unknown_trial_is_not_found(self, store: Store) -> None:
        experiment = new_experiment(store)
        with store.read() as tx:
            for experiment_id, number in ((experiment.id, 0), (experiment.id, -1), (experiment.id, 2**40), (2**70, 0)):
                with pytest.raises(TrialNotFound, match=f"no trial {number}"):
                    tx.trial(experiment_id, number)

    def test_a_finished_trial_is_never_written_again(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        token = str(job.lease_token)
        first = finished_trial(job, 0, 1.0)
        with store.write() as tx:
            tx.record(job.id, token, experiment, [first])
            for again in (
                finished_trial(job, 0, 9.0),
                finished_trial(job, 0, state=TrialState.FAILED),
                open_trial(job, 0),
            ):
                tx.record(job.id, token, experiment, [again])
            assert tx.trial(experiment.id, 0) == first
            assert tx.experiment(experiment.id).counts[TrialState.COMPLETE] == 1
            assert [event.data["number"] for event in tx.events(job.id) if event.kind == "trial"] == [0]

    def test_a_trial_twice_in_a_batch_counts_once(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        batch = [open_trial(job, 0), finished_trial(job, 0, 1.0), open_trial(job, 0), open_trial(job, 1)]
        with store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, batch)
            counts = tx.experiment(experiment.id).counts
            assert tx.trial(experiment.id, 0) == batch[1]
        assert {state: n for state, n in counts.items() if n} == {TrialState.COMPLETE: 1, TrialState.RUNNING: 1}

    def test_a_trial_keeps_its_job_and_its_beginning(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        begun = open_trial(job, 0)
        with store.write() as tx:
            tx.write_trials(experiment, [begun])
            tx.write_trials(experiment, [finished_trial(job, 0, job_id=None, run_number=99, created_at=None)])
            read = tx.trial(experiment.id, 0)
        assert (read.job_id, read.run_number, read.created_at) == (job.id, job.run_number, begun.created_at)

    def test_the_next_number_follows_the_highest(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with store.write() as tx:
            assert tx.next_number(experiment.id) == 0
            tx.write_trials(experiment, [open_trial(job, 6), open_trial(job, 2)])
            tx.write_trials(experiment, [open_trial(job, 3)])
            assert tx.next_number(experiment.id) == 7

    def test_a_batch_is_written_whole_or_not_at_all(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        batch = [finished_trial(job, 0), finished_trial(job, 1).evolve(metrics={"loss": NAN})]
        measured = [Measurement(experiment_id=experiment.id, number=0, metric="loss", step=1, value=1.0)]
        with store.read() as tx:
            before = tx.job(job.id), tx.experiment(experiment.id), tx.events(job.id)

        def write_both() -> None:
            with store.write() as tx:
                tx.record(job.id, str(job.lease_token), experiment, batch[:1], measured, Progress(finished=1), "one")
                tx.record(job.id, str(job.lease_token), experiment, batch, measured, Progress(finished=2), "two")

        with pytest.raises(ValueError, match="not finite"):
            write_both()
        with store.read() as tx:
            assert (tx.job(job.id), tx.experiment(experiment.id), tx.events(job.id)) == before
            assert not tx.trials(experiment).items
            assert not tx.measurements(experiment.id, 0)

    @pytest.mark.parametrize(
        "broken",
        [
            {"values": (NAN,)},
            {"values": (INF,)},
            {"values": ()},
            {"values": (1.0, 2.0)},
            {"values": None},
            {"metrics": {"a": -INF}},
            {"violation": NAN},
        ],
        ids=str,
    )
    def test_a_number_that_is_none_is_refused(self, store: Store, broken: dict[str, Any]) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with pytest.raises(ValueError, match="trial 0"), store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0).evolve(**broken)])

    def test_a_parameter_that_is_nan_is_refused(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with pytest.raises((ValueError, StatementError)), store.write() as tx:
            tx.write_trials(experiment, [finished_trial(job, 0).evolve(params={"x": NAN})])

    def test_what_a_tool_prints_can_always_be_stored(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        failed = finished_trial(job, 0, state=TrialState.FAILED, params={"x": "a\0b"}, error="a\0b\ud800c")
        with store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, [failed], message="a\0b")
            read = tx.trial(experiment.id, 0)
            assert tx.job(job.id).message == "a\ufffdb"
        assert read.error == "a\ufffdb?c"
        assert read.params == {"x": "a\0b"}

    def test_the_last_report_of_a_step_counts(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)

        def measured(metric: str, step: int, value: float) -> Measurement:
            return Measurement(experiment_id=experiment.id, number=0, metric=metric, step=step, value=value)

        batch = [
            measured("loss", 2, 3.0),
            measured("loss", 1, 1.0),
            measured("acc", 2**40, 5.0),
            measured("loss", 2, 2.0),
        ]
        with store.write() as tx:
            tx.record(job.id, str(job.lease_token), experiment, [open_trial(job, 0)], batch)
            tx.record(job.id, str(job.lease_token), experiment, [], [measured("loss", 1, 0.5)])
            read = tx.measurements(experiment.id, 0)
        assert [(m.metric, m.step, m.value) for m in read] == [("acc", 2**40, 5.0), ("loss", 1, 0.5), ("loss", 2, 2.0)]

    def test_history_streams_the_finished_trials(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        trials: list[Trial] = [finished_trial(job, n, float(n)) for n in range(1100)]
        with store.write() as tx:
            tx.write_trials(experiment, [*trials, open_trial(job, 1100)])
        with store.read() as tx:
            assert [trial.number for trial in tx.history(experiment.id)] == list(range(1100))
            assert tx.job_summary(job.id) == {TrialState.COMPLETE: 1100, TrialState.RUNNING: 1}
