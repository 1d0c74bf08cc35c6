"""Where a script's runs are kept: any database of the platform, a file by its path, or memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tunesmith.client.tune_result import Result
from tunesmith.domain import Experiment, JobState
from tunesmith.errors import InvalidBody
from tunesmith.store import Store, Tx, open_store

MEMORY = "sqlite://"
"""In memory: gone with the call."""


def url_of(storage: str | Path | None) -> str:
    """The SQLAlchemy URL of a storage. Raises InvalidBody."""
    if storage is None:
        return MEMORY
    if isinstance(storage, Path):
        return f"sqlite:///{storage}"
    try:
        backend = make_url(storage).get_backend_name()
    except ArgumentError:
        backend = "?"
    if backend not in ("sqlite", "postgresql"):
        shown = repr(storage) if "@" not in storage else "the URL given"
        raise InvalidBody(f"storage: {shown} is no database; write sqlite:///runs.db, or postgresql://user@host/name")
    return storage


def opened(url: str) -> Store:
    """The migrated store. Raises DatabaseUnavailable."""
    store = open_store(url)
    try:
        store.upgrade()
    except BaseException:
        store.close()
        raise
    return store


def file_of(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory, or another kind."""
    parsed = make_url(url)
    on_disk = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)).absolute() if on_disk else None


def stays(url: str) -> bool:
    """Whether the database is there after it was closed."""
    return file_of(url) is not None or make_url(url).get_backend_name() != "sqlite"


def artifacts_of(url: str, scratch: str) -> str:
    """The directory for functions, logs and checkpoints: beside a database file, else a temporary one."""
    file = file_of(url)
    if file is None:
        return scratch
    return str(file.with_name(file.name + ".artifacts"))


def read_result(store: Store, url: str, experiment_id: int, kept: bool) -> Result:
    """Everything that a run found. `kept`: the database stays, so that curves can be read when they are wanted."""
    with store.read() as tx:
        experiment = tx.experiment(experiment_id)
        newest = tx.jobs(experiment_id=experiment_id, limit=1).items
        stopped = newest[0].message if newest and newest[0].state is JobState.SUCCEEDED else None
        begun = [trial for trial in tx.history(experiment_id) if trial.started_at is not None]
        if not kept:
            curves = _curves(tx, experiment)
            return Result(experiment.spec, begun, lambda: curves, stopped)
    return Result(experiment.spec, begun, lambda: _read_curves(url, experiment), stopped)


def _read_curves(url: str, experiment: Experiment) -> Mapping[int, Mapping[int, float]]:
    store = open_store(url)
    try:
        with store.read() as tx:
            return _curves(tx, experiment)
    finally:
        store.close()


def _curves(tx: Tx, experiment: Experiment) -> Mapping[int, Mapping[int, float]]:
    return tx.curves(experiment.id, experiment.spec.objectives[0].metric)
