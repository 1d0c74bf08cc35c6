"""The housekeeper, beside everything else: files that nobody needs go soon; what is old goes once a day."""

from __future__ import annotations

import logging
import threading

from serve_app.uploads import remove_forgotten
from tunesmith.domain import utcnow
from tunesmith.errors import TunesmithError
from tunesmith.services.housekeeping import DAY_S, any_limit, housekeep, remove_leftovers
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store

log = logging.getLogger("tunesmith.housekeeping")

LOOK_S = 600.0
"""Seconds between two looks at what is to be removed."""


class Housekeeper:
    """Removes what is old, and files that nobody needs, in a thread of its own; any number may be at work at once."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.storage = Storage(settings.artifacts)
        self.over = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="housekeeping", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more; what is under way may be cut off anywhere."""
        self.over.set()

    def look(self) -> bool:
        """Remove files that nobody needs, and what is old if it is time and nobody else does; whether it was."""
        remove_forgotten(self.settings.data_dir)
        remove_leftovers(self.store, self.storage)
        if not any_limit(self.settings):
            return False
        now = utcnow()
        with self.store.write() as tx:
            if not tx.claim_housekeeping(now, DAY_S):
                return False
        removed = housekeep(self.store, self.storage, self.settings, now)
        log.info("removed what is old: %s", removed)
        return True

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                self.look()
            except TunesmithError as error:
                log.warning("housekeeping goes on later: %s", error)
            except Exception:
                log.exception("housekeeping stumbled; it goes on later")
            self.over.wait(LOOK_S)
