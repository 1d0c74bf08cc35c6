"""What every batch carries of the settings, as those who evaluate it read none themselves."""

from __future__ import annotations

from typing import Any

from tuners.messages import Containers
from tunesmith.settings import Settings


def told_to_workers(settings: Settings) -> dict[str, Any]:
    """Fields of `Batch`."""
    return {
        "data_dir": str(settings.data_dir.absolute()),
        "max_log_bytes": settings.max_log_bytes,
        "containers": Containers(
            engine=settings.container_engine,
            options=settings.container_options,
            pull=settings.container_pull,
            auth_file=None if settings.registry_auth_file is None else str(settings.registry_auth_file),
        ),
    }
