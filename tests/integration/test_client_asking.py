"""Asking and telling with the Python client, against the service behind a real port."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import numpy as np
import optuna
import pytest
from conftest import served
from fastapi import FastAPI

from tunesmith import Client, Conflict, Experiment, ExperimentNotFound, TrialAnswer, TrialToRun
from tunesmith.errors import BadRequest, Exhausted, IdempotencyMismatch, InvalidOptimizer, TrialFinished, TrialTaken
from tunesmith.schemas.requests import OptimizerRequest

X = {"name": "x", "minimum": 0, "maximum": 1}
N = {"name": "n", "type": "int", "minimum": 1, "maximum": 6}
Make = Callable[..., Experiment]


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    """Makes experiments for workers of our own."""
    with Client(url) as client:

        def experiment(**content: Any) -> Experiment:
            body = {"tool_name": "asked", "external": True, "parameters": [X], "objectives": [{"metric": "loss"}]}
            return client.create_experiment({**body, **content})

        yield experiment


@pytest.fixture
def experiment(make: Make) -> Experiment:
    return make()


def one(experiment: Experiment, **ask: Any) -> TrialToRun:
    (trial,) = experiment.ask(**ask)
    return trial


def states(experiment: Experiment) -> dict[str, int]:
    return {state: count for state, count in experiment.refresh().trial_counts.items() if count}


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.02)
    return found


class TestTheLoop:
    def test_it_ends_when_every_point_is_tried(self, make: Make) -> None:
        experiment = make(parameters=[N])
        seen = []
        for trial in experiment.trials_to_run(optimizer="random"):
            seen.append(trial.params.n)
            assert trial.params["n"] == trial.params.n
            trial.tell(trial.params.n)
        assert sorted(seen) == [1, 2, 3, 4, 5, 6]
        assert states(experiment) == {"complete": 6}
        best = experiment.best()
        assert isinstance(best, TrialAnswer)
        assert (best.outcome, best.worker is not None) == (1, True)

    def test_it_takes_no_more_than_it_may_in_batches_too(self, experiment: Experiment) -> None:
        for trial in experiment.trials_to_run(count=4, max_trials=6):
            trial.tell(0.5)
        assert states(experiment)["complete"] == 6
        assert "running" not in states(experiment)

    def test_a_search_with_an_end_of_its_own_ends_it(self, experiment: Experiment) -> None:
        search = OptimizerRequest(type="random", n_iter=3)
        assert len([trial.tell(1) for trial in experiment.trials_to_run(optimizer=search)]) == 3
        with pytest.raises(Exhausted):
            experiment.ask()

    def test_it_waits_for_what_others_are_evaluating(self, make: Make) -> None:
        experiment = make(parameters=[{**N, "maximum": 1}])
        held = one(experiment)
        seen: list[int] = []

        def work() -> None:
            for trial in experiment.trials_to_run():
                seen.append(trial.attempt)
                trial.tell(0)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.5)
        assert seen == []
        held.release()
        thread.join(10)
        assert seen == [2]

    def test_a_loop_that_waits_can_be_stopped_from_elsewhere(self, make: Make) -> None:
        experiment = make(parameters=[{**N, "maximum": 1}])
        held = one(experiment)
        trials = experiment.trials_to_run()
        threading.Timer(0.3, trials.stop).start()
        assert list(trials) == []
        held.tell(1)

    def test_going_on_without_a_result_fails_the_trial_and_says_why(self, experiment: Experiment) -> None:
        assert len(list(experiment.trials_to_run(max_trials=2))) == 2
        assert states(experiment) == {"failed": 2} | {k: v for k, v in states(experiment).items() if k == "waiting"}
        assert "without telling a result" in (experiment.trial(0).error or "")

    def test_two_workers_in_threads_share_the_points(self, make: Make) -> None:
        experiment = make(parameters=[{**N, "maximum": 30}])
        seen: list[Any] = []

        def work() -> None:
            for trial in experiment.trials_to_run(count=3):
                seen.append(trial.params.n)
                time.sleep(0.002)
                trial.tell(trial.params.n)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(seen) == list(range(1, 31))

    def test_a_wrong_optimizer_is_refused_at_the_first_trial(self, experiment: Experiment) -> None:
        with pytest.raises(InvalidOptimizer):
            next(experiment.trials_to_run(optimizer="no_such_sampler"))

    def test_a_worker_that_starts_again_under_its_name_gets_its_own_trial_back(self, experiment: Experiment) -> None:
        died = one(experiment, worker="node7", lease_s=600)
        again = next(experiment.trials_to_run(worker="node7"))
        assert (again.number, again.params, again.attempt) == (died.number, died.params, 2)
        with pytest.raises(TrialTaken):
            died.tell(1)


class TestLeavingTheLoop:
    def test_break_gives_the_trial_back(self, experiment: Experiment) -> None:
        for _trial in experiment.trials_to_run(count=3):
            break
        assert "running" not in states(experiment)
        assert experiment.trial(0).attempt == 2

    def test_what_is_raised_fails_the_trial_with_its_traceback_and_goes_on(self, experiment: Experiment) -> None:
        def work() -> None:
            for _trial in experiment.trials_to_run(count=2):
                raise ValueError("no such optimizer")

        with pytest.raises(ValueError, match="no such optimizer"):
            work()
        failed = experiment.trial(0)
        assert failed.state == "failed"
        assert 'raise ValueError("no such optimizer")' in (failed.error or "")
        assert experiment.trial(1).state == "waiting"

    def test_a_generator_around_the_loop_that_is_closed_gives_the_trial_back(self, experiment: Experiment) -> None:
        def numbers() -> Generator[int, None, None]:
            for trial in experiment.trials_to_run():
                yield trial.number

        found = numbers()
        assert next(found) == 0
        found.close()
        assert experiment.trial(0).state == "waiting"

    def test_ctrl_c_is_handled_as_before_when_the_loop_is_over(self, experiment: Experiment) -> None:
        before = signal.getsignal(signal.SIGINT)
        for trial in experiment.trials_to_run(max_trials=1):
            trial.tell(1)
        assert signal.getsignal(signal.SIGINT) is before

    def test_an_error_that_was_handled_before_does_not_fail_the_trial(self, experiment: Experiment) -> None:
        kept = []
        for _trial in experiment.trials_to_run():
            try:
                raise OSError("in between")
            except OSError as error:
                kept.append(error)
            break
        assert experiment.trial(0).state == "waiting"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_with_gives_the_trial_back_on_the_way_out(self, experiment: Experiment, error: type[BaseException]) -> None:
        def work() -> None:
            for trial in experiment.trials_to_run():
                with trial:
                    raise error

        with pytest.raises(error):
            work()
        assert experiment.trial(0).state == "waiting"

    def test_with_fails_the_trial_with_the_error_itself(self, experiment: Experiment) -> None:
        def work() -> None:
            for trial in experiment.trials_to_run():
                with trial:
                    trial.tell(1 / 0)

        with pytest.raises(ZeroDivisionError):
            work()
        assert "ZeroDivisionError: division by zero" in (experiment.trial(0).error or "")

    def test_with_takes_optunas_word_for_a_pruned_trial_and_goes_on(self, experiment: Experiment) -> None:
        for trial in experiment.trials_to_run(max_trials=2):
            with trial:
                trial.report(1, 0.75)
                raise optuna.TrialPruned
        assert [trial.state for trial in experiment.trials() if trial.number < 2] == ["pruned", "pruned"]
        assert experiment.trial(0).metrics == {"loss": 0.75}

    @pytest.mark.parametrize(
        ("ending", "state", "code"), [("interrupt", "waiting", 130), ("error", "failed", 1), ("exit", "waiting", 4)]
    )
    def test_a_script_that_ends_in_the_loop_leaves_nothing_running(
        self, url: str, experiment: Experiment, ending: str, state: str, code: int
    ) -> None:
        script = f"""
import sys, time
from tunesmith import Client
for trial in Client({url!r}).experiment({experiment.id}).trials_to_run(worker="script"):
    print(trial.number, flush=True)
    if {ending!r} == "error": raise OSError("disk full")
    if {ending!r} == "exit":
        with trial: sys.exit(4)
    time.sleep(60)
"""
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"0\n"
            if ending == "interrupt":
                process.send_signal(signal.SIGINT)
            process.wait(20)
        assert process.returncode in (code, -signal.SIGINT if ending == "interrupt" else code)
        assert experiment.trial(0).state == state

    def test_a_forked_child_does_not_give_back_what_its_parent_holds(self, experiment: Experiment) -> None:
        trials = experiment.trials_to_run()
        trial = next(trials)
        child = os.fork()
        if child == 0:
            trials.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert experiment.trial(0).state == "running"
        trial.tell(1)


class TestLeases:
    def test_heartbeats_keep_a_trial_and_those_of_its_batch_longer_than_a_lease(self, experiment: Experiment) -> None:
        for trial in experiment.trials_to_run(count=2, max_trials=2, lease_s=1):
            time.sleep(2.5 if trial.number == 0 else 0)
            experiment.ask(count=3, worker="greedy")  # whoever asks finds the trials whose lease ran out
            trial.tell(trial.number)
        assert [experiment.trial(number).attempt for number in (0, 1)] == [1, 1]

    def test_without_heartbeats_it_goes_to_somebody_else_and_a_late_tell_is_refused(
        self, experiment: Experiment
    ) -> None:
        lost = one(experiment, lease_s=1)
        time.sleep(1.2)
        taken = one(experiment)
        assert (taken.number, taken.attempt) == (lost.number, 2)
        with pytest.raises(TrialTaken):
            lost.tell(0.1)
        assert lost.lost
        with pytest.raises(TrialTaken, match="was lost"):
            lost.report(1, 0.1)
        taken.tell(0.2)
        assert experiment.trial(lost.number).outcome == 0.2

    def test_a_trial_that_was_taken_is_lost_at_the_next_heartbeat(self, experiment: Experiment) -> None:
        trial = next(trials := experiment.trials_to_run(worker="same", lease_s=1))
        taken = one(experiment, worker="same")
        until(lambda: trial.lost)
        trials.close()
        taken.tell(1)
        assert experiment.trial(0).state == "complete"

    def test_a_heartbeat_by_hand_prolongs_it(self, experiment: Experiment) -> None:
        trial = one(experiment, lease_s=1)
        for _ in range(4):
            time.sleep(0.4)
            trial.heartbeat()
        assert one(experiment).number != trial.number


class TestAServerThatIsAway:
    def test_a_restart_is_outlasted_by_the_loop_its_reports_and_its_results(self, app: FastAPI) -> None:
        with ExitStack() as running:
            url = running.enter_context(served(app))
            port = httpx2.URL(url).port
            assert port is not None
            experiment = Client(url, retries=0).create_experiment(
                tool_name="asked", external=True, parameters=[N], objectives=[{"metric": "loss"}]
            )
            told = 0
            for trial in experiment.trials_to_run(lease_s=2):
                if told in (1, 3):
                    running.close()
                    if told == 1:
                        assert trial.report(1, 0.5) is False
                        assert trial.report(2, 0.4) is False
                    threading.Timer(1.0, lambda: running.enter_context(served(app, port))).start()
                trial.tell(told)
                told += 1
            assert told == 6
            assert [trial.attempt for trial in experiment.trials()] == [1] * 6
            assert [found.value for found in experiment.trial(1).measurements] == [0.5, 0.4]

    def test_an_answer_that_got_lost_is_asked_for_again_and_nothing_is_done_twice(self, url: str, make: Make) -> None:
        experiment = make(parameters=[N])
        losing = LosesAnswers()
        with Client(url, transport=losing) as client:
            seen = []
            for trial in client.experiment(experiment.id).trials_to_run():
                seen.append(trial.number)
                trial.report(0, 1.0)
                trial.tell(1.0)
        assert losing.lost > 15
        assert seen == list(range(6))
        assert [trial.attempt for trial in experiment.trials()] == [1] * 6
        assert states(experiment) == {"complete": 6}


class LosesAnswers(httpx2.HTTPTransport):
    """Every POST reaches the server, and its first answer gets lost."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.lost = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        key = request.headers.get("Idempotency-Key")
        if key is not None and key not in self.seen and not request.url.path.endswith("heartbeat"):
            self.seen.add(key)
            self.lost += 1
            response.read()
            response.close()
            raise httpx2.ReadError("connection reset")
        return response


class TestTelling:
    def test_numbers_of_other_libraries_are_numbers(self, experiment: Experiment) -> None:
        one(experiment).tell(np.float32(0.5), metrics={"epochs": np.int64(3)})
        assert experiment.trial(0).metrics == {"loss": 0.5, "epochs": 3}
        trial = one(experiment)
        trial.report(np.int64(7), np.float64(0.5))
        assert [found.step for found in experiment.trial(trial.number).measurements] == [7]

    @pytest.mark.parametrize("step", [1.5, "one", 2**63])
    def test_a_step_that_is_none_is_refused_and_does_not_stand_in_the_way(
        self, experiment: Experiment, step: Any
    ) -> None:
        trial = one(experiment)
        with pytest.raises(BadRequest, match="step"):
            trial.report(step, 0.5)
        trial.tell(0.5)

    def test_whatever_an_error_says_can_be_kept(self, experiment: Experiment) -> None:
        one(experiment).fail("a\0b \ud800 " + "x" * 20_000)
        one(experiment).fail(ValueError("a\0b \ud800"))
        assert experiment.trial(0).error == "x" * 8000
        assert experiment.trial(1).error == "a\ufffdb ?"

    @pytest.mark.parametrize("told", [((0.25, 9.0),), (0.25, 9.0), ({"loss": 0.25, "size": 9.0},)])
    def test_several_objectives_are_told_in_order_or_by_name(self, make: Make, told: tuple[Any, ...]) -> None:
        experiment = make(objectives=[{"metric": "loss"}, {"metric": "size", "direction": "maximize"}])
        one(experiment).tell(*told)
        assert experiment.trial(0).outcomes == {"loss": 0.25, "size": 9.0}

    @pytest.mark.parametrize(
        ("told", "message"),
        [
            ((math.nan,), "loss: nan is told, but must be a finite number"),
            ((math.inf,), "must be a finite number"),
            (("0.5",), "loss: '0.5' is no number"),
            ((True,), "is no number"),
            ((1.0, 2.0), "2 values told, but the objectives are loss"),
            (({"lost": 1.0},), "the objective 'loss' has no value"),
        ],
    )
    def test_what_is_no_result_is_refused_and_the_trial_stays_open(
        self, experiment: Experiment, told: tuple[Any, ...], message: str
    ) -> None:
        trial = one(experiment)
        with pytest.raises(BadRequest, match=re.escape(message)):
            trial.tell(*told)
        assert trial.open
        trial.tell(0.5)

    def test_a_finished_trial_is_told_no_more(self, experiment: Experiment) -> None:
        trial = one(experiment)
        trial.tell(0.5)
        with pytest.raises(TrialFinished):
            trial.tell(0.6)
        with pytest.raises(TrialFinished):
            trial.fail("after all")
        assert experiment.trial(0).outcome == 0.5

    def test_two_that_tell_at_once_are_told_apart(self, experiment: Experiment) -> None:
        trial = one(experiment)
        answers: list[object] = []

        def tell(value: float) -> None:
            try:
                trial.tell(value)
                answers.append("told")
            except (TrialFinished, IdempotencyMismatch) as error:
                answers.append(type(error))

        threads = [threading.Thread(target=tell, args=(value,)) for value in (0.1, 0.2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers.count("told") == 1

    def test_many_are_told_in_one_request_each_by_itself(self, experiment: Experiment) -> None:
        trials = experiment.ask(count=5)
        trials[1].tell(0.5)
        told = experiment.tell((trial, trial.number) for trial in trials)
        assert [answer.status for answer in told] == ["told", "refused", "told", "told", "told"]
        assert told[1].code == "TRIAL_FINISHED"
        assert not any(trial.open for trial in trials)
        assert states(experiment)["complete"] == 5

    def test_reports_are_pruned_by_the_searchs_pruner(self, experiment: Experiment) -> None:
        search = {"type": "random", "pruner": {"type": "threshold", "upper": 10}}
        trial = one(experiment, optimizer=search)
        assert trial.report(0, 3.0, accuracy=0.5) is False
        assert trial.report(1, {"loss": math.nan}) is False
        assert trial.report(2, loss=11.0) is True
        trial.prune()
        found = experiment.trial(0)
        assert (found.state, found.metrics) == ("pruned", {"loss": 11.0, "accuracy": 0.5})
        assert [(m.metric, m.step) for m in found.measurements if m.metric == "loss"] == [("loss", 0), ("loss", 2)]


class TestNames:
    def test_an_experiment_is_found_by_its_id_its_name_and_its_tools_name(self, make: Make, url: str) -> None:
        experiment = make(tool_name="Resnet")
        experiment.update(name="resnet on cifar")
        with Client(url) as client:
            for name in (experiment.id, str(experiment.id), "resnet on cifar", "Resnet", "resnet"):
                assert client.experiment(name).id == experiment.id

    def test_a_slip_is_answered_with_the_near_names(self, make: Make, url: str) -> None:
        make(tool_name="resnet")
        with Client(url) as client, pytest.raises(ExperimentNotFound, match="'resent'; is it 'resnet'"):
            client.experiment("resent")

    def test_of_several_the_id_is_asked_for_and_archived_ones_do_not_count(self, make: Make, url: str) -> None:
        first, second = make(tool_name="twice"), make(tool_name="twice", parameters=[N])
        with Client(url) as client:
            with pytest.raises(Conflict, match=f"2 experiments are called 'twice'.* {second.id}, {first.id}"):
                client.experiment("twice")
            first.update(archived=True)
            assert client.experiment("twice").id == second.id
