"""How long a suggestion takes as a search grows, and how much memory the runner needs for a long one.

python bench_search.py [SAMPLER ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform

from tuners.search import PointSearch
from tunesmith import Client
from tunesmith.domain import Experiment, FunctionTool, Search, Trial, TrialState, space_of
from tunesmith.store import open_store
from tunesmith.testing.factories import EPOCH, new_experiment

SPACE = [{"name": name, "minimum": -5, "maximum": 5} for name in "abcde"]
SIZES = {
    "random": 100_000,
    "qmc": 100_000,
    "tpe": 100_000,
    "nsga2": 100_000,
    "cmaes": 100_000,
    "trego": 1000,
    "gp": 1000,
}
"""Sampler -> the longest search to measure it in."""
ASKS = {"trego": 5, "gp": 2}
"""Suggestions that are measured, where they are dear; 50 of the others."""
MOST_MB = 600


def main() -> None:
    names = sys.argv[1:] or list(SIZES)
    print("milliseconds per suggestion (ask and tell), 5 floats, after so many finished trials")
    store = open_store("sqlite://")
    store.upgrade()
    experiment = new_experiment(store, space=space_of(SPACE))
    for name in names:
        sizes = [size for size in (1000, 10_000, 100_000) if size <= SIZES[name]]
        row = "   ".join(f"{size:7,}: {suggestion_ms(experiment, name, size):7.2f}" for size in sizes)
        print(f"  {name:8} {row}", flush=True)
    memory()


def suggestion_ms(experiment: Experiment, sampler: str, size: int) -> float:
    """Mean milliseconds of one ask and tell after `size` trials."""
    asks = ASKS.get(sampler, 50)
    search = PointSearch(experiment, Search(type=sampler, n_iter=size + asks, seed=1), trials(experiment, size), size)
    finish(experiment, search, size)  # what is made once
    began = time.perf_counter()
    for number in range(size + 1, size + asks + 1):
        finish(experiment, search, number)
    return (time.perf_counter() - began) / asks * 1000


def finish(experiment: Experiment, search: PointSearch, number: int) -> None:
    params = search.ask(number)
    assert isinstance(params, dict)
    search.tell(trial_of(experiment, number, {name: float(str(value)) for name, value in params.items()}))


def trials(experiment: Experiment, size: int) -> list[Trial]:
    """Finished trials at random points of a sphere function."""
    points = np.random.default_rng(0).uniform(-5, 5, (size, len(SPACE)))
    return [trial_of(experiment, i, dict(zip("abcde", map(float, row), strict=True))) for i, row in enumerate(points)]


def trial_of(experiment: Experiment, number: int, params: dict[str, float]) -> Trial:
    value = sum(x * x for x in params.values())
    return Trial.model_construct(
        experiment_id=experiment.id,
        number=number,
        job_id=None,
        run_number=None,
        state=TrialState.COMPLETE,
        params=params,
        values=(value,),
        metrics={"loss": value},
        created_at=EPOCH,
        started_at=EPOCH,
        ended_at=EPOCH,
    )


def memory() -> None:
    """The runner's resident memory while it goes on with an experiment of 100,000 trials."""
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="2") as platform:
        store = open_store(f"sqlite:///{folder}/data/tunesmith.db")
        tool = FunctionTool(entrypoint="builtins:dict")
        experiment = new_experiment(store, space=space_of(SPACE), tool=tool, objectives=["a"])
        found = trials(experiment, 100_000)
        for start in range(0, len(found), 5000):
            with store.write() as tx:
                tx.write_trials(experiment, found[start : start + 5000])
        store.close()
        before = highest_mb(platform)
        began = time.perf_counter()
        job = Client(platform.url).experiment(experiment.id).submit({"type": "tpe", "n_iter": 200})
        info = job.wait(600)
        seconds = time.perf_counter() - began
        after = highest_mb(platform)
    print(
        f"the runner's memory with 100,000 trials (tpe): {after:.0f} MB, {before:.0f} MB before (target "
        f"{MOST_MB}); 200 trials more took {seconds:.1f} s, loading included ({info.job_status})"
    )


def highest_mb(platform: Platform) -> float:
    """Megabytes of the runner's process, at its highest so far."""
    (pid,) = platform.pids("ray::Runner")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
