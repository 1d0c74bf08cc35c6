"""Trials per second and waiting times through the whole platform (REST to SQL), beside raw Ray Tune and Optuna.

python bench_platform.py [TRIALS]      10,000 trials per sampler by default
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform

from tunesmith import Client

SPACE = [{"name": "x", "minimum": 0, "maximum": 1}, {"name": "y", "minimum": 0, "maximum": 1}]
PYTHON: dict[str, Any] = {"function": "builtins:dict", "objectives": [{"metric": "x"}]}
TRUE: dict[str, Any] = {"command_template_string": "true"}
SLEEP: dict[str, Any] = {
    "function": "bench_tools:nap",
    "objectives": [{"metric": "x"}],
    "resources": {"cpus": 1},
}
TARGETS = {"random": 1500, "tpe": 250}
PEERS = 2000
"""Trials that the peers are given, and we beside them: with 10,000 each of theirs takes minutes."""
TOOLS = str(Path(__file__).parent)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    throughput_and_waiting(trials)
    sleeps()


def throughput_and_waiting(trials: int) -> None:
    """What 2 slots do, and how long a person waits."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="2") as platform,
    ):
        client = Client(platform.url)
        time.sleep(5)  # the trial workers come up
        ours = {name: throughput(client, PYTHON, {"type": name, "n_iter": trials}) for name in TARGETS}
        beside = {name: throughput(client, PYTHON, {"type": name, "n_iter": PEERS}) for name in TARGETS}
        command = throughput(client, TRUE, {"type": "random", "n_iter": 500})
        small = [small_job(client) for _ in range(20)]
        claims = sorted(claim(client) for _ in range(20))
    print(f"trials per second: {trials:,} of a trivial Python function, 2 slots, from POST to the job's end")
    for name, target in TARGETS.items():
        print(f"  {name:8}{ours[name]:8.0f} (target {target})")
    print(f"  500 of the command `true`{command:8.0f}")
    print(f"the same with {PEERS:,} trials, beside peers on this machine (target ratio 10)")
    for name in TARGETS:
        peers = {
            "raw Ray Tune + OptunaSearch": raw_tune(name, PEERS)[0],
            "Optuna on SQLite, 2 processes": raw_optuna(name, PEERS),
        }
        for peer, rate in peers.items():
            print(f"  {name:8}{beside[name]:8.0f}   {peer} {rate:6.1f}   ratio {beside[name] / rate:5.1f}")
    _rate, script, first, whole = raw_tune("random", 10, 2, 0, "warm")
    print("seconds from POST of a job of 10 `true` commands, median (worst) of 20, beside a warm fit of raw Ray Tune")
    for word, index, peer, target in (("first trial starts", 0, first, 0.3), ("job ends", 1, whole, 1.5)):
        times = [one[index] for one in small]
        median = statistics.median(times)
        print(f"  {word:20}{median:7.3f} ({max(times):.3f})   target {target}   raw Ray Tune {peer:5.2f}")
    print(f"  (raw Ray Tune from its script's start to a first trial: {script:.1f})")
    print(f"seconds from POST to claim: median {statistics.median(claims):.3f}, worst {claims[-1]:.3f} (target 0.1)")


def sleeps() -> None:
    """1,000 sleeps of 0.1 s on 16 slots: at least 6.25 s, the rest is overhead."""
    least = 1000 * 0.1 / 16
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="16", PYTHONPATH=TOOLS) as platform,
    ):
        client = Client(platform.url)
        throughput(client, SLEEP, {"type": "random", "n_iter": 160})  # sixteen workers come up
        ours = 1000 / throughput(client, SLEEP, {"type": "random", "n_iter": 1000})
    tune = 1000 / raw_tune("random", 1000, 16, 0.1)[0]
    print("seconds for 1,000 sleeps of 0.1 s on 16 slots, warm; 6.25 is the least")
    print(
        f"  {ours:6.2f}   raw Ray Tune {tune:6.2f}   overhead {ours - least:.2f} / {tune - least:.2f} = "
        f"{(ours - least) / (tune - least):.2f} (target 0.33)"
    )


def raw_tune(*arguments: object) -> tuple[float, float, float, float]:
    """What raw_tune.py prints."""
    script = Path(__file__).with_name("raw_tune.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, start, first, whole = map(float, out.split()[-4:])
    return rate, start, first, whole


def raw_optuna(sampler: str, trials: int) -> float:
    """Trials a second of Optuna with two processes on a SQLite file."""
    script = str(Path(__file__).with_name("raw_optuna.py"))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, script, f"sqlite:///{folder}/optuna.db", sampler, str(trials), "2"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def job(client: Client, tool: dict[str, Any], optimizer: dict[str, Any]) -> Any:
    name = f"bench-{time.time_ns()}"
    return client.create_experiment({"tool_name": name, "parameters": SPACE, **tool}).submit(optimizer)


def throughput(client: Client, tool: dict[str, Any], optimizer: dict[str, Any]) -> float:
    """Trials a second, from POST to the job's end as a client sees it."""
    began = time.perf_counter()
    info = job(client, tool, optimizer).wait(600)
    assert info.job_status == "finished", info.job_exc_info
    return float(info.progress.finished) / (time.perf_counter() - began)


def small_job(client: Client) -> tuple[float, float]:
    """Seconds from the POST of a job of 10 `true` commands to its first trial's start, and to its end."""
    name = f"bench-{time.time_ns()}"
    experiment = client.create_experiment({"tool_name": name, "parameters": SPACE, **TRUE})
    began = time.time()
    experiment.submit({"type": "random", "n_iter": 10}).wait(60)
    ended = time.time()
    return min(t.started_at.timestamp() for t in experiment.trials() if t.started_at) - began, ended - began


def claim(client: Client) -> float:
    """Seconds from the job's POST until a runner holds it."""
    began = time.time()
    info = job(client, TRUE, {"type": "random", "n_iter": 1}).wait(60)
    assert info.started_at is not None
    return info.started_at.timestamp() - began


if __name__ == "__main__":
    main()
