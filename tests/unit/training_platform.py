"""A platform without Ray, for the tests of what talks to it about training jobs: the service, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serve_app.app import build
from tests.integration.conftest import served
from tunesmith.client import Client
from tunesmith.domain import Job, JobState
from tunesmith.settings import Settings
from tunesmith.storage import Storage, trial_key
from tunesmith.store import Store
from tunesmith.testing import memory_store
from tunesmith.testing.training_contract import claim, finish


@dataclass
class Platform:
    """The service on a port, its client, and its database."""

    url: str
    client: Client
    store: Store
    settings: Settings

    def claim(self) -> Job:
        """Take the one queued firing, as a runner does."""
        (job,) = claim(self.store)
        return job

    def run(self, to: JobState = JobState.SUCCEEDED, error: str | None = None) -> Job:
        """Run the one queued firing to the end of an attempt."""
        return finish(self.store, self.claim(), to, error)

    def write_log(self, name: str, number: int, text: str) -> None:
        """What an attempt of a training job printed."""
        experiment = self.client.training_jobs.get(name).info.experiment_id
        Storage(self.settings.artifacts).write(f"{trial_key(experiment, number)}/log.txt", text.encode())


@contextmanager
def platform(directory: Path, store: Store, **settings: object) -> Iterator[Platform]:
    """A platform on a store, for as long as the block runs."""
    chosen = Settings.model_validate({"data_dir": directory, **settings})
    with served(build(chosen, store=store)) as url, Client(url) as client:
        yield Platform(url, client, store, chosen)


@contextmanager
def another(directory: Path, **settings: object) -> Iterator[Platform]:
    """An empty one."""
    store = memory_store()
    with platform(directory, store, **settings) as found:
        yield found
    store.close()
