"""Datasets: derived from one another, and deleted. They are stored by `put_dataset`, after `begin_upload`."""

from __future__ import annotations

from tunesmith.domain import Dataset, Session
from tunesmith.store import Tx


def check_free(tx: Tx, session: Session, key: str, overwrite: bool = False) -> None:
    """Raise NameTaken or DataInUse where a dataset could not be stored now: asked before anything is uploaded."""
    tx.check_free(session.id, key, overwrite)


def derive(tx: Tx, session: Session, key: str, new_key: str) -> Dataset:
    """A copy of a dataset under another name, of the type `derived`; nothing is copied but its row.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
        DatasetNotFound: there is none of that key.
        NameTaken: there is one of the new key.
    """
    tx.lock_session(session.id)
    return tx.copy_dataset(tx.dataset(session.id, key), session.id, new_key, "derived")


def delete(tx: Tx, session: Session, key: str) -> None:
    """Delete one. Raises SessionNotFound, DatasetNotFound, DataInUse."""
    tx.delete_dataset(session.id, key)
