"""The store's contract on the best: the least or the largest feasible value, or the Pareto front, at any moment."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.domain import Experiment, JobState, Trial, TrialState
from tunesmith.store import Store
from tunesmith.testing.base import SOME_EXAMPLES, Contract
from tunesmith.testing.factories import finished_trial, new_experiment, running_job
from tunesmith.testing.races import race

Outcome = tuple[float, float, float | None]
OUTCOMES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 2.0, 3.0]),
        st.sampled_from([0.0, 1.0, 2.0, 3.0]),
        st.sampled_from([None, -1.0, 0.0, 1.0]),
    ),
    max_size=12,
)


class BestContract(Contract):
    """Best trials and Pareto fronts."""

    def test_before_the_first_trial_there_is_no_best(self, store: Store) -> None:
        for objectives in (("loss",), ("loss", "-gain")):
            experiment = new_experiment(store, objectives)
            with store.read() as tx:
                assert tx.best_trials(experiment) == []

    def test_failed_and_pruned_trials_are_never_the_best(self, store: Store) -> None:
        for objectives, values in ((("loss",), [(1.0,), (0.0,)]), (("loss", "size"), [(1.0, 1.0), (0.0, 0.0)])):
            experiment = new_experiment(store, objectives)
            job = running_job(store, experiment)
            found = [
                finished_trial(job, 0, *values[0]),
                finished_trial(job, 1, *values[1], state=TrialState.PRUNED),
                finished_trial(job, 2, state=TrialState.FAILED),
            ]
            with store.write() as tx:
                tx.write_trials(experiment, found)
                assert tx.best_trials(experiment) == found[:1]

    @SOME_EXAMPLES
    @given(outcomes=OUTCOMES)
    def test_the_best_is_feasible_and_the_first_of_its_kind(self, store: Store, outcomes: list[Outcome]) -> None:
        for objective, sign in (("loss", 1), ("-gain", -1)):
            experiment = _write(store, (objective,), [(a, v) for a, _, v in outcomes])
            feasible = [(a * sign, n) for n, (a, _, v) in enumerate(outcomes) if v is None or v <= 0]
            with store.read() as tx:
                assert [trial.number for trial in tx.best_trials(experiment)] == [n for _, n in sorted(feasible)[:1]]

    @SOME_EXAMPLES
    @given(outcomes=OUTCOMES, batch=st.integers(1, 5))
    def test_the_front_is_right_after_every_batch(self, store: Store, outcomes: list[Outcome], batch: int) -> None:
        experiment = new_experiment(store, ("loss", "-gain"))
        job = running_job(store, experiment)
        trials = [finished_trial(job, n, a, b, violation=v) for n, (a, b, v) in enumerate(outcomes)]
        with store.write() as tx:
            for start in range(0, len(trials), batch):
                tx.write_trials(experiment, trials[start : start + batch])
                assert tx.best_trials(experiment) == front_by_comparison(trials[: start + batch])
            tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)

    def test_the_front_is_right_when_several_write_at_once(self, store: Store) -> None:
        for _ in range(5):
            experiment = new_experiment(store, ("loss", "-gain"))
            job = running_job(store, experiment)
            trials = [finished_trial(job, n, float(n % 7), float(n * 5 % 11)) for n in range(40)]

            def write(part: list[Trial], experiment: Experiment = experiment) -> None:
                for trial in part:
                    with store.write() as tx:
                        tx.write_trials(experiment, [trial])

            assert race(lambda: write(trials[::2]), lambda: write(trials[1::2])) == [None, None]  # noqa: B023
            with store.read() as tx:
                assert tx.best_trials(experiment) == front_by_comparison(trials)
                assert tx.experiment(experiment.id).counts[TrialState.COMPLETE] == 40


def _write(store: Store, objectives: tuple[str, ...], outcomes: list[tuple[float, float | None]]) -> Experiment:
    experiment = new_experiment(store, objectives)
    job = running_job(store, experiment)
    with store.write() as tx:
        tx.write_trials(experiment, [finished_trial(job, n, a, violation=v) for n, (a, v) in enumerate(outcomes)])
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    return experiment


def front_by_comparison(trials: list[Trial]) -> list[Trial]:
    """Minimize the first value, maximize the second: by comparing everything with everything."""

    def dominates(a: Trial, b: Trial) -> bool:
        (a1, a2), (b1, b2) = a.values or (0, 0), b.values or (0, 0)
        return a1 <= b1 and a2 >= b2 and (a1, a2) != (b1, b2)

    feasible = [trial for trial in trials if trial.feasible]
    return [trial for trial in feasible if not any(dominates(other, trial) for other in feasible)]
