"""Sessions: made, found by id or name, changed, and deleted with everything in them."""

from __future__ import annotations

import uuid

from sqlalchemy import and_, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from tunesmith.domain import Session, utcnow
from tunesmith.errors import SessionNotFound
from tunesmith.store.queries import SCOPE, ours, taken
from tunesmith.store.removals import RemovalQueries
from tunesmith.store.session_rows import SESSION_COLUMNS, session_of
from tunesmith.store.tables import datasets, optimizations, scenarios, sessions, workspaces
from tunesmith.store.workspaces import DEFAULT, WorkspaceQueries

HELD = select(*SESSION_COLUMNS).where(sessions.c.id == bindparam("id"), ours(sessions)).with_for_update(key_share=True)
# An id comes before a name that says the same.
FOUND = (
    select(*SESSION_COLUMNS)
    .where(
        ours(sessions),
        or_(
            sessions.c.id == bindparam("sid"),
            and_(
                sessions.c.display_name == bindparam("sid"),
                sessions.c.workspace_id == func.coalesce(SCOPE, DEFAULT.scalar_subquery()),
            ),
        ),
    )
    .order_by(sessions.c.id != bindparam("sid"))
    .limit(1)
)


class SessionQueries(RemovalQueries, WorkspaceQueries):
    """Queries on sessions.

    Whoever changes what is in a session holds its row first: before its jobs, their experiments, and the trials.
    """

    def sessions(self, workspace_id: str) -> list[Session]:
        """All sessions of a workspace, oldest first."""
        query = select(*SESSION_COLUMNS).where(sessions.c.workspace_id == workspace_id)
        rows = self.connection.execute(query.order_by(sessions.c.created_at, sessions.c.id))
        return list(map(session_of, rows))

    def session(self, sid: str) -> Session:
        """The one of this id or, in the transaction's or else the default workspace, of this name.

        Raises:
            SessionNotFound: there is none.
        """
        row = self.connection.execute(FOUND, {"sid": sid, **self.scope}).first()
        if row is None:
            raise _missing(sid)
        return session_of(row)

    def lock_session(self, session_id: str) -> Session:
        """Read one and hold its row to the end of the transaction. Raises SessionNotFound (it was deleted meanwhile).

        Others may go on to refer to it.
        """
        row = self.connection.execute(HELD, {"id": session_id, **self.scope}).first()
        if row is None:
            raise _missing(session_id)
        return session_of(row)

    def hold_sessions(self, workspace_id: str) -> None:
        """Let nobody else delete sessions of a workspace until the end of the transaction; before any is held."""
        query = select(workspaces.c.id).where(workspaces.c.id == workspace_id)
        self.connection.execute(query.with_for_update(key_share=True))

    def create_session(self, workspace_id: str, display_name: str, max_parallel: int = 1) -> Session:
        """Make one. Raises NameTaken."""
        row = {
            "id": str(uuid.uuid4()),
            "workspace_id": workspace_id,
            "display_name": display_name,
            "max_parallel": max_parallel,
            "created_at": utcnow(),
        }
        query = self.insert(sessions).on_conflict_do_nothing().returning(*SESSION_COLUMNS)
        made = self.connection.execute(query, row).first()
        if made is None:
            raise taken("session", "display_name", display_name)
        return session_of(made)

    def change_session(
        self, session_id: str, display_name: str | None = None, max_parallel: int | None = None
    ) -> Session:
        """Rename it, or let more or fewer of its scenarios run at once. Raises NameTaken, SessionNotFound."""
        session = self.lock_session(session_id)
        given = {"display_name": display_name, "max_parallel": max_parallel}
        changes = {name: value for name, value in given.items() if value is not None}
        if not changes:
            return session
        if display_name is not None:
            self._refuse_taken(session, display_name)
        try:
            self.connection.execute(update(sessions).where(sessions.c.id == session_id).values(changes))
        except IntegrityError as error:  # somebody else took the name meanwhile
            raise taken("session", "display_name", str(display_name)) from error
        return session.evolve(**changes)

    def delete_session(self, session_id: str) -> None:
        """Delete one with its datasets, and its scenarios with their runs; their files are left over.

        Optimizations in it stay as experiments, archived, as their data are gone; one that waits is cancelled.

        Raises:
            SessionNotFound: there is none.
            StateForbids: something of it runs.
        """
        self.lock_session(session_id)
        searches = select(optimizations.c.experiment_id).where(optimizations.c.session_id == session_id)
        computed = select(scenarios.c.experiment_id).where(
            scenarios.c.session_id == session_id, scenarios.c.experiment_id.is_not(None)
        )
        every = [*self.connection.scalars(searches), *self.connection.scalars(computed)]
        self.hold_idle(every, "Something of the session is running; cancel it, or wait until it has ended")
        self.retire(list(self.connection.scalars(searches)))
        self.connection.execute(delete(optimizations).where(optimizations.c.session_id == session_id))
        ids = list(self.connection.scalars(computed))
        self.connection.execute(delete(scenarios).where(scenarios.c.session_id == session_id))
        self.remove_experiments(ids)
        gone = delete(datasets).where(datasets.c.session_id == session_id).returning(datasets.c.files)
        self.release_files(set(self.connection.scalars(gone)))
        self.connection.execute(delete(sessions).where(sessions.c.id == session_id))

    def _refuse_taken(self, session: Session, display_name: str) -> None:
        query = select(sessions.c.id).where(
            sessions.c.workspace_id == session.workspace_id, sessions.c.display_name == display_name
        )
        if self.connection.scalar(query) not in (None, session.id):
            raise taken("session", "display_name", display_name)


def _missing(sid: str) -> SessionNotFound:
    return SessionNotFound(f"No session has the id or name {sid!r}", session=sid)
