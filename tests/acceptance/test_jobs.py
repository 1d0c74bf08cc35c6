"""The main job, end to end, over REST on a running platform: submit, watch, stop, pause, resume, retry."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import httpx2
import pytest
from running import Platform, processes_with, until

from tunesmith import Client
from tunesmith.errors import GridTooLarge, JobActive, JobNotFound, StateForbids

pytestmark = pytest.mark.timeout(300)


def body(command: str, **fields: Any) -> dict[str, Any]:
    """An experiment that no other test has."""
    return {
        "tool_name": f"test-{secrets.token_hex(4)}",
        "parameters": [{"name": "a", "type": "int", "minimum": 1, "maximum": 9}],
        "command_template_string": command,
        **fields,
    }


def test_the_documents_sleep_example_finds_the_shortest_sleep(client: Client) -> None:
    experiment = client.create_experiment(
        body("#!/bin/bash\nsleep 0.$(( ${a} + ${b} ))\n")
        | {
            "parameters": [
                {"name": "a", "type": "int", "minimum": 1, "maximum": 3},
                {"name": "b", "type": "int", "minimum": 0, "maximum": 2},
            ]
        }
    )
    job = experiment.submit({"type": "grid", "num_configs_per_param": 3})
    assert job.wait(60).job_status == "finished"
    trials = list(experiment.trials())
    assert [trial.params for trial in trials] == [{"a": a, "b": b} for a in (1, 2, 3) for b in (0, 1, 2)]
    assert all(isinstance(config.value, int) for trial in trials for config in trial.parameter_configs)
    best = experiment.best()
    assert sum(best.params.values()) <= 2  # a busy machine may confuse 0.1 s and 0.2 s
    assert best.outcome == min(trial.outcome for trial in trials)
    assert all(trial.outcome >= sum(trial.params.values()) / 10 for trial in trials)
    assert job.info.progress.finished == job.info.progress.total == 9


def test_the_default_optimizer_is_two_random_points_and_two_from_the_model(client: Client) -> None:
    job = client.create_experiment(body("true ${a}")).submit()
    info = job.wait(60)
    assert info.progress.total == 4
    assert info.job_meta.optimizer["type"] == "bayesopt"
    assert info.job_meta.optimizer["n_init"] == info.job_meta.optimizer["n_iter"] == 2


def test_a_second_job_of_an_experiment_is_refused_while_one_is_active(client: Client) -> None:
    experiment = client.create_experiment(body("sleep 5"))
    job = experiment.submit({"type": "random", "n_iter": 2})
    with pytest.raises(JobActive, match="already enqueued or running"):
        experiment.submit({"type": "random", "n_iter": 2})
    assert experiment.job().id == job.id
    experiment.stop()
    assert job.wait(20).job_status == "stopped"
    with pytest.raises(JobNotFound):
        experiment.stop()


def test_stop_ends_the_whole_process_group_and_keeps_finished_trials(client: Client) -> None:
    mark = f"31{secrets.randbelow(10**8):08d}"
    command = f"if [ ${{a}} -lt 9 ]; then exit 0; fi; trap '' TERM; sleep {mark} & sleep {mark}"
    experiment = client.create_experiment(body(command))
    points = [{"a": 1}, {"a": 2}, {"a": 9}, {"a": 9}]
    job = experiment.submit({"type": "random", "n_iter": 4, "enqueue": points})
    until(lambda: len(processes_with(mark)) >= 4)
    experiment.stop()
    assert job.wait(30).job_status == "stopped"
    assert processes_with(mark) == []
    states = [trial.state for trial in experiment.trials()]
    assert states == ["complete", "complete", "failed", "failed"]


def test_a_paused_job_finishes_its_running_trials_and_goes_on_when_resumed(client: Client) -> None:
    experiment = client.create_experiment(body("sleep 0.4"))
    job = experiment.submit({"type": "random", "n_iter": 12, "max_concurrent": 2})
    until(lambda: job.refresh().progress.finished >= 2)
    job.pause()
    until(lambda: job.refresh().job_status == "paused")
    counts = experiment.refresh().trial_counts
    assert counts["running"] == counts["waiting"] == counts["failed"] == 0
    time.sleep(1)
    assert experiment.refresh().trial_counts == counts
    job.resume()
    assert job.wait(60).job_status == "finished"
    assert [trial.number for trial in experiment.trials()] == list(range(12))
    with pytest.raises(StateForbids):
        job.resume()


def test_a_job_whose_every_trial_fails_has_failed_and_retry_runs_them_again(client: Client, tmp_path: Any) -> None:
    flag = tmp_path / "ready"
    experiment = client.create_experiment(body(f"echo looking for it; test -e {flag}"))
    job = experiment.submit({"type": "random", "n_iter": 3})
    info = job.wait(60)
    assert info.job_status == "failed"
    assert "exit code 1" in (info.job_exc_info or "")
    assert "looking for it" in (info.job_exc_info or "")
    assert job.id in {other.id for other in client.jobs("failed")}
    before = [trial.params for trial in experiment.trials()]
    flag.touch()
    job.retry()
    assert job.wait(60).job_status == "finished"
    trials = list(experiment.trials())
    assert [trial.params for trial in trials] == before
    assert {trial.state for trial in trials} == {"complete"}


def test_events_tell_every_state_and_every_trial_once_and_can_be_resumed(client: Client) -> None:
    job = client.create_experiment(body("true")).submit({"type": "random", "n_iter": 5})
    events = list(job.events())
    kinds = [event.kind for event in events]
    assert kinds.count("trial") == 5
    states = [event.data["state"] for event in events if event.kind == "state"]
    assert states == ["queued", "started", "finished"]
    assert [event.seq for event in job.events(last_event_id=events[2].seq)] == [event.seq for event in events[3:]]


def test_logs_are_streamed_while_the_trial_runs(client: Client) -> None:
    experiment = client.create_experiment(body("echo first ${a}; sleep 2; echo last >&2"))
    job = experiment.submit({"type": "random", "n_iter": 1, "enqueue": [{"a": 7}]})
    until(lambda: experiment.refresh().trial_counts["running"] or experiment.refresh().trial_counts["complete"])
    began, seen = time.monotonic(), []
    for line in job.logs(trial=0, follow=True):
        seen.append((time.monotonic() - began, line))
    assert [line for _at, line in seen] == ["first 7", "last"]
    assert seen[0][0] < seen[-1][0] - 0.5


def test_metrics_constraints_and_several_objectives(client: Client) -> None:
    command = """echo '{"error": '$(( (${a} - 5) * (${a} - 5) ))'}' >> $TUNESMITH_METRICS; echo size=$(( ${a} * 10 ))"""
    experiment = client.create_experiment(
        body(command)
        | {
            "objectives": [{"metric": "error"}, {"metric": "size", "direction": "minimize"}],
            "constraints": [{"metric": "size", "min": 20}],
            "metrics": {"patterns": {"size": "size=([0-9]+)"}},
        }
    )
    job = experiment.submit({"type": "grid", "num_configs_per_param": 9})
    assert job.wait(60).job_status == "finished"
    front = experiment.best()
    assert [trial.params["a"] for trial in front] == [2, 3, 4, 5]
    infeasible = next(experiment.trials(order="number"))
    assert infeasible.params == {"a": 1}
    assert infeasible.feasible is False


def test_a_python_function_is_tuned_by_import(client: Client) -> None:
    """`dict(x=..., y=...)` is a function that every worker can import, and it returns metrics."""
    parameters = [{"name": "x", "minimum": 0, "maximum": 1}, {"name": "y", "minimum": 0, "maximum": 1}]
    objective = {"metric": "x", "direction": "maximize"}
    content = {"tool_name": f"f-{secrets.token_hex(4)}", "parameters": parameters, "objectives": [objective]}
    experiment = client.create_experiment(content | {"function": "builtins:dict"})
    assert experiment.submit({"type": "tpe", "n_iter": 200, "seed": 3}).wait(60).job_status == "finished"
    outcomes = [trial.outcome for trial in experiment.trials()]
    assert len(outcomes) == 200
    assert experiment.best().outcome == max(outcomes)
    broken = client.create_experiment(content | {"function": "math:sqrt"}).submit({"type": "random", "n_iter": 3})
    assert broken.wait(60).job_status == "failed"
    assert "must be real number" in (broken.info.job_exc_info or "")


def test_intermediate_values_reach_sql_and_pruned_trials_stop_soon(client: Client) -> None:
    command = (
        "for i in $(seq 40); do echo '{\"loss\": '$(( ${a} * 100 - $i ))', \"step\": '$i'}' >> $TUNESMITH_METRICS; "
        "sleep 0.1; done"
    )
    experiment = client.create_experiment(body(command) | {"objectives": [{"metric": "loss"}]})
    points = [{"a": 1}, {"a": 1}, {"a": 9}]
    pruner = {"type": "median", "n_startup_trials": 2, "n_warmup_steps": 2, "n_min_trials": 1}
    job = experiment.submit({"type": "random", "n_iter": 3, "enqueue": points, "pruner": pruner, "max_concurrent": 1})
    assert job.wait(90).job_status == "finished"
    trials = list(experiment.trials())
    assert [trial.state for trial in trials] == ["complete", "complete", "pruned"]
    assert trials[2].duration_s is not None
    assert trials[2].duration_s < 3
    answer = httpx2.get(f"{client.url}/api/v1/experiments/{experiment.id}/trials/0").json()
    assert [m["step"] for m in answer["measurements"]] == list(range(1, 41))


def test_what_cannot_run_is_refused_with_the_reason(client: Client) -> None:
    parameters = [{"name": name, "minimum": 0, "maximum": 1} for name in "ab"]
    experiment = client.create_experiment(body("true") | {"parameters": parameters})
    with pytest.raises(GridTooLarge, match="at most 100,000"):
        experiment.submit({"type": "grid", "num_configs_per_param": 1000})
    assert experiment.refresh().trial_counts["complete"] == 0


def test_ec2_compute_runs_locally_in_development_and_says_so(client: Client) -> None:
    experiment = client.create_experiment(body("true") | {"compute": {"type": "ec2", "instance_model": "t2.micro"}})
    job = experiment.submit({"type": "random", "n_iter": 1})
    assert "run on this machine" in (job.info.message or "")
    assert job.wait(60).job_status == "finished"


def test_what_no_node_has_room_for_waits_and_says_so(client: Client) -> None:
    experiment = client.create_experiment(body("true") | {"resources": {"cpus": 512}})
    job = experiment.submit({"type": "random", "n_iter": 1})
    message = until(lambda: job.refresh().message, 20)
    assert "512 CPU" in message
    job.cancel()
    assert job.wait(20).job_status == "stopped"


def test_same_content_posted_by_many_at_once_is_one_experiment(shared: Platform) -> None:
    from concurrent.futures import ThreadPoolExecutor

    content = body("true")

    def post(index: int) -> tuple[int, int]:
        changed = json.loads(json.dumps(content, sort_keys=bool(index % 2)))
        changed["tool_name"] = changed["tool_name"].upper() if index % 3 else changed["tool_name"]
        answer = httpx2.post(f"{shared.url}/api/v1/experiments", json=changed)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(post, range(24)))
    assert len({experiment_id for _status, experiment_id in answers}) == 1
    assert sorted(status for status, _id in answers) == [200] * 23 + [201]


def test_a_job_that_no_node_has_room_for_holds_up_no_other(client: Client) -> None:
    greedy = client.create_experiment(body("true") | {"resources": {"gpus": 1}}).submit(priority="critical")
    until(lambda: greedy.refresh().job_status == "started", 20)
    modest = client.create_experiment(body("true")).submit({"type": "random", "n_iter": 20})
    assert modest.wait(20).job_status == "finished"
    assert greedy.refresh().progress.finished == 0
    greedy.cancel()
    assert greedy.wait(20).job_status == "stopped"


@pytest.mark.slow
def test_trials_that_ask_for_no_cpu_share_a_few_workers(shared: Platform, client: Client) -> None:
    experiment = client.create_experiment(body("sleep 0.3") | {"resources": {"cpus": 0}})
    job = experiment.submit({"type": "random", "n_iter": 60})
    assert job.wait(120).job_status == "finished"
    assert len(shared.pids("ray::TrialWorker")) <= 4 * 4 + 2  # four to a CPU, and the warm ones


def test_the_message_that_trials_run_elsewhere_stays_with_the_job(client: Client) -> None:
    experiment = client.create_experiment(body("true") | {"compute": {"type": "ec2", "instance_model": "t2.nano"}})
    job = experiment.submit({"type": "random", "n_iter": 1})
    assert "run on this machine" in (job.wait(60).message or "")
