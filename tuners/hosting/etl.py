"""The cleaning of uploaded files in a child process, so that no file costs the service its memory or its life."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuners.hosting import plugins
from tuners.hosting.host import HostDied, Told, Watch
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import TaskFailed, Voice
from tunesmith.errors import Internal

if TYPE_CHECKING:
    from tunesmith.etl import EtlOutcome, Upload


@dataclass(frozen=True)
class EtlTask:
    """Uploaded files, to be made a dataset of; see `run`."""

    uploads: tuple[Upload, ...]
    dataset_name: str
    plugins: tuple[str, ...]
    artifacts: str
    files: str

    def perform(self, voice: Voice) -> EtlOutcome:
        """Make it. Raises InvalidData, StorageUnavailable."""
        from tunesmith.etl import run_etl
        from tunesmith.storage import Storage

        registry = plugins.registries(self.plugins, self.artifacts)
        voice.begin()
        storage = Storage(self.artifacts)
        return run_etl(
            self.uploads,
            self.dataset_name,
            registry.schemas,
            registry.etl_factory,
            storage,
            self.files,
            voice.progress,
        )


def run(
    uploads: Sequence[Upload],
    dataset_name: str,
    plugins: Sequence[str],
    artifacts: str,
    files: str,
    told: Told = lambda _percent, _message: None,
    watch: Watch = lambda _measured: None,
    limit_s: float | None = None,
) -> EtlOutcome:
    """Make a dataset of uploaded files, with the schemas and the EtlFactory of the plugins; blocks until it is there.

    `plugins`: references as the settings have them; `artifacts`: root of the artefact storage; `files`: the key prefix
    that the tables get. `told`, `watch` and `limit_s` as for `Host.call`.

    Raises:
        InvalidData: a file that cannot be read at all.
        Internal: a plugin's own code raised, or its process died; the message says how.
        Stopped, TimedOut: it was ended, and nothing is left under `files`.
        StorageUnavailable: the artefact storage cannot be used.
    """
    task = EtlTask(tuple(uploads), dataset_name, tuple(plugins), artifacts, files)
    with tempfile.TemporaryFile(buffering=0) as log, borrowed(log) as host:
        try:
            return host.call(task, log, told, watch, limit_s)
        except TaskFailed as error:
            raise Internal(f"The data could not be cleaned: {error}") from error
        except HostDied as error:
            raise Internal(f"The data could not be cleaned: its process ended ({error})") from error
