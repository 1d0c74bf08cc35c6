"""A child process that has its plugins loaded, so that the first scenario need not wait for that."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass

from tuners.hosting.host import HostDied
from tuners.hosting.pool import borrowed
from tuners.hosting.tasks import TaskFailed, Voice
from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings

log = logging.getLogger("tunesmith.embedded")


@dataclass(frozen=True)
class WarmTask:
    """The loading of plugins."""

    plugins: tuple[str, ...]
    """Their references."""
    artifacts: str
    """Root of the artefact storage."""

    def perform(self, voice: Voice) -> None:
        """Load them. Raises TaskFailed."""
        from tuners.hosting.algorithms import load

        for plugin in self.plugins:
            load(plugin, self.artifacts)


def warm(settings: Settings) -> None:
    """Have a child ready, and wait until it is."""
    try:
        with tempfile.TemporaryFile(buffering=0) as output, borrowed(output) as host:
            host.call(WarmTask(settings.plugins, settings.artifacts), output)
    except (OSError, TaskFailed, HostDied, TunesmithError) as error:
        log.warning("no process could be made ready: %s", error)
