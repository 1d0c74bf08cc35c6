"""Trials per second and the time to a first trial, through the whole platform (REST to SQL), beside raw Ray Tune."""

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


def main() -> None:
    peers = {name: raw_tune(name, 2000) for name in ("random", "tpe")}
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="2") as platform,
    ):
        client = Client(platform.url)
        time.sleep(5)  # the trial workers come up
        print("\ntrials per second, 2,000 trials of a trivial Python function, 2 slots")
        for name, least in (("random", 10), ("tpe", 5)):
            ours = throughput(client, PYTHON, {"type": name, "n_iter": 2000})
            row(f"{name}", ours, peers[name][0], f"x (target {least})")
        print("\ntrials per second, 500 trials of the command `true`, 2 slots")
        row(
            "command",
            throughput(client, TRUE, {"type": "random", "n_iter": 500}),
            peers["random"][0],
            "x (target 60/s)",
        )
        print(
            "\nseconds from POST to the first trial's start (raw Tune: from its script's start; of it, its fit alone)"
        )
        times = sorted(first_trial(client) for _ in range(20))
        start, fit = peers["random"][1:]
        median = statistics.median(times)
        print(f"  median {median:.3f}  worst {times[-1]:.3f}  raw Tune {start:.1f} / {fit:.1f}  (target 2)")
        claims = sorted(claim(client) for _ in range(20))
        print("\nseconds from POST to the claim of the job, idle platform (target 0.1)")
        print(f"  median {statistics.median(claims):.3f}  worst {claims[-1]:.3f}")


def raw_tune(sampler: str, trials: int) -> tuple[float, float, float]:
    """(trials/s, s to the first trial from the script's start, the same from the fit's start)."""
    script = Path(__file__).with_name("raw_tune.py")
    out = subprocess.run([sys.executable, script, sampler, str(trials)], capture_output=True, text=True, check=True)
    rate, start, fit = map(float, out.stdout.split()[-3:])
    return rate, start, fit


def job(client: Client, tool: dict[str, Any], optimizer: dict[str, Any]) -> Any:
    name = f"bench-{time.time_ns()}"
    return client.create_experiment({"tool_name": name, "parameters": SPACE, **tool}).submit(optimizer)


def throughput(client: Client, tool: dict[str, Any], optimizer: dict[str, Any]) -> float:
    """Trials a second, from POST to the job's end as a client sees it."""
    began = time.perf_counter()
    info = job(client, tool, optimizer).wait(300)
    assert info.job_status == "finished", info.job_exc_info
    return float(info.progress.finished) / (time.perf_counter() - began)


def first_trial(client: Client) -> float:
    """Seconds from the job's POST to its first trial's start."""
    name = f"bench-{time.time_ns()}"
    experiment = client.create_experiment({"tool_name": name, "parameters": SPACE, **TRUE})
    began = time.time()
    experiment.submit({"type": "random", "n_iter": 4}).wait(60)
    return min(trial.started_at.timestamp() for trial in experiment.trials() if trial.started_at) - began


def claim(client: Client) -> float:
    """Seconds from the job's POST until a runner holds it."""
    began = time.time()
    info = job(client, TRUE, {"type": "random", "n_iter": 1}).wait(60)
    assert info.started_at is not None
    return info.started_at.timestamp() - began


def row(name: str, ours: float, peer: float, note: str) -> None:
    print(f"  {name:10} {ours:8.0f}   raw Ray Tune + OptunaSearch {peer:6.1f}   ratio {ours / peer:6.1f}{note}")


if __name__ == "__main__":
    main()
