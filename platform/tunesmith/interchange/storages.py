"""Optuna's storages, opened by what people write: a database's URL, or the file of a journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from tunesmith.errors import BadRequest, Conflict
from tunesmith.interchange.content import Content, Progress, unreadable
from tunesmith.interchange.files import whole
from tunesmith.interchange.rdb import add_trials
from tunesmith.interchange.studies import directions, frozen_trials, read_study, write_study

JOURNAL = "journal:"
JOURNALS = (".log", ".journal")
"""Endings of journal files."""
DATABASES = (".db", ".sqlite", ".sqlite3")
"""Endings of SQLite files."""
SQLITE = "sqlite:///"


def is_storage(place: str) -> bool:
    """Whether people mean one of Optuna's storages by it."""
    return place.startswith(JOURNAL) or "://" in place or place.lower().endswith(JOURNALS + DATABASES)


def read_storage(place: str, study: str | None = None) -> Iterator[Content]:
    """The studies of a storage, or the one of this name.

    Raises:
        InvalidBody: there is no storage, it cannot be opened, or it has no such study.
    """
    with _errors(place):
        storage = _opened(place)
        studies = {found.study_name: found._study_id for found in storage.get_all_studies()}
        if study is not None and study not in studies:
            raise unreadable(place, f"no study is called {study!r}; there are {', '.join(studies) or 'none'}")
        if not studies:
            raise unreadable(place, "there is no study in it")
    for name in sorted(studies) if study is None else [study]:
        with _errors(place):
            found = read_study(storage, studies[name], name)
        yield found


def write_storage(place: str, content: Content, name: str, progress: Progress | None = None) -> None:
    """Add a study to a storage, which is made if it is new; on an error nothing is added.

    Raises:
        Conflict: there is a study of this name.
        InvalidBody: the storage cannot be opened or written.
    """
    with _errors(place):
        path, journal = _place(place)
        if journal:
            _write_journal(Path(path), content, name, progress)
        elif path.startswith(SQLITE) and not _file_of(path).exists():
            whole(_file_of(path), lambda partial: _write_new(f"{SQLITE}{partial}", content, name, progress))
        else:
            _check_room(place, path)
            _add(RDBStorage(path), content, name, progress)


def _place(place: str) -> tuple[str, bool]:
    """The URL of a database, or the path of a journal; and whether it is a journal."""
    if place.startswith(JOURNAL):
        return place.removeprefix(JOURNAL), True
    if "://" not in place:
        return (place, True) if place.lower().endswith(JOURNALS) else (SQLITE + str(Path(place).absolute()), False)
    url = make_url(place)
    if url.drivername in ("postgresql", "postgres") and find_spec("psycopg2") is None:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadRequest(f"{place} is a database in memory, which ends with this command; name a file")
    return url.render_as_string(hide_password=False), False


def _file_of(url: str) -> Path:
    return Path(str(make_url(url).database))


def _opened(place: str) -> BaseStorage:
    path, journal = _place(place)
    if journal:
        _check_journal(Path(path))
        return JournalStorage(JournalFileBackend(path))
    if path.startswith(SQLITE) and not _file_of(path).is_file():
        raise unreadable(place, "there is no such file")
    # Optuna would make its tables in any database that it is shown.
    if "studies" not in _tables(path):
        raise unreadable(place, "it is no storage of Optuna's: there is no table `studies`")
    return RDBStorage(path)


def _check_room(place: str, url: str) -> None:
    """Raise BadRequest where Optuna's tables would meet somebody else's of the same name: a platform's, above all."""
    tables = _tables(url)
    if "trials" in tables and "studies" not in tables:
        raise BadRequest(f"{_shown(place)} has a table `trials` that is not Optuna's; name another database")


def _tables(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _check_journal(path: Path) -> None:
    """Raise InvalidBody unless every line is an operation; the last one may be cut short, as Optuna has it."""
    if not path.is_file():
        raise unreadable(path, "there is no such file")
    with path.open("rb") as stream:
        lines = stream.read().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            operation = json.loads(line)
        except ValueError as error:
            raise unreadable(
                path, f"line {number} is no JSON, so this is no journal of Optuna's", line=number
            ) from error
        if not isinstance(operation, dict) or "op_code" not in operation:
            raise unreadable(path, f"line {number} is no operation of Optuna's journal", line=number)


class Collected(BaseJournalBackend):
    """Operations in memory: those of a journal, and what is added behind them."""

    def __init__(self, logs: list[dict[str, Any]]) -> None:
        self.logs = logs

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The operations from one on."""
        yield from self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add operations, as a file would give them back."""
        self.logs += json.loads(json.dumps(logs))


def _write_journal(path: Path, content: Content, name: str, progress: Progress | None) -> None:
    if path.exists():
        _check_journal(path)
    elif not path.absolute().parent.is_dir():
        raise BadRequest(f"{path}: the directory {path.absolute().parent} does not exist")
    there = list(JournalFileBackend(str(path)).read_logs(0)) if path.exists() else []
    backend = Collected(list(there))
    _add(JournalStorage(backend), content, name, progress)
    # In one piece, under the journal's own lock.
    JournalFileBackend(str(path)).append_logs(backend.logs[len(there) :])


def _write_new(url: str, content: Content, name: str, progress: Progress | None) -> None:
    storage = RDBStorage(url)
    _add(storage, content, name, progress)
    storage.remove_session()
    storage.engine.dispose()


def _add(storage: BaseStorage, content: Content, name: str, progress: Progress | None) -> None:
    if name in {found.study_name for found in storage.get_all_studies()}:
        raise Conflict(f"the storage has a study {name!r} already; give this one another name (`--name`)", name=name)
    study_id = storage.create_new_study(directions(content), name)
    try:
        write_study(storage, study_id, content)
        if isinstance(storage, RDBStorage):
            add_trials(storage, study_id, frozen_trials(content), progress)
        else:
            _add_one_by_one(storage, study_id, content, progress)
    except BaseException:
        storage.delete_study(study_id)
        raise


def _add_one_by_one(storage: BaseStorage, study_id: int, content: Content, progress: Progress | None) -> None:
    for done, trial in enumerate(frozen_trials(content), 1):
        storage.create_new_trial(study_id, trial)
        if progress is not None:
            progress(done)


@contextmanager
def _errors(place: str) -> Iterator[None]:
    """Optuna's and SQLAlchemy's errors in our words, without the URL's password."""
    try:
        yield
    except (OptunaError, SQLAlchemyError, RuntimeError, ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise unreadable(_shown(place), f"the storage cannot be used: {reason}") from error


def _shown(place: str) -> str:
    """The place without its password."""
    return make_url(place).render_as_string() if "://" in place else place
