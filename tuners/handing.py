"""Handing out: the next evaluations of a run, with the settings and the secrets that they need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from tuners.jobrun import JobRun
from tuners.messages import Batch
from tuners.told import told_to_workers
from tunesmith.errors import DatabaseUnavailable, TunesmithError
from tunesmith.services.secrets import Vault, open_vault
from tunesmith.settings import Settings
from tunesmith.store import Store

PAUSE_S = 0.1
"""Seconds between two tries while the database is away."""


class Hand:
    """Takes evaluations out of runs. Safe to share between threads."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._told = told_to_workers(settings)

    def take(self, run: JobRun, slots: int, exchange_s: float) -> Batch | None:
        """See `JobRun.take`; none either where a secret is missing, which fails the run before a trial starts."""
        try:
            secrets = self._secrets(run)
        except DatabaseUnavailable:
            time.sleep(PAUSE_S)  # the run is asked again, until the writer finds that nothing can be written either
            return None
        except TunesmithError as error:
            run.error = run.error or error.message
            return None
        batch = run.take(slots, self._settings.artifacts, self._settings.terminate_grace_s, exchange_s)
        return None if batch is None else replace(batch, **self._told, secrets=secrets)

    def _secrets(self, run: JobRun) -> dict[str, str]:
        """Variable -> value: read anew each time, so that a changed secret counts for the next trial."""
        named: Mapping[str, str] = getattr(run.experiment.spec.tool, "secrets", {})
        if not named:
            return {}
        values = self._vault.values(run.experiment.workspace_id, set(named.values()))
        return {variable: values[name] for variable, name in named.items()}

    @cached_property
    def _vault(self) -> Vault:
        return open_vault(self._settings, self._store)
