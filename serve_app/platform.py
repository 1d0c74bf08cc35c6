"""What the application needs from the cluster around it, and the implementation for when there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import anyio.to_thread

from serve_app.predicting import Models
from tuners.messages import Prepared
from tunesmith.settings import Settings
from tunesmith.store import Store

if TYPE_CHECKING:
    from tunesmith.automl import Predictions


class Platform(Protocol):
    """The cluster around the application."""

    def wake(self) -> None:
        """Tell the dispatcher that a job is queued or wants something; called after the commit, and never raises."""
        ...

    def node_types(self) -> frozenset[str]:
        """The instance types that the cluster has or can start."""
        ...

    def slots(self, cpus: float) -> int | None:
        """Trials of so many CPUs that it runs at once, as it is now; None when that is not known."""
        ...

    def ready(self) -> list[str]:
        """What is not ready yet, in words; empty when everything is."""
        ...

    def prepare(self, experiment_id: int, count: int) -> Prepared:
        """Add trials for workers that ask. Raises ExperimentNotFound, QuotaExceeded, Unavailable."""
        ...

    def refill(self, experiment_id: int, ahead: int) -> None:
        """See to it that so many trials wait for workers, soon; never raises."""
        ...

    def prune(self, experiment_id: int, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether a trial that reported this is hopeless. Raises ExperimentNotFound, Unavailable."""
        ...

    async def predict(self, artifact: str, plugin: str, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """What a trained model says of rows, each column -> value. It may have to wait for the model's process.

        `artifact`: the key prefix that the model lies under; `plugin`: where its template is found.

        Raises:
            InvalidData: a row cannot be predicted from; `row` (from 1) and `column` are in the details.
            MissingExtra: the template needs a package that is not installed.
            ModelUnusable: the model's file is damaged or gone, or cannot be loaded.
            StorageUnavailable, Unavailable: try again in a moment.
        """
        ...


class Alone:
    """No cluster around: jobs are kept in the database until a dispatcher comes, studies live in this process."""

    def __init__(self, store: Store, settings: Settings | None = None) -> None:
        from tuners.studies.host import Studies  # Optuna, which not every application needs

        self._studies = Studies(store)
        self._models = Models(settings or Settings())

    def wake(self) -> None:
        """Do nothing: nobody listens."""

    def node_types(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def slots(self, cpus: float) -> int | None:
        """Nobody knows."""
        return None

    def ready(self) -> list[str]:
        """Always ready."""
        return []

    def prepare(self, experiment_id: int, count: int) -> Prepared:
        """Add trials, here and now."""
        return self._studies.prepare(experiment_id, count)

    def refill(self, experiment_id: int, ahead: int) -> None:
        """Add trials, here and now."""
        self._studies.refill(experiment_id, ahead)

    def prune(self, experiment_id: int, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether a trial that reported this is hopeless."""
        return self._studies.prune(experiment_id, number, step, metrics)

    async def predict(self, artifact: str, plugin: str, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """What a trained model says, in this process."""
        return await anyio.to_thread.run_sync(self._models.predict, artifact, plugin, rows)
