"""Analyses of 10,000 and 100,000 trials: first and cached, as data and as figures, beside Optuna's own plots.

Run it as `python tests/bench/bench_analysis.py`. The peer is `optuna.visualization` on a study in memory, of 10,000
trials, or of 1,000 where more would take it minutes.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from bench_store import fresh_database
from fastapi.testclient import TestClient
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from sqlalchemy import update

from serve_app.app import build
from tunesmith.domain import Experiment, space_of
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store
from tunesmith.store.tables import experiments, measurements, trials
from tunesmith.testing import new_experiment
from tunesmith.testing.factories import EPOCH

TARGET_MS = {10_000: 500, 100_000: 2000}
NAMES = [f"x{index}" for index in range(6)]
STEPS = 10
KINDS = {
    "history": "plot_optimization_history",
    "slice": "plot_slice",
    "contour": "plot_contour",
    "parallel_coordinates": "plot_parallel_coordinate",
    "pareto_front": "plot_pareto_front",
    "edf": "plot_edf",
    "intermediate_values": "plot_intermediate_values",
    "timeline": "plot_timeline",
    "importances": "plot_param_importances",
    "importances?evaluator=fanova": "plot_param_importances",
}
HOPELESS = {"contour", "parallel_coordinates", "intermediate_values", "importances?evaluator=fanova", "pareto_front"}
"""What takes the peer minutes, or all the memory, at 10,000 trials and more: it gets 1,000 of them instead."""


def main() -> None:
    """Measure, and print what was measured beside its target."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="10,000 trials only")
    options.add_argument("--only", choices=("sqlite", "postgres"), help="one database")
    options.add_argument("--no-peer", action="store_true", help="ours alone")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    sizes = list(TARGET_MS)[: 1 if chosen.quick else 2]
    peers = {} if chosen.no_peer else peer_times()
    for database in (chosen.only,) if chosen.only else ("sqlite", "postgres"):
        for size in sizes:
            with fresh_database(database) as (url, _):
                show(database, size, measure(open_store(url), size), peers)


def show(database: str, size: int, found: dict[str, list[float]], peers: dict[str, tuple[int, float]]) -> None:
    """A table."""
    print(f"\n{database}, {size:,} trials (target {TARGET_MS[size]} ms)", flush=True)
    print(f"  {'':30}{'data':>8}{'cached':>8}{'304':>8}{'plotly':>8}{'cached':>8}   Optuna alone, figure")
    for kind, times in found.items():
        count, peer = peers.get(kind, (0, 0.0))
        beside = f"{peer:9,.0f} at {count:,} trials" if count else ""
        missed = "  MISSED" if max(times) > TARGET_MS[size] else ""
        print(f"  {kind:30}{''.join(f'{each:8.1f}' for each in times)}   {beside}{missed}", flush=True)


def measure(store: Store, size: int) -> dict[str, list[float]]:
    """Kind -> milliseconds: data first, data cached, not modified, figure first, figure cached."""
    single, several = fill(store, size, ("loss",)), fill(store, size, ("loss", "-score"))
    found = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        TestClient(build(Settings(data_dir=Path(folder)), store=store)) as api,
    ):
        warm = fill(store, 10, ("loss",))  # what is loaded with the first figure is nobody's time
        api.get(f"/api/v1/experiments/{warm.id}/analysis/importances?evaluator=fanova&format=plotly")
        for kind in KINDS:
            experiment = several if kind == "pareto_front" else single
            url = f"/api/v1/experiments/{experiment.id}/analysis/{kind}"
            drawn = f"{url}{'&' if '?' in url else '?'}format=plotly"
            tag = ""
            for path, seen in ((url, False), (url, False), (url, True), (drawn, False), (drawn, False)):
                begun = time.perf_counter()
                answer = api.get(path, headers={"If-None-Match": tag} if seen else {})
                found.setdefault(kind, []).append((time.perf_counter() - begun) * 1000)
                assert answer.status_code == (304 if seen else 200), answer.text
                tag = answer.headers["etag"]
    store.close()
    return found


def timed(call: Callable[[], Any]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def point(rng: random.Random) -> dict[str, float]:
    return {name: rng.random() for name in NAMES}


def fill(store: Store, size: int, objectives: tuple[str, ...]) -> Experiment:
    """An experiment with these many trials past the write path, every tenth with intermediate values."""
    space = space_of([{"name": name, "minimum": 0, "maximum": 1} for name in NAMES])
    experiment = new_experiment(store, objectives, space=space)
    rng = random.Random(1)
    counts = {"n_complete": size, "next_number": size}
    with store.write() as tx:
        for start in range(0, size, 10_000):
            numbers = range(start, min(size, start + 10_000))
            rows = [row(experiment, number, rng) for number in numbers]
            tx.connection.execute(trials.insert(), rows)
            curves = [
                {
                    "experiment_id": experiment.id,
                    "number": number,
                    "metric": "loss",
                    "step": step,
                    "value": 1 / (step + 1),
                }
                for number in numbers
                if number % 10 == 0
                for step in range(STEPS)
            ]
            tx.connection.execute(measurements.insert(), curves)
        tx.connection.execute(update(experiments).where(experiments.c.id == experiment.id).values(counts))
    return experiment


def row(experiment: Experiment, number: int, rng: random.Random) -> dict[str, Any]:
    """A complete trial; of two objectives, each thousandth lies on the front."""
    params = point(rng)
    loss = sum(value**2 for value in params.values())
    front = number % 1000 == 1
    return {
        "experiment_id": experiment.id,
        "number": number,
        "state": "complete",
        "params": params,
        "values": [loss, loss + front][: len(experiment.spec.objectives)],
        "metrics": {},
        "value": loss,
        "score": loss,
        "front": front and len(experiment.spec.objectives) > 1,
        "started_at": EPOCH + timedelta(seconds=number),
        "ended_at": EPOCH + timedelta(seconds=number + 1),
    }


def peer_times() -> dict[str, tuple[int, float]]:
    """Kind -> (trials, milliseconds) of Optuna's own figure, JSON and all."""
    found = {}
    for size in (1000, 10_000):
        single, several = study(size, ["minimize"]), study(size, ["minimize", "maximize"])
        for kind, plot in KINDS.items():
            if (kind in HOPELESS) == (size == 1000):
                chosen = several if kind == "pareto_front" else single
                draw = getattr(optuna.visualization, plot)
                more = {"evaluator": optuna.importance.FanovaImportanceEvaluator()} if "fanova" in kind else {}
                found[kind] = (size, timed(lambda draw=draw, chosen=chosen, more=more: draw(chosen, **more).to_json()))  # type: ignore[misc]
    return found


def study(size: int, directions: list[str]) -> optuna.Study:
    """The same trials in memory."""
    rng = random.Random(1)
    made = optuna.create_study(directions=directions)
    distributions = {name: FloatDistribution(0, 1) for name in NAMES}
    for number in range(size):
        params = point(rng)
        loss = sum(value**2 for value in params.values())
        curve = {step: 1 / (step + 1) for step in range(STEPS)} if number % 10 == 0 else {}
        made.add_trial(
            create_trial(
                params=params,
                distributions=distributions,
                values=[loss, loss + (number % 1000 == 1)][: len(directions)],
                intermediate_values=curve,
            )
        )
    return made


if __name__ == "__main__":
    main()
