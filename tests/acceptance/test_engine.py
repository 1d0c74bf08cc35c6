"""The tuner engine through the whole platform: spaces, objectives, early stopping, goals, shares, exact resume."""

from __future__ import annotations

import os
import secrets
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from running import PLUGIN, Platform, processes_with, until

from tunesmith import Client
from tunesmith.client import Experiment, Job
from tunesmith.errors import InvalidOptimizer, InvalidSpace

pytestmark = pytest.mark.timeout(300)
SPACE: list[dict[str, Any]] = [{"name": name, "minimum": -5, "maximum": 5} for name in ("x", "y")]


@pytest.fixture
def platform(shared: Platform) -> Platform:
    return shared


def experiment_of(client: Client, function: str | None = "sphere", **fields: Any) -> Experiment:
    content = {
        "tool_name": f"engine-{secrets.token_hex(4)}",
        "parameters": SPACE,
        "function": f"objectives:{function}" if function else None,
        "objectives": [{"metric": "loss"}],
    }
    return client.create_experiment(content | fields)


def finish(experiment: Experiment, status: str = "finished", **optimizer: Any) -> Job:
    job = experiment.submit(optimizer)
    info = job.wait(120)
    assert info.job_status == status, info.job_exc_info
    return job


# Spaces


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "cmaes", "nsga2", "auto"])
def test_no_trial_leaves_the_constraints_between_parameters(client: Client, sampler: str) -> None:
    experiment = experiment_of(client, parameter_constraints=["x + y <= 1", "x < y"])
    finish(experiment, type=sampler, n_iter=40, seed=1, enqueue=[{"x": -1, "y": 2}])
    points = [trial.params for trial in experiment.trials()]
    assert len(points) == 40
    assert points[0] == {"x": -1, "y": 2}
    assert all(p["x"] + p["y"] <= 1 and p["x"] < p["y"] for p in points)


def test_a_space_without_a_feasible_point_or_a_constraint_that_is_none_is_refused(client: Client) -> None:
    with pytest.raises(InvalidSpace, match="x < y"):
        experiment_of(client, parameter_constraints=["x < y", "y < x"])
    with pytest.raises(Exception, match="z"):
        experiment_of(client, parameter_constraints=["x < z"])
    experiment = experiment_of(client, parameter_constraints=["x < y"])
    with pytest.raises(InvalidOptimizer, match=r"enqueue.0.*x < y"):
        experiment.submit({"type": "random", "n_iter": 3, "enqueue": [{"x": 2, "y": 1}]})


def test_a_fixed_parameter_stays_where_it_is(client: Client) -> None:
    experiment = experiment_of(client)
    finish(experiment, type="tpe", n_iter=20, fixed={"y": 1.5})
    assert {trial.params["y"] for trial in experiment.trials()} == {1.5}
    with pytest.raises(InvalidOptimizer, match=r"fixed.*y"):
        experiment.submit({"type": "tpe", "n_iter": 2, "fixed": {"y": 15}})


# Objectives, goals and limits


def test_it_stops_when_the_goal_is_reached(client: Client) -> None:
    experiment = experiment_of(client)
    job = finish(experiment, type="tpe", n_iter=5000, goal=5.0, seed=2)
    assert job.info.progress.finished < 1000
    assert "goal" in str(job.info.message)
    assert experiment.best().outcome <= 5.0
    with pytest.raises(InvalidOptimizer, match=r"goal.*speed"):
        experiment.submit({"type": "tpe", "n_iter": 2, "goal": {"speed": 1}})


def test_what_trials_cost_is_kept_and_ends_the_search(client: Client) -> None:
    experiment = experiment_of(client, "nap")
    job = finish(experiment, type="random", n_iter=500, max_cost=0.5)
    cost = job.info.progress.cost
    assert cost is not None
    assert "max_cost" in str(job.info.message)
    assert job.info.progress.finished < 100  # a node costs 1 a second here, and a trial takes a quarter of it


def test_repeats_give_the_mean_and_its_standard_error(client: Client) -> None:
    experiment = experiment_of(client, "noisy", repeats=8)
    finish(experiment, type="random", n_iter=3)
    for trial in experiment.trials():
        values = [m.value for m in experiment.trial(trial.number).measurements if m.metric == "loss"]
        assert len(set(values)) == 8
        assert trial.outcome == pytest.approx(statistics.mean(values))
        assert trial.metrics["loss_stderr"] == pytest.approx(statistics.stdev(values) / 8**0.5)


# Early stopping


def test_trials_of_several_objectives_are_pruned_and_the_front_stays_good(client: Client) -> None:
    objectives = [{"metric": "near"}, {"metric": "far"}]
    experiment = experiment_of(client, "two_curves", objectives=objectives)
    pruner = {"type": "median", "n_startup_trials": 10, "n_warmup_steps": 2}
    finish(experiment, type="random", n_iter=80, seed=3, pruner=pruner)
    states = [trial.state for trial in experiment.trials()]
    assert 15 <= states.count("pruned") <= 60
    assert states.count("complete") + states.count("pruned") == 80
    assert min(trial.outcomes["near"] for trial in experiment.trials() if trial.state == "complete") < 4


def test_a_pruned_command_is_gone_within_two_seconds_of_the_decision_even_if_it_ignores_term(client: Client) -> None:
    mark = f"43{secrets.randbelow(10**7):07d}"
    command = f"""#!/bin/bash
trap '' TERM
echo '{{"loss": ${{x}}, "step": 1}}' >> $TUNESMITH_METRICS
for i in $(seq 400); do sleep 0.1; done; echo {mark}
"""
    experiment = experiment_of(
        client,
        function=None,
        parameters=[{"name": "x", "minimum": 1, "maximum": 2}],
        command_template_string=command,
    )
    job = experiment.submit({"type": "random", "n_iter": 1, "pruner": {"type": "threshold", "upper": 0.5}})
    began = time.monotonic()
    assert job.wait(30).job_status in ("finished", "failed")
    assert time.monotonic() - began < 6  # a start, the decision, and two seconds
    (trial,) = experiment.trials()
    assert trial.state == "pruned"
    assert not processes_with(mark)


# Populations


def test_population_based_training_passes_checkpoints_on(client: Client) -> None:
    command = """#!/bin/bash
old=$(cat $TUNESMITH_CHECKPOINT/weight 2> /dev/null || echo 0)
new=$(awk "BEGIN {print $old + $TUNESMITH_STEPS * (1 - (${lr} - 0.5)^2)}")
echo $new > $TUNESMITH_CHECKPOINT/weight
echo "{\\"score\\": $new}" >> $TUNESMITH_METRICS
"""
    experiment = experiment_of(
        client,
        function=None,
        parameters=[{"name": "lr", "minimum": 0, "maximum": 1}],
        command_template_string=command,
        objectives=[{"metric": "score", "direction": "maximize"}],
    )
    finish(experiment, type="pbt", n_iter=24, population_size=4, perturbation_interval=5, seed=1)
    scores = [trial.outcome or 0 for trial in experiment.trials()]
    assert len(scores) == 24
    assert max(scores) > 5 * 4  # no single segment of five steps gets beyond 5: weights were passed on


# What there is


def test_samplers_and_pruners_say_what_they_can_do(client: Client) -> None:
    samplers = {sampler.name: sampler for sampler in client.samplers()}
    wanted = "random grid qmc tpe gp cmaes nsga2 nsga3 brute_force partial_fixed auto bayesopt pbt pb2"
    assert set(wanted.split()) <= set(samplers)
    assert samplers["tpe"].options["multivariate"]["description"]
    assert samplers["nsga3"].multi_objective
    assert not samplers["cmaes"].multi_objective
    pruners = {pruner["name"] for pruner in httpx2.get(f"{client.url}/api/v1/pruners").json()["pruners"]}
    assert {"median", "percentile", "successive_halving", "hyperband", "threshold", "patient", "wilcoxon"} <= pruners


def test_auto_says_what_it_chose_and_why(client: Client) -> None:
    job = finish(experiment_of(client), type="auto", n_iter=12)
    assert job.info.job_meta.optimizer["chosen"]["type"] in {sampler.name for sampler in client.samplers()}
    assert len(str(job.info.note).split()) > 5
    finish(experiment := experiment_of(client), type="random", n_iter=3)
    stopped = finish(experiment, type="auto", n_iter=500, goal=1000.0)
    assert ("goal" in str(stopped.info.message), "auto chose" in str(stopped.info.note)) == (True, True)
    assert stopped.info.progress.finished == 0  # a trial of the job before has reached it


def test_a_space_that_changes_leaves_the_job_that_runs_alone(platform: Platform, client: Client) -> None:
    space = [{"name": name, "type": "int", "minimum": 0, "maximum": 2} for name in ("x", "y")]
    experiment = experiment_of(client, "nap", parameters=space)
    job = experiment.submit({"type": "grid", "num_configs_per_param": 3, "max_concurrent": 1})
    until(lambda: job.refresh().progress.finished >= 2)
    narrow = [{"name": "x", "type": "int", "minimum": 0, "maximum": 1}, space[1]]
    changed = httpx2.patch(f"{client.url}/api/v1/experiments/{experiment.id}", json={"parameters": narrow})
    assert changed.status_code == 200
    for pid in platform.pids("ray::Runner"):
        os.kill(pid, signal.SIGKILL)
    assert job.wait(60).progress.finished == 9
    assert len({tuple(trial.params.values()) for trial in experiment.trials()}) == 9


def test_a_pruned_function_that_does_not_listen_is_killed(client: Client) -> None:
    experiment = experiment_of(client, "deaf")
    began = time.monotonic()
    finish(experiment, type="random", n_iter=1, pruner={"type": "threshold", "upper": 0.5})
    assert time.monotonic() - began < 8  # the function alone takes half a minute
    (trial,) = experiment.trials()
    assert (trial.state, trial.attempt) == ("pruned", 1)


# Sharing and resuming


def test_a_job_of_high_priority_gets_its_share_within_the_length_of_a_trial(client: Client) -> None:
    background = experiment_of(client, "nap").submit({"type": "random", "n_iter": 10_000}, priority="low")
    until(lambda: background.refresh().progress.finished > 8)
    urgent = experiment_of(client, "nap").submit({"type": "random", "n_iter": 60}, priority="critical")
    until(lambda: urgent.refresh().progress.finished > 0)
    before, began = background.refresh().progress.finished, time.monotonic()
    assert urgent.wait(60).job_status == "finished"
    # Weights 8 to 1: of 4 slots the background keeps half of one. 60 naps of 0.2 s on 3.6 slots take 3.4 s.
    assert background.refresh().progress.finished - before < 30
    assert time.monotonic() - began < 10
    background.cancel()


def test_an_evaluation_that_turns_out_long_keeps_no_other_waiting_behind_it(client: Client) -> None:
    experiment = experiment_of(client, "first_is_slow", parameters=[SPACE[0] | {"minimum": 0, "maximum": 1}, SPACE[1]])
    finish(experiment, type="random", n_iter=60, seed=1, fixed={"x": 0.5})  # short ones: batches grow
    points = [{"x": 0.95 if i == 20 else 0.1, "y": 0.0} for i in range(60)]
    job = finish(experiment, type="random", n_iter=60, enqueue=points)
    trials = [trial for trial in experiment.trials() if trial.job_id == job.id]
    slow = next(trial for trial in trials if trial.params["x"] > 0.9)
    assert slow.timestamp is not None
    assert sum(t.timestamp < slow.timestamp for t in trials if t.timestamp is not None) == len(trials) - 1


@pytest.mark.parametrize(
    "sampler", ["tpe", pytest.param("cmaes", marks=pytest.mark.slow), pytest.param("nsga2", marks=pytest.mark.slow)]
)
def test_a_search_whose_runner_was_killed_suggests_the_points_of_an_undisturbed_one(
    platform: Platform, client: Client, sampler: str
) -> None:
    optimizer = {"type": sampler, "n_iter": 60, "seed": 9, "max_concurrent": 1}
    undisturbed = experiment_of(client, "nap")
    disturbed = experiment_of(client, "nap")
    jobs = [experiment.submit(optimizer) for experiment in (undisturbed, disturbed)]
    until(lambda: jobs[1].refresh().progress.finished >= 20)
    for pid in platform.pids("ray::Runner"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: jobs[1].refresh().progress.finished >= 35)
    for pid in platform.pids("ray::Runner"):
        os.kill(pid, signal.SIGKILL)
    assert [job.wait(120).job_status for job in jobs] == ["finished", "finished"]
    points = [[trial.params for trial in experiment.trials()] for experiment in (undisturbed, disturbed)]
    assert len(points[0]) == 60
    assert points[0] == points[1]
    assert jobs[1].info.job_meta.attempt >= 2


@pytest.mark.slow
def test_twenty_jobs_at_once_all_end(start: Callable[..., Platform]) -> None:
    client = Client(start(TUNESMITH_NUM_CPUS="4", PYTHONPATH=PLUGIN["PYTHONPATH"]).url)
    kinds = ["random", "tpe", "cmaes", "qmc", "nsga2"]
    jobs = [experiment_of(client).submit({"type": kinds[i % 5], "n_iter": 100}) for i in range(20)]
    assert [job.wait(200).job_status for job in jobs] == ["finished"] * 20
    assert [job.info.progress.finished for job in jobs] == [100] * 20
