"""What the application needs from the cluster around it, and the implementation for when there is none."""

from __future__ import annotations

from typing import Protocol


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


class Alone:
    """No cluster around: jobs are kept in the database until a dispatcher comes."""

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
