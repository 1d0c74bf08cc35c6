"""Sessions: there is always one; made, copied, renamed, deleted."""

from __future__ import annotations

from contextlib import suppress

from tunesmith.domain import Session
from tunesmith.errors import NameTaken
from tunesmith.store import Tx

FIRST = "main"
"""The name of the session that is made when there is none."""


def ensure(tx: Tx) -> Session:
    """The session to begin with, `main` or else the oldest; `main` is made when there is none."""
    return _default(_sessions(tx))


def listing(tx: Tx) -> tuple[list[Session], str]:
    """All sessions, oldest first, at least one, and the id of the one to begin with."""
    found = _sessions(tx)
    return found, _default(found).id


def create(tx: Tx, display_name: str, max_parallel: int = 1) -> Session:
    """Make one. Raises NameTaken, also for a blank name."""
    _refuse_blank(display_name)
    return tx.create_session(tx.workspace(), display_name, max_parallel)


def copy(tx: Tx, session: Session, new_display_name: str, with_scenarios: bool = False) -> Session:
    """Another one with the same datasets, and with the same scenarios, not yet run, if wanted.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
        NameTaken: the name is another session's, or blank.
    """
    _refuse_blank(new_display_name)
    now = tx.lock_session(session.id)
    made = tx.create_session(now.workspace_id, new_display_name, now.max_parallel)
    copies = {dataset.id: tx.copy_dataset(dataset, made.id).id for dataset in tx.datasets(now.id)}
    for scenario in tx.scenarios(now.id) if with_scenarios else ():
        tx.create_scenario(
            made.id,
            scenario.tag,
            copies[scenario.dataset_id],
            scenario.algorithm,
            scenario.parameters,
            scenario.data_parameters,
        )
    return made


def change(tx: Tx, session: Session, display_name: str | None = None, max_parallel: int | None = None) -> Session:
    """Rename it, or let more or fewer of its scenarios run at once.

    Raises:
        SessionNotFound: it was deleted meanwhile.
        NameTaken: the name is another session's, or blank.
    """
    if display_name is not None:
        _refuse_blank(display_name)
    return tx.change_session(session.id, display_name, max_parallel)


def delete(tx: Tx, session: Session) -> None:
    """Delete one with everything in it; after the last one there is a fresh `main`.

    Raises:
        SessionNotFound: it was deleted meanwhile.
        StateForbids: something of it runs.
    """
    tx.hold_sessions(session.workspace_id)
    tx.delete_session(session.id)
    ensure(tx)


def _sessions(tx: Tx) -> list[Session]:
    workspace = tx.workspace()
    found = tx.sessions(workspace)
    if not found:
        with suppress(NameTaken):  # somebody else made it at the same moment
            tx.create_session(workspace, FIRST)
        found = tx.sessions(workspace)
    return found


def _default(sessions: list[Session]) -> Session:
    return next((session for session in sessions if session.display_name == FIRST), sessions[0])


def _refuse_blank(display_name: str) -> None:
    if not display_name.strip():
        message = "The name is blank; give one that people can see"
        raise NameTaken(message, field="display_name", value=display_name)
