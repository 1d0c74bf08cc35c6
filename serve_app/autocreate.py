"""Scenarios that every new dataset gets by itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tunesmith.domain import Session
from tunesmith.errors import NameTaken
from tunesmith.plugins import Registry
from tunesmith.services import scenarios as service
from tunesmith.store import Tx


@dataclass(frozen=True)
class Autocreate:
    """Which scenarios, and whether they are run at once."""

    algorithm: str | None = None
    """Their algorithm; None: one scenario of each algorithm that needs no parameter to be given."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The algorithm's parameters; the others have their defaults."""
    run: bool = False
    """Whether they are asked to run."""

    def scenarios(self, tx: Tx, registry: Registry, session: Session, key: str) -> None:
        """Make those of a dataset that are not there yet. Raises AlgorithmNotFound, InvalidParameter."""
        for name in self._algorithms(registry):
            with suppress(NameTaken):  # the dataset was overwritten
                made = service.create(tx, registry, session, f"{key}: {name}", key, name, self.parameters)
                if self.run:
                    service.run(tx, registry, session, made.id)

    def _algorithms(self, registry: Registry) -> list[str]:
        if self.algorithm is not None:
            return [self.algorithm]
        return [
            name
            for name, known in registry.algorithms.items()
            if not any(parameter.required for parameter in known.item.parameters().values())
        ]
