"""The Ray cluster as the application sees it: waking the dispatcher, node types, readiness."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import ray

from tuners.names import NAMESPACE, RUNNER, instance_resource
from tunesmith.settings import Settings

HANDLE_S = 2.0
"""Seconds that an actor handle is kept: a runner that died has a successor under the same name."""


class Cluster:
    """The `Platform` of a running cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._runner: Any = None
        self._found = 0.0

    def wake(self) -> None:
        """Ring at the runner, which the dispatcher listens to; a missed ring costs a second, not a job."""
        self._handle().poke.remote()

    def node_types(self) -> frozenset[str]:
        """The instance types of the nodes, and those that the settings say can be started."""
        prefix = instance_resource("")
        resources: Mapping[str, float] = ray.cluster_resources()
        here = {name.removeprefix(prefix) for name in resources if name.startswith(prefix)}
        return frozenset(here) | frozenset(self.settings.node_types)

    def slots(self, cpus: float) -> int | None:
        """Trials of so many CPUs that the nodes run at once; those that ask for less share a CPU."""
        return max(1, int(ray.cluster_resources().get("CPU", 1.0) / max(1.0, cpus)))

    def ready(self) -> list[str]:
        """What is not ready yet."""
        try:
            ray.get(self._handle().status.remote(), timeout=2)
        except Exception as error:
            return [f"the runner does not answer yet ({type(error).__name__})"]
        return []

    def _handle(self) -> Any:
        with self._lock:
            if self._runner is None or time.monotonic() - self._found > HANDLE_S:
                self._runner = ray.get_actor(RUNNER, namespace=NAMESPACE)
                self._found = time.monotonic()
            return self._runner
