"""Twenty jobs of four priorities at once: each one's share of the slots beside its weight, and the memory of it all.

Also: how many intermediate values a second are taken in and durable.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from bench_tools import REPORTS
from running import Platform, until

from tunesmith import Client

SPACE = [{"name": "x", "minimum": 0, "maximum": 1}, {"name": "y", "minimum": 0, "maximum": 1}]
TOOLS = str(Path(__file__).parent)
WEIGHTS = {"low": 1, "normal": 2, "high": 4, "critical": 8}
SECONDS = 60


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="4", PYTHONPATH=TOOLS) as platform,
    ):
        client = Client(platform.url)
        time.sleep(5)
        share(client, platform)
        intermediate(client)


def share(client: Client, platform: Platform) -> None:
    """Twenty jobs for a minute, then what each one got."""
    jobs = [(name, start(client, "busy", priority=name, n_iter=100_000)) for name in WEIGHTS for _ in range(5)]
    until(lambda: all(job.refresh().job_status == "started" for _name, job in jobs), 60)
    time.sleep(5)  # the last ones have had their first trials
    before = [job.refresh().progress.finished for _name, job in jobs]
    time.sleep(SECONDS)
    done = [job.refresh().progress.finished - old for (_name, job), old in zip(jobs, before, strict=True)]
    resident = sum(proportional_bytes(pid) for pid in platform.pids())
    total, weights = sum(done), 5 * sum(WEIGHTS.values())
    print(f"20 jobs at once, 4 slots, {SECONDS} s: {total} trials; memory {resident / 1e9:.2f} GB (target 6)")
    for name, weight in WEIGHTS.items():
        ratios = [
            count / total / (weight / weights) for (kind, _job), count in zip(jobs, done, strict=True) if kind == name
        ]
        print(
            f"  {name:9} weight {weight}: share / weight {min(ratios):.2f} to {max(ratios):.2f} (target 0.90 to 1.10)"
        )
    for _name, job in jobs:
        job.cancel()


def intermediate(client: Client) -> None:
    """Trials that report as fast as they can, without and with a pruner that looks at every value."""
    print(f"intermediate values a second, taken in and durable, 4 slots, {REPORTS:,} a trial (target 5,000)")
    for word, options in (("plain", {}), ("with a pruner", {"pruner": {"type": "median", "n_startup_trials": 1000}})):
        began = time.perf_counter()
        info = start(client, "talk", n_iter=40, **options).wait(300)
        assert info.job_status == "finished", info.job_exc_info
        print(f"  {word:15}{40 * REPORTS / (time.perf_counter() - began):8.0f}")


def start(client: Client, function: str, priority: str = "normal", **optimizer: Any) -> Any:
    experiment = client.create_experiment(
        tool_name=f"bench-{time.time_ns()}",
        parameters=SPACE,
        function=f"bench_tools:{function}",
        objectives=[{"metric": "loss"}],
    )
    return experiment.submit({"type": "random", **optimizer}, priority=priority)


def proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares counted by its part (Linux's PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
