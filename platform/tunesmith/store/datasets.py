"""Datasets: which there are in a session, and where their files lie; a change is another version at once."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import bindparam, delete, func, select, update

from tunesmith.domain import ENDED, Dataset, JobState, TableInfo, render_time, utcnow
from tunesmith.errors import Conflict, DataInUse, DatasetNotFound
from tunesmith.store.queries import taken
from tunesmith.store.session_rows import DATASET_COLUMNS, dataset_of
from tunesmith.store.sessions import SessionQueries
from tunesmith.store.tables import datasets, jobs, optimizations, scenarios

DatasetType = Literal["master", "derived", "dummy"]
BY_ID = select(*DATASET_COLUMNS).where(datasets.c.id == bindparam("id"))
BY_KEY = select(*DATASET_COLUMNS).where(
    datasets.c.session_id == bindparam("session_id"), datasets.c.key == bindparam("key")
)
OPEN = [state.value for state in JobState if state not in ENDED]


class DatasetQueries(SessionQueries):
    """Queries on datasets."""

    def datasets(self, session_id: str) -> list[Dataset]:
        """A session's datasets, oldest first."""
        query = select(*DATASET_COLUMNS).where(datasets.c.session_id == session_id)
        rows = self.connection.execute(query.order_by(datasets.c.created_at, datasets.c.id))
        return list(map(dataset_of, rows))

    def dataset(self, session_id: str, key: str) -> Dataset:
        """The session's dataset of this name. Raises DatasetNotFound."""
        row = self.connection.execute(BY_KEY, {"session_id": session_id, "key": key}).first()
        if row is None:
            raise DatasetNotFound(f"The session has no dataset {key!r}", key=key)
        return dataset_of(row)

    def dataset_by_id(self, dataset_id: str) -> Dataset:
        """Read one. Raises DatasetNotFound."""
        row = self.connection.execute(BY_ID, {"id": dataset_id}).first()
        if row is None:
            raise DatasetNotFound(f"No dataset has the id {dataset_id!r}", id=dataset_id)
        return dataset_of(row)

    def check_free(self, session_id: str, key: str, overwrite: bool = False) -> Dataset | None:
        """The dataset that `put_dataset` would replace; None: there is none.

        Raises:
            NameTaken: there is one, and it is not to be replaced.
            DataInUse: something that has not ended is computed on it.
        """
        row = self.connection.execute(BY_KEY, {"session_id": session_id, "key": key}).first()
        if row is None:
            return None
        present = dataset_of(row)
        if not overwrite:
            raise taken("dataset", "key", key)
        self._refuse_busy(present)
        return present

    def put_dataset(
        self,
        session_id: str,
        key: str,
        type: DatasetType,  # noqa: A002  # the document's word
        files: str,
        tables: Sequence[TableInfo],
        metadata: Mapping[str, JsonValue],
        bytes: int,  # noqa: A002
        overwrite: bool = False,
    ) -> Dataset:
        """Store what was uploaded, after `begin_upload(files)`; a dataset that is replaced keeps its id.

        Raises:
            SessionNotFound: the session was deleted meanwhile.
            NameTaken, DataInUse: as for `check_free`.
            Conflict: the upload was not begun, or took longer than a day.
        """
        self.lock_session(session_id)
        present = self.check_free(session_id, key, overwrite)
        if not self.end_upload(files):
            raise Conflict("The upload took longer than a day, and its files were removed; send it again")
        row = {
            "type": type,
            "files": files,
            "tables": [table.model_dump(mode="json") for table in tables],
            "metadata": dict(metadata),
            "bytes": bytes,
            "created_at": utcnow(),
        }
        if present is None:
            return self._add_dataset(row | {"id": str(uuid.uuid4()), "session_id": session_id, "key": key})
        query = update(datasets).where(datasets.c.id == present.id).values(row).returning(*DATASET_COLUMNS)
        changed = dataset_of(self.connection.execute(query).one())
        self._let_go(present)
        return changed

    def delete_dataset(self, session_id: str, key: str) -> None:
        """Delete one. Optimizations on it stay as experiments, archived, as their data are gone.

        Raises:
            SessionNotFound, DatasetNotFound: there is none.
            DataInUse: there is a scenario on it, or an optimization on it has not ended.
        """
        self.lock_session(session_id)
        dataset = self.dataset(session_id, key)
        used = select(scenarios.c.tag).where(scenarios.c.dataset_id == dataset.id).order_by(scenarios.c.created_at)
        tags = list(self.connection.scalars(used.limit(3)))
        if tags:
            shown = ", ".join(map(repr, tags))
            raise DataInUse(f"Scenarios use the dataset {key!r} ({shown}); delete them first", key=key, scenarios=tags)
        self._refuse_busy(dataset)
        searches = self._searches(dataset)
        self.connection.execute(delete(optimizations).where(optimizations.c.dataset_id == dataset.id))
        self.connection.execute(delete(datasets).where(datasets.c.id == dataset.id))
        self.retire(searches)
        self.release_files([dataset.files])

    def copy_dataset(
        self,
        dataset: Dataset,
        session_id: str,
        key: str | None = None,
        type: DatasetType | None = None,  # noqa: A002
    ) -> Dataset:
        """Another dataset with the same tables, whose files both share; its session's row has to be held.

        With a `key` it has a name, an id and a date of its own, else all but the session is the same.

        Raises:
            NameTaken: the session has one of that name.
        """
        new_id = str(uuid.uuid4())
        row = dataset.model_dump(mode="json") | {"id": new_id, "session_id": session_id, "created_at": utcnow()}
        if key is not None:
            own = {"id": new_id, "name": key, "creation_datetime": render_time(utcnow())}
            row |= {"key": key, "type": type or dataset.type, "metadata": {**dataset.metadata, **own}}
        return self._add_dataset(row)

    def _add_dataset(self, row: Mapping[str, Any]) -> Dataset:
        query = self.insert(datasets).on_conflict_do_nothing().returning(*DATASET_COLUMNS)
        made = self.connection.execute(query, row).first()
        if made is None:
            raise taken("dataset", "key", row["key"])
        return dataset_of(made)

    def _let_go(self, replaced: Dataset) -> None:
        """What becomes of the files of a version that was replaced, and of optimizations on it."""
        shared = select(func.count()).where(datasets.c.files == replaced.files)
        if not self.connection.scalar(shared):
            self.retire(self._searches(replaced))
        self.release_files([replaced.files])

    def _searches(self, dataset: Dataset) -> list[int]:
        query = select(optimizations.c.experiment_id).where(optimizations.c.dataset_id == dataset.id)
        return list(self.connection.scalars(query))

    def _refuse_busy(self, dataset: Dataset) -> None:
        on = [
            select(table.c.experiment_id).where(table.c.dataset_id == dataset.id)
            for table in (scenarios, optimizations)
        ]
        busy = select(jobs.c.id).where(jobs.c.experiment_id.in_(on[0].union_all(on[1])), jobs.c.state.in_(OPEN))
        job_id = self.connection.scalar(busy.limit(1))
        if job_id is not None:
            message = f"Something is computed on the dataset {dataset.key!r}; cancel it, or wait until it has ended"
            raise DataInUse(message, key=dataset.key, job_id=job_id)
