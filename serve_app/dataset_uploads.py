"""Datasets that are uploaded, as a document or as files; what they will take in the storage is announced first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Response

from serve_app.answers import answer
from serve_app.context import Context, log
from serve_app.fields import headline, nearest
from serve_app.idempotency import Once, perform
from serve_app.uploads import Form
from tuners.hosting import etl
from tuners.hosting.documents import DocumentTask, Stored
from tuners.hosting.host import TimedOut
from tunesmith.errors import Internal, InvalidBody, InvalidData, StorageUnavailable
from tunesmith.etl import EtlOutcome, Message, Upload
from tunesmith.schemas.datasets import EtlAnswer, KeyList, MessageAnswer, key_problem
from tunesmith.schemas.sessions import MAX_NAME
from tunesmith.services import datasets as service

UPLOADS = ThreadPoolExecutor(2, "upload")
"""Where uploads are worked on, two at once: they take neither the endpoints' threads nor all the memory."""
ETL_S = 3600.0
"""Seconds that the ETL of one upload may take."""
FIELDS = ("dataset_name", "files")
"""The fields of a form."""
FORM_KINDS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""What the form of any web page could send."""


def check_kind(content_type: str) -> None:
    """Raise InvalidBody for what a browser's form sends; a document need not be announced as JSON."""
    if content_type.partition(";")[0].strip().lower() in FORM_KINDS:
        raise InvalidBody("send the dataset as JSON, with the header Content-Type: application/json")


def check_extension(filename: str) -> None:
    """Raise InvalidData unless files of this name can be read."""
    assert Upload(Path(), filename).format


def check_form(form: Form) -> tuple[str, list[Upload]]:
    """The name of the dataset and the files of it. Raises InvalidBody with every field error."""
    name, files = form.fields.get("dataset_name"), [file for file in form.files if file.field == "files"]
    fields = [_finding(other, f"unknown field {other!r}{nearest(other, FIELDS)}") for other in _strangers(form)]
    if name is None:
        fields.append(_finding("dataset_name", "required, but missing"))
    elif (problem := key_problem(name)) is not None:
        fields.append(_finding("dataset_name", problem, name))
    if "files" in form.fields:
        fields.append(_finding("files", "must be files, with their names"))
    elif not files:
        fields.append(_finding("files", "required, but missing"))
    if fields or name is None:
        raise InvalidBody(headline(fields), fields=fields)
    return name, [Upload(file.path, file.name) for file in files]


@dataclass(frozen=True)
class Arrival:
    """A dataset that somebody uploads."""

    here: Context
    """The surroundings."""
    session_id: str
    """Where it goes: the session's id or name."""
    overwrite: bool
    """Whether it may replace one of the same name."""
    once: Once | None
    """The request's identity."""

    def document(self, path: Path) -> Response:
        """Store a dataset's JSON; a large one is read in a process of its own.

        Raises:
            InvalidData: it is none.
            NameTaken, DataInUse: the session has one of its name, which is not to be replaced, or is in use.
            QuotaExceeded: the workspace has no room for it.
        """
        if (earlier := self._earlier()) is not None:
            return earlier
        small = path.stat().st_size <= self.here.settings.max_body_bytes
        with self._announced() as files:
            task = DocumentTask(path, self.here.settings.artifacts, files)
            stored = task.store() if small else task.store_apart()
            if (problem := key_problem(stored.name)) is not None:
                raise InvalidData(f"metadata.name: {problem}", field="metadata.name", value=stored.name[:MAX_NAME])
            return self._put(files, stored, lambda keys: answer(KeyList(keys=keys), 201))

    def form(self, name: str, uploads: Sequence[Upload]) -> Response:
        """Make a dataset of files; what is wrong inside them is said in the answer.

        Raises:
            InvalidData: a file cannot be read at all.
            NameTaken, DataInUse, QuotaExceeded: as for `document`.
        """
        from tunesmith.data import DataSource  # pandas, which an application without uploads does not need

        if (earlier := self._earlier()) is not None:
            return earlier
        with self.here.store.read() as tx:
            service.check_free(tx, tx.session(self.session_id), name, self.overwrite)
        with self._announced() as files:
            outcome = self._cleaned(name, uploads, files)
            source = DataSource(name)
            stored = Stored(name, source.type, source.metadata, outcome.tables, outcome.bytes)
            return self._put(files, stored if outcome.success else None, partial(_etl_answer, name, outcome))

    def _earlier(self) -> Response | None:
        with self.here.store.read() as tx:
            tx.session(self.session_id)
            return None if self.once is None else self.once.replay(tx)

    @contextmanager
    def _announced(self) -> Iterator[str]:
        """A key prefix for files, which go at once where something raises, and in a day where this process dies."""
        from tunesmith.data import new_files  # as above

        files = new_files()
        with self.here.store.write() as tx:
            tx.check_storage(1)
            tx.begin_upload(files)
        try:
            yield files
        except BaseException:
            with suppress(StorageUnavailable):
                self.here.storage.remove_all(files)
            raise

    def _cleaned(self, name: str, uploads: Sequence[Upload], files: str) -> EtlOutcome:
        plugins, artifacts = self.here.registry.references, self.here.settings.artifacts
        try:
            return etl.run(uploads, name, plugins, artifacts, files, limit_s=ETL_S)
        except (Internal, TimedOut) as error:  # an operator's own code: whoever sent the files should know
            log.warning("the ETL of %r failed: %s", name, error)
            return EtlOutcome(success=False, messages=(Message(severity="critical", message=str(error)),))

    def _put(self, files: str, stored: Stored | None, render: Callable[[tuple[str, ...]], Response]) -> Response:
        """Keep what was stored, if anything was; the answer is made of the session's keys."""

        def work() -> Response:
            session = tx.session(self.session_id)
            if stored is not None:
                tx.check_storage(stored.bytes)
                kept = (stored.name, stored.type, files, stored.tables, stored.metadata, stored.bytes)
                tx.put_dataset(session.id, *kept, overwrite=self.overwrite)
                self.here.added(tx, session, stored.name)
            return render(tuple(dataset.key for dataset in tx.datasets(session.id)))

        with self.here.store.write() as tx:
            response = perform(tx, self.once, work)
        self.here.wake()
        return response


def _etl_answer(name: str, outcome: EtlOutcome, keys: tuple[str, ...]) -> Response:
    messages = tuple(MessageAnswer.model_construct(**message.model_dump()) for message in outcome.messages)
    return answer(EtlAnswer(dataset_name=name, success=outcome.success, keys=keys, messages=messages))


def _strangers(form: Form) -> list[str]:
    sent = [*form.fields, *(file.field for file in form.files)]
    return [name for name in dict.fromkeys(sent) if name not in FIELDS]


def _finding(field: str, message: str, value: str | None = None) -> dict[str, Any]:
    return {"field": field, "message": message, "value": value}
