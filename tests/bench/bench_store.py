"""The store under load: 100,000 trials in one experiment, every list page, the best, and bulk writes beside Optuna's.

Run it as `python -m tests.bench.bench_store`; it needs about a minute and leaves nothing behind.
"""

from __future__ import annotations

import gc
import logging
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy import update

from tunesmith.domain import Experiment, JobState, Progress, Trial, TrialState
from tunesmith.domain.page import encode_cursor
from tunesmith.store import Store, Tx, open_store
from tunesmith.store.rows import trial_row
from tunesmith.store.tables import experiments, trials
from tunesmith.testing import finished_trial, memory_store, new_experiment, queued_job, running_job
from tunesmith.testing.postgres import postgres_server

TRIALS = 100_000
OTHERS = 1_500
"""Further experiments, each with a queued job."""
CALLS = 60
WRITTEN = 3_000
BATCHES = (50, 100, 250, 500)
PEERS = 60
PAGE_MS, BEST_MS = 20.0, 5.0
WRITES_PER_S = {"sqlite": 2_000, "postgres": 5_000}
OBJECTIVES = {"one objective": ("time",), "two objectives": ("time", "-ratio")}
Page = Callable[[Tx], object]


def main() -> None:
    """Measure, and print what was measured beside its target."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    rows = {label: list(make_rows(objectives)) for label, objectives in OBJECTIVES.items()}
    gc.freeze()  # else the collector walks through these rows while the pages are measured
    for database in WRITES_PER_S:
        with fresh_database(database) as (url, peer_url):
            store = open_store(url)
            print(f"\n{database}: {TRIALS:,} trials in one experiment            p50 ms    p99 ms   target ms")
            for label, objectives in OBJECTIVES.items():
                experiment = fill(store, objectives, rows[label])
                for name, page in trial_pages(experiment).items():
                    show(f"{label}: {name}", store, page, BEST_MS if name == "best" else PAGE_MS)
            for _ in range(OTHERS):
                queued_job(store, new_experiment(store))
            for name, page in other_pages().items():
                show(name, store, page, PAGE_MS)
            compare_writes(store, database, peer_url)
            store.close()


@contextmanager
def fresh_database(kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two empty databases of a kind: ours and the peer's."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:///{folder}/ours.db")
            store.upgrade()
            store.close()
            yield f"sqlite:///{folder}/ours.db", f"sqlite:///{Path(folder) / 'peer.db'}"
    else:
        with postgres_server() as server, server.database() as ours, server.database(migrated=False) as peer:
            server.durable()
            yield ours, peer


def make_rows(objectives: Sequence[str]) -> Iterator[dict[str, object]]:
    """Rows of finished trials, one in ten failed; of two objectives, each thousandth lies on the front."""
    store = memory_store()
    experiment = new_experiment(store, objectives)
    signs = tuple(objective.sign for objective in experiment.spec.objectives)
    job = running_job(store, experiment)
    template, rng = finished_trial(job, 0, *[0.0] * len(signs)), random.Random(1)
    for number in range(TRIALS):
        failed, front = number % 10 == 0, number % 1000 == 1
        first = rng.random()
        values = (first, first - (0 if front else 1))[: len(signs)]
        changes = {"state": TrialState.FAILED, "values": None} if failed else {"values": values}
        yield trial_row(template.evolve(number=number, job_id=None, **changes), signs) | {
            "front": front and len(signs) > 1
        }
    store.close()


def fill(store: Store, objectives: Sequence[str], rows: list[dict[str, object]]) -> Experiment:
    """An experiment with these trials; past the write path, which is measured for itself."""
    experiment = new_experiment(store, objectives)
    for row in rows:
        row["experiment_id"] = experiment.id
    counts = {"n_complete": TRIALS * 9 // 10, "n_failed": TRIALS // 10, "next_number": TRIALS}
    with store.write() as tx:
        tx.connection.execute(trials.insert(), rows)
        tx.connection.execute(update(experiments).where(experiments.c.id == experiment.id).values(counts))
    return experiment


def trial_pages(experiment: Experiment) -> dict[str, Page]:
    """Every page of trials that the API answers, and the best."""
    middle, by_value = encode_cursor(TRIALS // 2), encode_cursor(0.5, TRIALS // 2)
    return {
        "first page": lambda tx: tx.trials(experiment),
        "from the middle": lambda tx: tx.trials(experiment, cursor=middle),
        "newest 1,000": lambda tx: tx.trials(experiment, newest_first=True, limit=1000),
        "by value": lambda tx: tx.trials(experiment, order="value"),
        "by value, middle": lambda tx: tx.trials(experiment, order="value", cursor=by_value),
        "failed ones": lambda tx: tx.trials(experiment, TrialState.FAILED),
        "complete, middle": lambda tx: tx.trials(experiment, TrialState.COMPLETE, cursor=middle),
        "complete by value, middle": lambda tx: tx.trials(experiment, TrialState.COMPLETE, "value", by_value),
        "running ones (none)": lambda tx: tx.trials(experiment, TrialState.RUNNING),
        "best": lambda tx: tx.best_trials(experiment),
    }


def other_pages() -> dict[str, Page]:
    """The lists of experiments and jobs."""
    return {
        "experiments": lambda tx: tx.experiments(),
        "experiments, searched": lambda tx: tx.experiments(search="nowhere"),
        "jobs queued, 100": lambda tx: tx.jobs({JobState.QUEUED}, limit=100),
        "jobs queued, 1,000": lambda tx: tx.jobs({JobState.QUEUED}),
        "jobs running (none)": lambda tx: tx.jobs({JobState.RUNNING, JobState.RETRY_WAIT}),
        "jobs failed (none)": lambda tx: tx.jobs({JobState.FAILED}),
    }


def show(name: str, store: Store, page: Page, target: float) -> None:
    """One line: the page's median and its 99th percentile, in milliseconds."""
    taken = []
    gc.collect()
    for _ in range(CALLS + 3):
        begun = time.perf_counter()
        with store.read() as tx:
            page(tx)
        taken.append((time.perf_counter() - begun) * 1000)
    taken = sorted(taken[3:])
    p50, p99 = taken[CALLS // 2], taken[CALLS * 99 // 100]
    print(f"  {name:<48}{p50:10.2f}{p99:10.2f}{target:12.0f}{'' if p50 < target else '  MISSED'}")


def compare_writes(store: Store, database: str, peer_url: str) -> None:
    """Finished trials a second by `record`, at several batch sizes, beside Optuna's storage on the same database."""
    peer = peer_rate(peer_url)
    target = WRITES_PER_S[database]
    print(f"  written trials/s (target {target:,}); Optuna RDBStorage: {peer:,.0f}/s")
    for label, objectives in OBJECTIVES.items():
        for batch in BATCHES:
            rate = write_rate(store, objectives, batch)
            missed = "" if rate >= target else "  MISSED"
            print(f"    {label}, batches of {batch:<4}{rate:>12,.0f}/s{rate / peer:>8.1f} x{missed}")


def write_rate(store: Store, objectives: Sequence[str], batch: int) -> float:
    """Trials a second through `record`, with their events and the job's progress."""
    experiment = new_experiment(store, objectives)
    job = running_job(store, experiment)
    rng = random.Random(batch)
    found = [finished_trial(job, number, *(rng.random() for _ in objectives)) for number in range(WRITTEN)]
    begun = time.perf_counter()
    for start in range(0, WRITTEN, batch):
        record(store, job.id, str(job.lease_token), experiment, found[start : start + batch], start)
    taken = time.perf_counter() - begun
    with store.write() as tx:
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    return WRITTEN / taken


def record(store: Store, job_id: str, token: str, experiment: Experiment, found: list[Trial], done: int) -> None:
    """One flush, as the runner makes it."""
    with store.write() as tx:
        tx.record(job_id, token, experiment, found, progress=Progress(finished=done + len(found), total=WRITTEN))


def peer_rate(url: str) -> float:
    """Finished trials a second through Optuna's RDBStorage, which takes them one by one."""
    storage = optuna.storages.RDBStorage(url)
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])
    distributions = {
        "x": optuna.distributions.FloatDistribution(0, 1),
        "n": optuna.distributions.IntDistribution(1, 10),
    }
    found = [
        optuna.trial.create_trial(params={"x": 0.5, "n": 1 + n % 10}, distributions=distributions, value=float(n))
        for n in range(PEERS)
    ]
    storage.create_new_trial(study, template_trial=found[0])
    begun = time.perf_counter()
    for trial in found[1:]:
        storage.create_new_trial(study, template_trial=trial)
    taken = time.perf_counter() - begun
    storage.engine.dispose()
    return (PEERS - 1) / taken


if __name__ == "__main__":
    main()
