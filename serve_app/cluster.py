"""The Ray cluster as the application sees it: waking the dispatcher, node types, readiness."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from serve_app.dispatcher import beside_the_database
from serve_app.predicting import Deployed
from tuners.messages import Prepared
from tuners.names import NAMESPACE, RUNNER, STUDIES, instance_resource
from tunesmith.errors import Unavailable
from tunesmith.settings import Settings

if TYPE_CHECKING:
    from tunesmith.automl import Predictions

log = logging.getLogger("tunesmith.api")

STUDY_S = 60.0
"""Seconds that a study may take to answer: the first ask reads a long history."""
HANDLE_S = 2.0
"""Seconds that an actor handle is kept: a runner that died has a successor under the same name."""


class Cluster:
    """The `Platform` of a running cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._runner: Any = None
        self._found = 0.0
        self._host: Any = None
        self._predicting = Deployed()

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

    def prepare(self, experiment_id: int, count: int) -> Prepared:
        """Let the studies' actor add trials for workers that ask."""
        prepared: Prepared = self._asked("prepare", experiment_id, count)
        return prepared

    def refill(self, experiment_id: int, ahead: int) -> None:
        """Ask for trials ahead; nobody waits for the answer."""
        try:
            self._studies().refill.remote(experiment_id, ahead)
        except Exception:
            log.warning("no trials could be prepared ahead; the next ask does it", exc_info=True)

    def prune(self, experiment_id: int, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Ask the study whether a trial is hopeless."""
        return bool(self._asked("prune", experiment_id, number, step, dict(metrics)))

    async def predict(self, artifact: str, plugin: str, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """Let the deployment predict."""
        return await self._predicting.predict(artifact, plugin, rows)

    def _asked(self, method: str, *args: Any) -> Any:
        """What the studies' actor answers; one that died is started again, from SQL."""
        end = time.monotonic() + STUDY_S
        while True:
            try:
                left = max(0.1, end - time.monotonic())
                return ray.get(getattr(self._studies(), method).remote(*args), timeout=left)
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except (RayActorError, GetTimeoutError) as error:
                self._host = None
                if time.monotonic() >= end:
                    message = "the study does not answer; ask again in a moment"
                    raise Unavailable(message) from error
                time.sleep(0.1)

    def _studies(self) -> Any:
        with self._lock:
            if self._host is None:
                from tuners.studies.host import StudyHost  # Optuna, which the API does without otherwise

                self._host = (
                    ray.remote(StudyHost)
                    .options(
                        name=STUDIES,
                        namespace=NAMESPACE,
                        lifetime="detached",
                        get_if_exists=True,
                        num_cpus=0,
                        max_restarts=-1,
                        max_concurrency=64,
                        scheduling_strategy=beside_the_database(self.settings.embedded),
                    )
                    .remote(self.settings.environment())
                )
            return self._host

    def _handle(self) -> Any:
        with self._lock:
            if self._runner is None or time.monotonic() - self._found > HANDLE_S:
                self._runner = ray.get_actor(RUNNER, namespace=NAMESPACE)
                self._found = time.monotonic()
            return self._runner
