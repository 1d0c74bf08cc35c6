"""What every batch carries of the settings, as those who evaluate it read none themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuners.messages import Containers, Isolation
from tunesmith.settings import Settings

AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
POSTGRESQL = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE")


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
        "isolation": Isolation(settings.trial_user, settings.trial_sandbox, tuple(_platforms_own(settings))),
    }


def _platforms_own(settings: Settings) -> Iterator[str]:
    """Credentials that the platform itself uses under their usual names."""
    if settings.artifacts.startswith("s3://") or settings.secret_backend == "aws":
        yield from AWS
    if not settings.embedded:
        yield from POSTGRESQL
