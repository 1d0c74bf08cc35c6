"""What an application of sessions has from the start: session `main`, and the datasets of its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from serve_app.context import Context
from tunesmith.data import DataSource, new_files
from tunesmith.data.files import write_tables
from tunesmith.domain import Session
from tunesmith.errors import NameTaken
from tunesmith.services import sessions as service


def seed(here: Context, datasets: Sequence[DataSource]) -> None:
    """Make sure that there is a session, and that the default one has these datasets."""
    with here.store.write() as tx:
        fresh = not tx.sessions(tx.default_workspace())
        session = service.ensure(tx)
        if fresh:
            session = service.change(tx, session, max_parallel=here.max_parallel)
        present = {dataset.key for dataset in tx.datasets(session.id)}
    for dataset in datasets:
        if dataset.name not in present:
            with suppress(NameTaken):  # another process of this application was faster
                _add(here, session, dataset)


def _add(here: Context, session: Session, dataset: DataSource) -> None:
    files = new_files()
    with here.store.write() as tx:
        tx.begin_upload(files)
    tables, size = write_tables(here.storage, files, dataset)
    with here.store.write() as tx:
        tx.put_dataset(session.id, dataset.name, dataset.type, files, tables, dataset.metadata, size)
        here.added(tx, session, dataset.name)
