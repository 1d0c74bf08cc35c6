"""The store: an engine, its transactions, and the queries of every resource under one roof."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy import Engine

from tunesmith.store import engine as engines
from tunesmith.store import migrate
from tunesmith.store.agenda import AgendaQueries
from tunesmith.store.audit import AuditQueries
from tunesmith.store.experiments import ExperimentQueries
from tunesmith.store.housekeeping import HousekeepingQueries
from tunesmith.store.idempotency import IdempotencyQueries
from tunesmith.store.identity import IdentityQueries
from tunesmith.store.model_runs import ModelRunQueries
from tunesmith.store.rates import RateQueries
from tunesmith.store.recording import RecordingQueries
from tunesmith.store.records import RecordQueries
from tunesmith.store.secrets import SecretQueries
from tunesmith.store.sign_ins import SignInQueries
from tunesmith.store.studies import StudyQueries
from tunesmith.store.study_leases import StudyLeaseQueries
from tunesmith.store.totals import TotalQueries
from tunesmith.store.trained_models import TrainedModelQueries
from tunesmith.store.turn import Turn
from tunesmith.store.workspaces import WorkspaceQueries


class Tx(
    TrainedModelQueries,
    HousekeepingQueries,
    AgendaQueries,
    RecordQueries,
    StudyLeaseQueries,
    StudyQueries,
    RecordingQueries,
    ExperimentQueries,
    WorkspaceQueries,
    IdempotencyQueries,
    TotalQueries,
    ModelRunQueries,
    RateQueries,
    IdentityQueries,
    SignInQueries,
    AuditQueries,
    SecretQueries,
):
    """One transaction and every query in it. Any method may raise DatabaseUnavailable."""


class Store:
    """A database that transactions are opened on; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.workspace_id: str | None = None
        self._turn = Turn(engine.url.database, engines.BUSY_TIMEOUT_S) if self.embedded else None

    def scoped(self, workspace_id: str | None) -> Store:
        """The same store for one workspace: its transactions find, list and count nothing else; None: everything.

        What belongs to an experiment, job or session is asked for with that, which has to be found first.
        """
        scoped = copy.copy(self)
        scoped.workspace_id = workspace_id
        return scoped

    @property
    def embedded(self) -> bool:
        """Whether it is SQLite: one machine, one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self, single: bool = False) -> Iterator[Tx]:
        """A transaction that may write; `single`: of one statement on PostgreSQL. Raises DatabaseUnavailable."""
        with self._turn or nullcontext(), engines.transaction(self.engine, True, single) as connection:
            yield Tx(connection, self.workspace_id)

    @contextmanager
    def read(self, single: bool = False) -> Iterator[Tx]:
        """A transaction that only reads, and waits for no writer; `single` as above. Raises DatabaseUnavailable."""
        with engines.transaction(self.engine, False, single) as connection:
            yield Tx(connection, self.workspace_id)

    def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        engines.ping(self.engine)

    def upgrade(self) -> None:
        """Bring the tables to the newest version. Raises DatabaseUnavailable."""
        migrate.upgrade(self.engine)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self._turn is not None:
            self._turn.close()


def open_store(url: str, pool_size: int = 5) -> Store:
    """A store on `sqlite:///path`, `sqlite://` (in memory) or `postgresql+psycopg://...`; `pool_size` for PostgreSQL.

    Raises:
        InvalidSettings: the URL is none, or names another database.
        DatabaseUnavailable: the directory of the SQLite file cannot be made.
    """
    return Store(engines.open_engine(url, pool_size))
