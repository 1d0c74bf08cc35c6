"""The standing Tune run: how many trial workers of which shape there should be, and Ray Tune making it so.

A shape is what one trial needs (CPUs, GPUs, memory, node type). Jobs of one shape share its workers. Tune's searcher
hands out one configuration per worker that is wanted, Tune places it and restarts it when its process or node dies, and
its pending placement groups are what an autoscaler sees.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from tuners.messages import Shape
from tuners.names import instance_resource
from tuners.worker import TrialWorker, quiet
from tunesmith.domain import ExperimentSpec

log = logging.getLogger(__name__)

DEFAULT_SHAPE: Shape = (("CPU", 1.0),)
CAPACITY_S = 2.0
"""Seconds between two looks at what the cluster has."""
LEAST_CPU = 0.25
"""CPU that a trial which asks for nothing is reckoned with: it still is a process."""
MOST_PER_CPU = 16
"""Workers per CPU of a node, at most, however little they ask for."""
GROWTH = 8
"""Workers asked for beyond the present capacity, where an autoscaler can make room."""

POOLS: dict[str, Pool] = {}
"""Tune pickles its searcher and stopper, so they hold a key of this registry instead of the pool."""


def shape_of(spec: ExperimentSpec) -> Shape:
    """The shape of an experiment's workers."""
    needs = {"CPU": spec.resources.cpus, "GPU": spec.resources.gpus, "memory": float(spec.resources.memory_bytes or 0)}
    bundle = {name: amount for name, amount in needs.items() if amount > 0} or {"CPU": LEAST_CPU}
    if spec.compute.type == "ec2" and instance_resource(spec.compute.instance_model or "") in ray.cluster_resources():
        bundle[instance_resource(spec.compute.instance_model or "")] = 0.001
    return tuple(sorted(bundle.items()))


@dataclass
class Worker:
    """One trial worker, from the moment that Tune was asked for it."""

    worker_id: str
    shape: Shape
    incarnation: str | None = None
    """Its process; None until it has called."""
    job_id: str | None = None
    numbers: set[int] = field(default_factory=set)
    """Trials that it was given and has not answered for."""
    idle_since: float = field(default_factory=time.monotonic)
    handle: Any = None
    """Its actor."""
    limit: float = math.inf
    """When its batch must be done (monotonic seconds)."""
    deadline: float = math.inf
    """When it is killed: at that limit, or sooner, when it was told to end what it does."""
    pruned: int | None = None
    """The trial that it was told to end, as it is pruned."""
    began: float = 0.0
    """When its batch began (monotonic seconds)."""
    charged_s: float = 0.0
    """Seconds that its job was charged for the batch."""
    price: float | None = None
    """Money per second, where the price of its node is known."""


class Pool:
    """Keeps the wanted number of workers per shape alive, through one `Tuner.fit` in a thread."""

    def __init__(
        self, runner: str, namespace: str, on_lost: Callable[[str, bool], None], autoscaling: bool, directory: Path
    ) -> None:
        self.key, self.runner, self.namespace = runner, runner, namespace
        self.workers: dict[str, Worker] = {}
        self.wanted: Mapping[Shape, int] = {}
        self.stopping = False
        self.autoscaling = autoscaling
        self.on_lost = on_lost
        self.directory = directory
        self.lock = threading.Lock()
        self._nodes: dict[str, Mapping[str, float]] = {}
        self._looked = 0.0
        POOLS[self.key] = self
        self.thread = threading.Thread(target=self._run, name="tune", daemon=True)

    def start(self) -> None:
        """Start the Tune run."""
        self.thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End every worker and the Tune run."""
        self.stopping = True
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    def count(self, shape: Shape) -> int:
        """Workers of a shape, pending ones included."""
        return sum(worker.shape == shape for worker in self.workers.values())

    def pending(self, shape: Shape) -> int:
        """Workers of a shape that Tune has not started yet."""
        return sum(worker.shape == shape and worker.incarnation is None for worker in self.workers.values())

    def look(self) -> None:
        """Look what the cluster has; called now and then from a thread, as Ray's answer can take its time."""
        if time.monotonic() - self._looked > CAPACITY_S:
            nodes: list[dict[str, Any]] = ray.nodes()
            self._nodes = {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
            self._looked = time.monotonic()

    def capacity(self, shape: Shape) -> int | None:
        """Workers of a shape that the cluster has room for, were it empty; None before the first look."""
        if not self._looked:
            return None
        return sum(self._room(node, shape) for node in self._nodes.values())

    def feasible(self, shape: Shape) -> bool:
        """Whether a worker of the shape could ever start: a node has room for it, or an autoscaler may bring one."""
        return self.autoscaling or self.capacity(shape) != 0

    def _room(self, node: Mapping[str, float], shape: Shape) -> int:
        room = min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in shape)
        return min(room, int(MOST_PER_CPU * max(1.0, node.get("CPU", 0.0))))

    def price(self, node_id: str, shape: Shape, prices: Mapping[str, float]) -> float | None:
        """Money per second of one worker: the share of its node that it takes, or None where no price is known."""
        node = self._nodes.get(node_id, {})
        prefix = instance_resource("")
        kind = next((name.removeprefix(prefix) for name in node if name.startswith(prefix)), "*")
        hourly = prices.get(kind, prices.get("*"))
        if hourly is None:
            return None
        share = max((amount / node[name] for name, amount in shape if node.get(name, 0.0) >= 1), default=1.0)
        return hourly * min(1.0, share) / 3600

    def want(self, demand: Mapping[Shape, float]) -> None:
        """Say how many workers of each shape could be used now."""
        beyond = GROWTH if self.autoscaling else 0
        self.wanted = {
            shape: int(min(number, max(1, (self.capacity(shape) or 0) + beyond)))
            for shape, number in demand.items()
            if number
        }

    def next_worker(self, worker_id: str) -> dict[str, Any] | None:
        """The configuration of a worker that is wanted and not there yet, or None (called by Tune's thread)."""
        with self.lock:
            for shape, number in self.wanted.items():
                if self.count(shape) < number:
                    # A new dict each time: the runner's thread may be walking the old one.
                    self.workers = {**self.workers, worker_id: Worker(worker_id, shape)}
                    return {
                        "worker_id": worker_id,
                        "runner": self.runner,
                        "namespace": self.namespace,
                        "bundle": dict(shape),
                    }
        return None

    def release(self, worker_id: str) -> None:
        """Forget a worker that goes home."""
        with self.lock:
            self.workers = {key: worker for key, worker in self.workers.items() if key != worker_id}

    def _run(self) -> None:
        quiet()
        self.look()
        while not self.stopping:
            try:
                shutil.rmtree(self.directory, ignore_errors=True)  # a runner that was killed left it
                self._fit(str(self.directory))
            except Exception:
                log.exception("the Tune run ended; a new one starts")
                for worker_id in list(self.workers):
                    self.on_lost(worker_id, True)
                time.sleep(1.0)

    def _fit(self, directory: str) -> None:
        tune.Tuner(
            TrialWorker,
            tune_config=tune.TuneConfig(search_alg=WorkerSearcher(self.key), num_samples=-1),
            run_config=tune.RunConfig(
                name="workers",
                storage_path=directory,
                stop=PoolStopper(self.key),
                callbacks=[PoolCallback(self.key)],
                failure_config=tune.FailureConfig(max_failures=-1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


class WorkerSearcher(Searcher):
    """Tune's source of configurations: one per worker that the pool wants."""

    def __init__(self, key: str) -> None:
        super().__init__(metric="evaluated", mode="max")
        self.key = key

    def set_search_properties(self, *_args: Any, **_spec: Any) -> bool:
        """Metric and mode are of no use here."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """One more worker's configuration, None when there are enough, FINISHED when the pool stops."""
        pool = POOLS[self.key]
        return Searcher.FINISHED if pool.stopping else pool.next_worker(trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """A worker went home."""
        POOLS[self.key].release(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class PoolStopper(tune.Stopper):
    """Ends the Tune run with the pool."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """A single worker is never stopped by its results."""
        return False

    def stop_all(self) -> bool:
        """Whether the pool stops."""
        return POOLS[self.key].stopping


class PoolCallback(tune.Callback):
    """Tells the pool of workers whose process died."""

    def __init__(self, key: str) -> None:
        self.key = key

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_info: Any) -> None:
        """A worker died and is not restarted."""
        POOLS[self.key].on_lost(trial.trial_id, True)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **_info: Any) -> None:
        """A worker died and is being restarted."""
        POOLS[self.key].on_lost(trial.trial_id, False)
