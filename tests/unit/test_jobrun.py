"""A running job in memory: what it hands out, takes in and makes of it, and that no crash loses anything."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tuners.jobrun import MAX_ATTEMPTS, MAX_BATCH, JobRun, Reserve
from tuners.messages import Advance, Evaluation, Outcome, Report
from tuners.samplers import plan
from tunesmith.domain import (
    FINISHED,
    AlgorithmTool,
    Experiment,
    Job,
    JobState,
    Progress,
    Scalar,
    Search,
    Trial,
    TrialState,
    space_of,
    utcnow,
)
from tunesmith.testing.factories import EPOCH, spec

SHAPE = (("CPU", 1.0),)
SPACE = space_of([{"name": "x", "minimum": 0, "maximum": 1}, {"name": "n", "type": "int", "minimum": 1, "maximum": 10}])


def experiment_of(objectives: Sequence[str] = ("loss",), **changes: Any) -> Experiment:
    return Experiment(
        id=1,
        workspace_id="w",
        spec=spec(objectives=objectives, space=SPACE, **changes),
        name="e",
        tags=(),
        archived=False,
        created_at=EPOCH,
        counts={},
    )


def job_of(experiment: Experiment, started_s_ago: float = 0, **search: Any) -> Job:
    planned = plan(experiment, Search.model_validate({"seed": 1} | search), 1000)
    return Job(
        id="job",
        experiment_id=1,
        run_number=1,
        state=JobState.RUNNING,
        search=planned.search,
        progress=Progress(total=planned.total, ran_s=started_s_ago),
        queued_at=EPOCH,
        started_at=utcnow() - timedelta(seconds=started_s_ago),
    )


def numbers_from(first: int) -> Reserve:
    """The numbers of a run that nobody else adds trials to."""
    following = [first]

    def reserve(count: int) -> int:
        following[0] += count
        return following[0] - count

    return reserve


def run_of(experiment: Experiment | None = None, history: Sequence[Trial] = (), **search: Any) -> JobRun:
    experiment = experiment or experiment_of()
    return JobRun(experiment, job_of(experiment, **search), SHAPE, history, (), numbers_from(len(history)))


def take(run: JobRun, slots: int = 1) -> list[Evaluation]:
    batch = run.take(slots, "artifacts", 1.0)
    return [] if batch is None else list(batch.evaluations)


def outcome(number: int, state: TrialState = TrialState.COMPLETE, seconds: float = 1.0, **metrics: float) -> Outcome:
    measured = {"loss": float(number), "size": 0.0, "speed": float(number)} | metrics
    error = "exit code 1" if state is TrialState.FAILED else None
    return Outcome("job", number, state, EPOCH, EPOCH + timedelta(seconds=seconds), measured, error, "host:1")


def complete(run: JobRun, *losses: float, seconds: float = 1.0) -> list[int]:
    """Take one trial after the other and complete it with a value."""
    numbers = []
    for loss in losses:
        run.seconds = 0.0  # one at a time
        (evaluation,) = take(run)
        run.absorb([outcome(evaluation.number, loss=loss, seconds=seconds)])
        numbers.append(evaluation.number)
    return numbers


def fail(run: JobRun, times: int = 1) -> None:
    for _ in range(times):
        run.seconds = 0.0
        (evaluation,) = take(run)
        run.absorb([outcome(evaluation.number, TrialState.FAILED)])


# Any order of events, with crashes


class AnyJob(RuleBasedStateMachine):
    """A job, its workers' batches, and a database that holds only what was written."""

    @initialize(
        search=st.sampled_from(
            [
                {"type": "random", "n_iter": 9},
                {"type": "random", "n_iter": 150},
                {"type": "random", "n_iter": 0},
                {"type": "grid", "num_configs_per_param": 5},
                {"type": "bayesopt", "n_init": 3, "n_iter": 9, "max_concurrent": 1},
                {"type": "tpe", "n_iter": 30, "enqueue": [{"x": 0.5, "n": 3}, {"x": 0.25, "n": 4}]},
            ]
        ),
        earlier=st.integers(0, 3),
    )
    def begin(self, search: dict[str, Any], earlier: int) -> None:
        self.experiment = experiment_of(constraints=({"metric": "size", "max": 1},))
        self.job = job_of(self.experiment, **search)
        self.reproducible = search["type"] in ("random", "grid")
        self.first = earlier
        self.earlier = [self.finished_before(number) for number in range(earlier)]
        self.database: dict[int, Trial] = {}
        self.progress = self.job.progress
        self.params: dict[int, Mapping[str, Scalar]] = {}
        self.batches: list[list[int]] = []
        self.started()

    def finished_before(self, number: int) -> Trial:
        return Trial(
            experiment_id=1,
            number=number,
            job_id="earlier",
            run_number=0,
            state=TrialState.COMPLETE,
            params={"x": 0.5, "n": 5},
            values=(-1.0,),
            metrics={"loss": -1.0, "size": 0.0},
            violation=0.0,
        )

    def started(self) -> None:
        written = [self.database[number] for number in sorted(self.database)]
        history = [*self.earlier, *(trial for trial in written if trial.state in FINISHED)]
        open_trials = [trial for trial in written if trial.state not in FINISHED]
        number = self.first + len(written)
        self.run = JobRun(self.experiment, self.job, SHAPE, history, open_trials, numbers_from(number))
        self.batches.clear()

    @rule(slots=st.integers(1, 8))
    def hand_out(self, slots: int) -> None:
        waiting = [trial.number for trial in self.run.waiting]
        left = self.run.left
        evaluations = take(self.run, slots)
        numbers = [evaluation.number for evaluation in evaluations]
        assert bool(numbers) == (left > 0)
        assert len(numbers) <= min(MAX_BATCH, math.ceil(left / slots))
        assert numbers[: len(waiting)] == waiting[: len(numbers)], "those that wait go first"
        assert len(numbers) == 1 or all(evaluation.attempt == 1 for evaluation in evaluations)
        if self.job.search.max_concurrent == 1 and numbers:
            assert len(numbers) == 1
        for evaluation in evaluations:
            assert not SPACE.problems(evaluation.params)
            if self.reproducible or evaluation.number in waiting:
                assert self.params.setdefault(evaluation.number, evaluation.params) == evaluation.params
            self.params[evaluation.number] = evaluation.params
        if numbers:
            self.batches.append(numbers)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def evaluate(self, data: st.DataObject) -> None:
        batch = self.batches[data.draw(st.integers(0, len(self.batches) - 1))]
        states = st.sampled_from([TrialState.COMPLETE] * 3 + [TrialState.FAILED, TrialState.PRUNED, TrialState.WAITING])
        seconds = data.draw(st.sampled_from([0.001, 0.01, 0.05, 2.0]))
        settled = batch[: data.draw(st.integers(1, len(batch)))]
        found = [
            outcome(
                n, data.draw(states), seconds, loss=data.draw(st.integers(-9, 9)), size=data.draw(st.integers(0, 2))
            )
            for n in settled
        ]
        self.run.absorb(found)
        before = self.run.progress
        self.run.absorb([one for one in found if one.state is not TrialState.WAITING])  # a message that comes twice
        assert self.run.progress == before
        del batch[: len(settled)]
        self.batches = [batch for batch in self.batches if batch]

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), died=st.booleans())
    def lose_a_worker(self, data: st.DataObject, died: bool) -> None:
        batch = self.batches.pop(data.draw(st.integers(0, len(self.batches) - 1)))
        self.run.lose([*batch, 10**6], died)
        assert not self.run.running.keys() & set(batch)

    @precondition(lambda self: self.batches)
    @rule(value=st.floats(-1, 1), step=st.integers(-2, 5))
    def report(self, value: float, step: int) -> None:
        numbers = [*self.batches[0], 10**6]
        assert self.run.report([Report("job", number, "loss", step, value) for number in numbers]) == set()

    @rule()
    def write(self) -> None:
        unwritten = self.run.unwritten()
        if unwritten is None:
            assert self.run.unwritten() is None
            return
        for trial in unwritten.trials:
            before = self.database.get(trial.number)
            assert before is None or before.state not in FINISHED, "a finished trial was written again"
            self.database[trial.number] = trial
        self.progress = unwritten.progress
        assert sorted(self.database) == list(range(self.first, self.first + len(self.database))), "a hole in SQL"
        assert {m.number for m in unwritten.measurements} <= self.database.keys()
        assert all(self.database[trial.number] == trial for trial in [*self.run.waiting, *self.run.running.values()])

    @rule()
    def fail_to_write(self) -> None:
        unwritten = self.run.unwritten()
        if unwritten is not None:
            self.run.write_again(unwritten)
            again = self.run.unwritten()
            assert again is not None
            assert (again.trials, again.measurements) == (unwritten.trials, unwritten.measurements)
            self.run.write_again(again)

    @rule()
    def crash(self) -> None:
        self.started()

    @invariant()
    def numbers_are_in_order(self) -> None:
        waiting, running = {trial.number for trial in self.run.waiting}, set(self.run.running)
        assert not waiting & running
        assert len(waiting) == len(self.run.waiting)
        open_or_done = len(waiting) + len(running) + self.run.progress.finished
        handed_out = waiting | running | {number for number in self.database if self.database[number].state in FINISHED}
        assert handed_out <= set(range(self.first, self.first + open_or_done))
        assert open_or_done <= (self.run.progress.total or 0)

    @invariant()
    def what_is_written_is_consistent(self) -> None:
        states = Counter(trial.state for trial in self.database.values())
        assert self.progress.finished == sum(states[state] for state in FINISHED)
        assert self.progress.failed == states[TrialState.FAILED]
        assert self.progress.best == best_of(self.database.values())
        assert self.progress.total == self.job.progress.total

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        for batch in self.batches:
            self.run.absorb([outcome(number, loss=number) for number in batch])
        while evaluations := take(self.run):
            self.run.absorb([outcome(one.number, loss=one.number) for one in evaluations])
        assert self.run.over
        self.write()
        assert len(self.database) == self.job.progress.total
        assert all(trial.state in FINISHED for trial in self.database.values())
        self.what_is_written_is_consistent()
        state, _changes = self.run.verdict()
        failed = self.database and all(trial.state is TrialState.FAILED for trial in self.database.values())
        assert state is (JobState.FAILED if failed else JobState.SUCCEEDED)
        if self.reproducible:
            assert all(trial.params == self.params.get(trial.number, trial.params) for trial in self.database.values())


def best_of(trials: Iterable[Trial]) -> dict[str, Any] | None:
    feasible = [(trial.values[0], trial.number, trial) for trial in trials if trial.feasible and trial.values]
    if not feasible:
        return None
    value, number, best = min(feasible)
    return {"number": number, "outcome": value, "outcomes": {"loss": value}, "params": best.params}


AnyJob.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAnyJob = AnyJob.TestCase


# Batches


def test_the_first_batch_is_one_evaluation() -> None:
    assert len(take(run_of(type="random", n_iter=100))) == 1


@pytest.mark.parametrize(
    ("seconds", "exchange_s", "slots", "size"),
    [
        (5.0, 0.002, 1, 1),
        (0.02, 0.002, 1, 2),
        (0.001, 0.002, 1, 40),
        (0.001, 0.004, 1, 80),
        (0.0001, 0.002, 1, MAX_BATCH),
        (0.0001, 0.002, 40, 10),
    ],
)
def test_so_many_evaluations_travel_together_that_exchanges_take_a_twentieth_of_the_time(
    seconds: float, exchange_s: float, slots: int, size: int
) -> None:
    run = run_of(type="random", n_iter=401)
    complete(run, 1.0, seconds=seconds)
    batch = run.take(slots, "artifacts", 1.0, exchange_s)
    assert batch is not None
    assert len(batch.evaluations) == size


def test_a_batch_adapts_when_evaluations_become_longer() -> None:
    run = run_of(type="random", n_iter=1000)
    complete(run, 1.0, seconds=0.001)
    sizes = []
    for _ in range(6):
        evaluations = take(run)
        sizes.append(len(evaluations))
        run.absorb([outcome(one.number, seconds=1.0) for one in evaluations])
    assert sizes[0] == 40
    assert sizes[-1] == 1


def test_a_sampler_that_learns_gets_its_results_first() -> None:
    run = run_of(type="tpe", n_iter=2000)
    complete(run, *[1.0] * 45, seconds=0.001)
    run.seconds = 0.001
    assert len(take(run)) == 2
    alone = run_of(type="tpe", n_iter=2000, max_concurrent=1)
    complete(alone, *[1.0] * 45, seconds=0.001)
    alone.seconds = 0.001
    assert len(take(alone)) == 1


def test_what_killed_a_worker_travels_alone() -> None:
    run = run_of(type="random", n_iter=100)
    run.seconds = 0.001
    first, second, *rest = (one.number for one in take(run, 10))
    run.absorb([outcome(first, seconds=0.001)])
    run.lose([second, *rest], died=True)
    for number in (second, *rest):
        (again,) = take(run, 1)
        assert (again.number, again.attempt) == (number, 2)
        run.absorb([outcome(again.number, seconds=0.001)])
    assert len(take(run, 1)) > 1


def test_a_trial_that_keeps_killing_workers_fails() -> None:
    run = run_of(type="random", n_iter=1)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (evaluation,) = take(run)
        assert evaluation.attempt == attempt
        run.lose([evaluation.number], died=True)
    assert run.over
    state, changes = run.verdict()
    assert state is JobState.FAILED
    assert f"the worker process died {MAX_ATTEMPTS} times" in changes["error"]


def test_a_trial_whose_node_is_taken_away_runs_again() -> None:
    run = run_of(type="random", n_iter=1)
    for _ in range(10):
        (evaluation,) = take(run)
        assert evaluation.attempt == 1
        run.lose([evaluation.number], died=False)
    assert not run.over


@pytest.mark.parametrize("ending", [JobState.CANCELLED, JobState.PAUSED, JobState.QUEUED])
def test_nothing_is_handed_out_once_it_ends(ending: JobState) -> None:
    run = run_of(type="random", n_iter=9)
    (evaluation,) = take(run)
    run.ending = ending
    assert take(run) == []
    assert not run.wants_worker
    assert not run.over
    run.absorb([outcome(evaluation.number)])
    assert run.over
    assert run.verdict()[0] is ending
    assert run.progress.finished == 1


# Workers at once


@pytest.mark.parametrize(
    ("search", "compute", "limit"),
    [
        ({}, {}, math.inf),
        ({"max_concurrent": 3}, {}, 3),
        ({}, {"max_threads": 2}, 2),
        ({"max_concurrent": 3}, {"max_threads": 2}, 2),
    ],
)
def test_workers_at_once_are_limited(search: dict[str, Any], compute: dict[str, Any], limit: float) -> None:
    run = run_of(experiment_of(compute=compute), type="random", n_iter=9, **search)
    assert run.concurrency == limit
    run.workers |= {str(number) for number in range(int(min(limit, 5)))}
    assert run.wants_worker == (limit > 5)


# Intermediate values


def test_intermediate_values_are_kept_and_judged() -> None:
    run = run_of(type="random", n_iter=9, pruner={"type": "threshold", "options": {"upper": 1}})
    (evaluation,) = take(run)
    number = evaluation.number
    reports = [
        Report("job", number, "loss", 0, 0.5),
        Report("job", number, "size", 0, 99.0),
        Report("job", 77, "loss", 0, 9.0),
    ]
    assert run.report(reports) == set()
    assert run.report([Report("job", number, "loss", 1, 2.0)]) == {number}
    unwritten = run.unwritten()
    assert unwritten is not None
    assert [(m.number, m.metric, m.step, m.value) for m in unwritten.measurements] == [
        (number, "loss", 0, 0.5), (number, "size", 0, 99.0), (number, "loss", 1, 2.0),
    ]  # fmt: skip
    run.absorb([outcome(number, TrialState.PRUNED)])
    assert run.pruned == set()
    assert (run.progress.finished, run.progress.failed) == (1, 0)


def test_a_trial_that_was_to_be_pruned_has_another_chance_unless_its_worker_was_killed_for_it() -> None:
    run = run_of(type="random", n_iter=1, pruner={"type": "threshold", "options": {"upper": 1}})
    (evaluation,) = take(run)
    assert run.report([Report("job", evaluation.number, "loss", 0, 5.0)]) == {evaluation.number}
    run.lose([evaluation.number], died=False)
    take(run)
    assert run.report([]) == set()
    assert run.report([Report("job", evaluation.number, "loss", 0, 5.0)]) == {evaluation.number}
    run.lose([evaluation.number], died=True)
    assert run.over
    unwritten = run.unwritten()
    assert unwritten is not None
    assert unwritten.trials[-1].state is TrialState.PRUNED


# Verdicts


def test_a_job_without_trials_succeeds() -> None:
    run = run_of(type="random", n_iter=0)
    assert run.over
    assert run.verdict() == (JobState.SUCCEEDED, {"message": None})


def test_all_trials_failing_fails_the_job_with_the_first_failure() -> None:
    run = run_of(type="random", n_iter=3)
    fail(run, 3)
    assert run.over
    assert run.verdict() == (JobState.FAILED, {"error": "no trial succeeded. The first failure: trial 0: exit code 1"})


def test_some_failures_do_not_fail_the_job() -> None:
    run = run_of(type="random", n_iter=3)
    fail(run, 2)
    complete(run, 1.0)
    assert run.verdict() == (JobState.SUCCEEDED, {"message": None})
    assert (run.progress.finished, run.progress.failed) == (3, 2)


def test_too_many_failures_stop_the_job() -> None:
    run = run_of(type="random", n_iter=99, max_failed_trials=2)
    complete(run, 1.0)
    fail(run, 1)
    assert not run.over
    fail(run, 1)
    assert run.over
    assert take(run) == []
    state, changes = run.verdict()
    assert state is JobState.FAILED
    assert changes["error"] == "2 trials failed (max_failed_trials). The first failure: trial 1: exit code 1"


def test_a_search_that_converged_succeeds_early() -> None:
    run = run_of(type="random", n_iter=99, converge_steps=3)
    complete(run, 5, 4, 4, 4, 4)
    assert run.over
    assert run.verdict() == (JobState.SUCCEEDED, {"message": "no improvement in 3 trials (converge_steps)"})


def test_a_spent_budget_starts_no_new_trial_but_waits_for_the_running_one() -> None:
    job = job_of(experiment_of(), started_s_ago=999.9, type="tpe", budget_s=1000)
    run = JobRun(experiment_of(), job, SHAPE, (), (), numbers_from(0))
    assert run.left == math.inf
    (evaluation,) = take(run)
    time.sleep(0.15)
    assert take(run) == []
    assert not run.over
    run.absorb([outcome(evaluation.number)])
    assert run.over
    assert run.verdict() == (JobState.SUCCEEDED, {"message": "the budget of 1000 s is spent (budget_s)"})


def test_the_time_that_a_job_ran_and_what_it_cost_go_on_where_they_were() -> None:
    run = run_of(type="random", n_iter=9)
    (evaluation,) = take(run)
    run.absorb([outcome(evaluation.number, seconds=10.0)], price=0.25)
    standing = run.standing
    assert standing.cost == 2.5
    again = JobRun(
        experiment_of(), run.job.evolve(progress=standing.evolve(ran_s=500.0)), SHAPE, (), (), numbers_from(1)
    )
    assert (again.standing.cost, again.standing.ran_s >= 500) == (2.5, True)


def test_a_goal_ends_the_search_well() -> None:
    run = run_of(type="random", n_iter=9, goal=0.5)
    complete(run, 3.0, 0.4)
    assert run.over
    assert run.verdict() == (JobState.SUCCEEDED, {"message": "trial 1 reached the goal: loss 0.5 (goal)"})


def test_an_error_of_its_own_fails_the_job() -> None:
    run = run_of(type="random", n_iter=3)
    run.error = "Traceback: the sampler broke"
    assert take(run) == []
    assert run.over
    assert run.verdict() == (JobState.FAILED, {"error": "Traceback: the sampler broke"})


def test_a_grid_ends_though_it_was_promised_longer() -> None:
    run = run_of(type="grid", num_configs_per_param=2)
    run.progress = run.progress.evolve(total=99)
    while evaluations := take(run):
        run.absorb([outcome(one.number) for one in evaluations])
    assert run.over
    assert run.progress.finished == 4


# Progress


def test_the_best_is_feasible_and_the_first_of_equals() -> None:
    run = run_of(experiment_of(constraints=({"metric": "size", "max": 1},)), type="random", n_iter=9)
    for loss, size in ((5.0, 0.0), (1.0, 9.0), (3.0, 1.0), (3.0, 0.0)):
        (evaluation,) = take(run)
        run.absorb([outcome(evaluation.number, loss=loss, size=size)])
    assert run.progress.best is not None
    assert (run.progress.best["number"], run.progress.best["outcome"]) == (2, 3.0)


def test_what_is_maximized_is_best_at_the_other_end() -> None:
    run = run_of(experiment_of(("-speed", "loss")), type="random", n_iter=9)
    for speed in (1.0, 3.0, 2.0):
        (evaluation,) = take(run)
        run.absorb([outcome(evaluation.number, speed=speed)])
    assert run.progress.best is not None
    assert run.progress.best["outcomes"] == {"speed": 3.0, "loss": 1.0}


def test_a_finished_trial_has_everything() -> None:
    run = run_of(
        experiment_of(constraints=({"metric": "size", "max": 1}, {"metric": "size", "min": 9})), type="random", n_iter=1
    )
    take(run)
    run.absorb([outcome(0, loss=2.0, size=3.0)])
    unwritten = run.unwritten()
    assert unwritten is not None
    (trial,) = unwritten.trials
    assert (trial.state, trial.values, trial.violation) == (TrialState.COMPLETE, (2.0,), 8.0)
    assert (trial.worker, trial.duration_s, trial.run_number) == ("host:1", 1.0, 1)
    assert trial.metrics == {"loss": 2.0, "size": 3.0, "speed": 0.0}


def test_violations_stay_finite() -> None:
    bounds = tuple({"metric": "size", "max": -1.5e308 - i} for i in range(2))
    run = run_of(experiment_of(constraints=bounds), type="tpe", n_iter=2)
    take(run)
    run.absorb([outcome(0, size=1.5e308)])
    unwritten = run.unwritten()
    assert unwritten is not None
    assert math.isfinite(unwritten.trials[0].violation or math.inf)
    assert take(run)


def test_a_message_is_written_once() -> None:
    run = run_of(type="random", n_iter=1)
    run.message = "waiting: no room"
    unwritten = run.unwritten()
    assert unwritten is not None
    assert unwritten.message == "waiting: no room"
    assert run.unwritten() is None
    run.write_again(unwritten)
    run.message = "newer"
    run.write_again(unwritten)
    assert run.message == "newer"


# How far the only trial is


def running_one(**job: Any) -> JobRun:
    """A run of one point, which is handed out."""
    tool = AlgorithmTool(name="Slow", plugin="examples:plugin")
    experiment = experiment_of(tool=tool)
    planned = job_of(experiment, type="random", n_iter=1)
    run = JobRun(experiment, planned.evolve(**job), SHAPE, (), (), numbers_from(0))
    take(run)
    run.unwritten()
    return run


def test_progress_is_written_and_never_goes_back() -> None:
    run = running_one()
    for percent, shown in ((10, 10), (40, 40), (30, 40), (1000, 100)):
        run.hear(Advance(0, percent))
        unwritten = run.unwritten()
        assert unwritten is not None
        assert (unwritten.progress.percent, unwritten.message) == (shown, None)
    assert run.unwritten() is None


def test_what_it_does_is_the_jobs_message() -> None:
    run = running_one()
    run.hear(Advance(0, 10, "reading\0"))
    run.hear(Advance(0, 20))
    unwritten = run.unwritten()
    assert unwritten is not None
    assert (unwritten.progress.percent, unwritten.message) == (20, "reading\ufffd")
    run.write_again(unwritten)
    again = run.unwritten()
    assert again is not None
    assert (again.progress.percent, again.message) == (20, "reading\ufffd")


def test_progress_goes_on_where_the_last_runner_left_it() -> None:
    run = running_one(progress=Progress(total=1, percent=60))
    run.hear(Advance(0, 5))
    assert run.standing.percent == 60


def test_a_trial_that_is_complete_is_all_of_it() -> None:
    run = running_one()
    run.absorb([outcome(0)])
    assert run.standing.percent == 100


def test_a_trial_that_failed_stays_as_far_as_it_was() -> None:
    run = running_one()
    run.hear(Advance(0, 30))
    run.absorb([outcome(0, TrialState.FAILED)])
    run.hear(Advance(0, 90))
    assert run.standing.percent == 30


def test_progress_of_one_trial_among_many_says_nothing_of_the_job() -> None:
    run = run_of(type="random", n_iter=5)
    (evaluation,) = take(run)
    run.unwritten()
    run.hear(Advance(evaluation.number, 50, "half"))
    assert run.unwritten() is None
