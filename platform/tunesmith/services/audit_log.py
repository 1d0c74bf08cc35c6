"""Records on their way into the audit log: kept in memory for a moment, and written together."""

from __future__ import annotations

import logging
import threading

from tunesmith.domain.audit import DeedHere
from tunesmith.errors import DatabaseUnavailable
from tunesmith.services.later import Later
from tunesmith.store import Store

log = logging.getLogger("tunesmith.audit")

WRITE_S = 0.1
"""Seconds until a record is written."""
RETRY_S = 1.0
"""Seconds until records are written again that the database did not take."""
AT_ONCE = 1000
"""Records of one transaction, at most."""
KEPT = 20_000
"""Records that are kept while the database is away, at most."""


class AuditLog:
    """What an application, or an Optuna server, writes into the audit log; safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[DeedHere] = []
        self._closing = False
        self._later, self._again = Later(self._write, WRITE_S), Later(self._write, RETRY_S)

    def add(self, deed: DeedHere) -> None:
        """Write a record, soon; it asks no database."""
        with self._lock:
            self._waiting.append(deed)
        self._later.ask()

    def close(self) -> None:
        """Write the rest, if the database takes it now. An application that starts again can go on with it."""
        self._closing = True
        self._again.close()
        self._later.close()
        self._closing = False

    def _write(self) -> None:
        while deeds := self._taken():
            try:
                with self._store.write() as tx:
                    tx.add_audit(deeds)
            except DatabaseUnavailable:
                self._put_back(deeds)
                raise

    def _taken(self) -> list[DeedHere]:
        with self._lock:
            taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        return taken

    def _put_back(self, deeds: list[DeedHere]) -> None:
        with self._lock:
            self._waiting = [*deeds, *self._waiting]
            lost = len(self._waiting) - KEPT
            if lost > 0:
                del self._waiting[:lost]
                log.error("%d records of the audit log are lost, as the database is away", lost)
        if not self._closing:
            self._again.ask()
