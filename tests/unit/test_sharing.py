"""Shares of jobs, in a simulated cluster: workers that free themselves after each batch; jobs of all weights."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tuners.pool import Worker
from tuners.sharing import Shares, demand
from tunesmith.domain import Priority

SHAPE = (("CPU", 1.0),)
LARGE = (("CPU", 2.0),)


@dataclass
class FakeRun:
    """What sharing looks at in a JobRun."""

    name: str
    priority: int = Priority.NORMAL
    seconds: float = 0.0
    shape: Any = SHAPE
    wants_worker: bool = True
    workers: set[str] = field(default_factory=set)
    used_s: float = 0.0
    concurrency: float = 100
    left: float = 100

    @property
    def job(self) -> Any:
        return SimpleNamespace(id=self.name, priority=self.priority)


class Cluster:
    """Workers of one shape that serve jobs, batch after batch, in simulated time."""

    def __init__(self, slots: int, seed: int = 0) -> None:
        self.now = 0.0
        self.workers = {str(i): Worker(str(i), SHAPE, incarnation="x") for i in range(slots)}
        self.runs: list[FakeRun] = []
        self.lengths: Mapping[str, float] = {}
        self.rng = random.Random(seed)
        self.shares = Shares(cast(Any, self), lambda: self.now)
        self.busy: list[tuple[float, str, FakeRun]] = []

    def feasible(self, shape: Any) -> bool:
        return True

    def pending(self, shape: Any) -> int:
        return 0 if shape == SHAPE else 1

    def run(self, until: float, lengths: Mapping[str, float]) -> None:
        self.lengths = lengths
        idle = set(self.workers) - {worker_id for _, worker_id, _ in self.busy}
        for worker_id in sorted(idle):
            self._serve(worker_id)
        while self.busy and self.busy[0][0] <= until:
            self.now, worker_id, run = heapq.heappop(self.busy)
            worker = self.workers[worker_id]
            run.workers.discard(worker_id)
            run.used_s += self.now - worker.began
            run.seconds = self.now - worker.began
            self.shares.settle(cast(Any, run), worker)
            self._serve(worker_id)
        self.now = until

    def _serve(self, worker_id: str) -> None:
        worker = self.workers[worker_id]
        run = cast(Any, self.shares.next_job(cast(Any, self.runs), worker))
        if run is None:
            return
        run.workers.add(worker_id)
        self.shares.assign(run, worker)
        length = self.lengths[run.name] * self.rng.uniform(0.7, 1.3)
        heapq.heappush(self.busy, (self.now + length, worker_id, run))


def shares_of(runs: list[FakeRun]) -> dict[str, float]:
    total = sum(run.used_s for run in runs)
    return {run.name: run.used_s / total for run in runs}


@pytest.mark.parametrize("slots", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_twenty_jobs_get_their_weights_over_the_run_however_long_their_trials_are(slots: int) -> None:
    cluster = Cluster(slots)
    ranks = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL]
    cluster.runs = [FakeRun(f"j{i}", ranks[i % 4]) for i in range(20)]
    cluster.run(16_000 / slots, {run.name: 0.1 * 2 ** (i % 6) for i, run in enumerate(cluster.runs)})
    weights = {run.name: 2.0 ** (run.priority / 10) for run in cluster.runs}
    total = sum(weights.values())
    for name, share in shares_of(cluster.runs).items():
        assert share == pytest.approx(weights[name] / total, rel=0.1), name


def test_a_job_of_high_priority_gets_its_share_with_the_next_free_workers_and_no_more() -> None:
    cluster = Cluster(16)
    old, new = FakeRun("old"), FakeRun("new", Priority.HIGH)
    cluster.runs = [old]
    cluster.run(100, {"old": 1.0})
    cluster.runs = [old, new]
    cluster.run(101.4, {"old": 1.0, "new": 1.0})
    assert 9 <= len(new.workers) <= 12  # of 16 workers: two thirds


def test_a_job_that_had_nothing_to_do_catches_nothing_up() -> None:
    cluster = Cluster(4)
    steady, idle = FakeRun("steady"), FakeRun("idle")
    cluster.runs = [steady, idle]
    lengths = {"steady": 1.0, "idle": 1.0}
    cluster.run(10, lengths)
    idle.wants_worker = False
    cluster.run(1000, lengths)
    idle.wants_worker = True
    steady.used_s = idle.used_s = 0.0
    cluster.run(1100, lengths)
    assert shares_of(cluster.runs)["idle"] == pytest.approx(0.5, abs=0.03)


def test_a_job_whose_trials_turn_out_long_is_charged_while_they_run() -> None:
    cluster = Cluster(4)
    short, long = FakeRun("short", seconds=1.0), FakeRun("long", seconds=0.01)
    cluster.runs = [short, long]
    cluster.run(200, {"short": 1.0, "long": 50.0})
    assert len(long.workers) <= 3
    cluster.run(4000, {"short": 1.0, "long": 50.0})
    assert shares_of(cluster.runs)["long"] == pytest.approx(0.5, abs=0.05)


def test_a_worker_makes_room_for_another_shape_that_is_further_below_its_share() -> None:
    cluster = Cluster(2)
    mine, large = FakeRun("mine", workers={"0"}), FakeRun("large", shape=LARGE)
    cluster.runs = [mine, large]
    assert cluster.shares.next_job(cast(Any, cluster.runs), cluster.workers["1"]) is None
    large.workers = {"7"}
    assert cast(Any, cluster.shares.next_job(cast(Any, cluster.runs), cluster.workers["1"])) is mine


def test_what_is_wanted_is_what_works_and_what_could() -> None:
    runs = [FakeRun("a", workers={"0"}, left=3), FakeRun("b", shape=LARGE, concurrency=2, left=9)]
    assert demand(cast(Any, runs), cast(Any, Cluster(1)), 2) == {SHAPE: 4, LARGE: 2}
    assert demand([], cast(Any, Cluster(1)), 2) == {SHAPE: 2}
