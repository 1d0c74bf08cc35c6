"""Optuna on our store beside Optuna's own `RDBStorage`, on the same SQLite and the same PostgreSQL.

Run it as `python -m tests.bench.bench_optuna`; the peer's 10,000 trials on each database take a quarter of an hour or
more. `--quick` measures 200 and 1,000 trials instead.
"""

from __future__ import annotations

import argparse
import logging
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from bench_store import fresh_database
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages import BaseStorage, RDBStorage

from tunesmith.domain import utcnow
from tunesmith.optuna import Storage
from tunesmith.optuna.frozen import DISTRIBUTIONS
from tunesmith.store import open_store
from tunesmith.store.tables import trials

SIZES = {1_000: 5.0, 10_000: 10.0}
"""Trials of a study -> how many times faster than the peer we want to be."""
QUICK = {200: 5.0, 1_000: 5.0}
LOADED, LOAD_S, LOAD_MB = 100_000, 5.0, 1_000.0
LOAD = """
import resource, sys, time
import optuna
from tunesmith.optuna import Storage
storage = Storage(sys.argv[1])
begun = time.perf_counter()
found = optuna.load_study(study_name="large", storage=storage).trials
taken = time.perf_counter() - begun
assert len(found) == int(sys.argv[2]) and len(found[-1].params) == 5
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def main() -> None:
    """Measure, and print what was measured beside its target."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="smaller studies")
    options.add_argument("--only", choices=("sqlite", "postgres"), help="one database")
    chosen = options.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    for database in (chosen.only,) if chosen.only else ("sqlite", "postgres"):
        print(f"\n{database}: study.optimize, random sampler, 5 parameters   ours/s    RDBStorage/s   ratio")
        for size, target in (QUICK if chosen.quick else SIZES).items():
            with fresh_database(database) as (url, peer_url):
                ours = rate(Storage(url), size)
                peer = rate(RDBStorage(peer_url), size)
            missed = "" if ours / peer >= target else "  MISSED"
            print(f"  {size:>7,} trials {ours:39,.0f}{peer:16,.0f}{ours / peer:8.1f} (target {target:.0f}){missed}")
        with large_study(database) as url:
            taken, peak_mb = load(url)
        missed = "" if taken < LOAD_S and peak_mb < LOAD_MB else "  MISSED"
        print(
            f"  load_study(...).trials, {LOADED:,} trials: {taken:.2f} s (target {LOAD_S:.0f}), "
            f"peak {peak_mb:,.0f} MB (target {LOAD_MB:,.0f}){missed}"
        )


def objective(trial: optuna.Trial) -> float:
    """Nothing but the storage costs time."""
    return sum(trial.suggest_float(f"x{index}", -1, 1) ** 2 for index in range(5))


def rate(storage: BaseStorage, n_trials: int) -> float:
    """Trials a second."""
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))
    begun = time.perf_counter()
    study.optimize(objective, n_trials=n_trials)
    return n_trials / (time.perf_counter() - begun)


@contextmanager
def large_study(database: str) -> Iterator[str]:
    """The URL of a database with one large study, written past the storage."""
    with fresh_database(database) as (url, _):
        study_id = Storage(url).create_new_study([optuna.study.StudyDirection.MINIMIZE], "large")
        texts = {f"x{index}": distribution_to_json(FloatDistribution(-1, 1)) for index in range(5)}
        store, rng, now = open_store(url), random.Random(1), utcnow()
        with store.write() as tx:
            for start in range(0, LOADED, 10_000):
                rows = [
                    {
                        "experiment_id": study_id,
                        "number": number,
                        "state": "complete",
                        "params": {name: rng.uniform(-1, 1) for name in texts},
                        "values": [rng.random()],
                        "metrics": {},
                        "system_attrs": {DISTRIBUTIONS: texts},
                        "started_at": now,
                        "ended_at": now,
                    }
                    for number in range(start, start + 10_000)
                ]
                tx.connection.execute(trials.insert(), rows)
        store.close()
        yield url


def load(url: str) -> tuple[float, float]:
    """(seconds, peak of the whole process in MB) of a fresh process that reads the large study."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", LOAD, url, str(LOADED)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    taken, peak = map(float, done.stdout.split())
    return taken, peak


if __name__ == "__main__":
    main()
