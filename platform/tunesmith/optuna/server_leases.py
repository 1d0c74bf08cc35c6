"""Who holds which trial of those that an Optuna server handed out: in memory at once, in SQL every second."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from tunesmith.errors import TunesmithError
from tunesmith.store import Store, Tx
from tunesmith.store.study_trials import REMOTE

log = logging.getLogger("tunesmith.optuna")

CONNECTED_S = 60.0
"""Seconds that a trial is left to a client that sends heartbeats, after the last one."""
TICK_S = 1.0
"""Seconds between two looks at the leases."""


@dataclass(frozen=True)
class Caller:
    """A process that evaluates trials."""

    worker: str
    """What its trials have as their worker."""
    lease_s: float
    """Seconds that a trial is left to it, after its last call."""


@dataclass
class Held:
    """A trial that a caller holds."""

    caller: Caller
    """Whose it is."""
    fenced: bool
    """Whether it was somebody else's before, so that nobody but the caller may write to it."""
    touched: bool = True
    """Whether it was heard of since the last look."""


class Backend(Protocol):
    """What the leases want of the storage, which may hold writes back and remember rows."""

    def flush(self) -> None:
        """Write everything that was held back. Raises DatabaseUnavailable."""

    def forget(self, trial_ids: Collection[int]) -> None:
        """Read these trials anew when they are next asked for."""


class Leases:
    """The open trials of one server; a thread of its own writes them down and puts back those whose lease ended."""

    def __init__(self, store: Store, backend: Backend, lease_s: float) -> None:
        self._store, self._backend, self._lease_s = store, backend, lease_s
        self._held: dict[int, Held] = {}
        self._back: set[int] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tunesmith-leases", daemon=True)

    def start(self) -> None:
        """Go on with the leases that SQL knows. Raises DatabaseUnavailable."""
        with self._store.write() as tx:
            tx.begin_leases(self._lease_s)
            held, self._back = tx.remotely_held(), tx.handed_back()
        for trial_id, worker, attempt in held:
            self._held[trial_id] = Held(Caller(worker, self._lease_s), attempt > 1, touched=False)
        self._thread.start()

    def stop(self) -> None:
        """Write down the leases as they are, for the next server."""
        self._over.set()
        self._thread.join()
        self._quietly(self._write_down)

    def caller(self, client: str | None, peer: str) -> Caller:
        """Who calls: a client that names itself and sends heartbeats, or whoever has the other end of a connection."""
        if client is None:
            return Caller(f"{REMOTE}{peer}", self._lease_s)
        return Caller(f"{REMOTE}{client[:200]}", min(CONNECTED_S, self._lease_s))

    def take(self, trial_id: int, caller: Caller) -> None:
        """Note that the caller evaluates a trial from now on."""
        with self._lock:
            self._held[trial_id] = Held(caller, fenced=trial_id in self._back)
            self._back.discard(trial_id)

    def end(self, trial_id: int) -> None:
        """Note that a trial is finished."""
        with self._lock:
            self._held.pop(trial_id, None)

    def refusal(self, trial_id: int, caller: Caller) -> str | None:
        """Why the caller may not write to a trial; None if it may, and then its lease begins anew."""
        with self._lock:
            held = self._held.get(trial_id)
            if held is None and trial_id not in self._back:
                return None
            if held is not None and held.caller.worker == caller.worker:
                held.touched, held.caller = True, caller
                return None
            if held is not None and not held.fenced:
                held.touched = True
                return None
        return (
            f"Trial id {trial_id} is not yours any more: its lease ended before you were heard of, so it was given to "
            "another worker; ask for another trial (workers with longer silences: `tunesmith.optuna.connect`, which "
            "sends heartbeats, or a longer `tunesmith optuna-server --lease`)"
        )

    def beat(self, trial_ids: Collection[int], caller: Caller) -> list[int]:
        """Let the caller's leases begin anew; which of the trials it holds still."""
        with self._lock:
            mine = {i: self._held[i] for i in trial_ids if i in self._held}
            mine = {i: held for i, held in mine.items() if held.caller.worker == caller.worker}
            for held in mine.values():
                held.touched, held.caller = True, caller
            return sorted(mine)

    def _run(self) -> None:
        while not self._over.wait(TICK_S):
            self._quietly(self._write_down)
            self._quietly(self._put_back)

    def _quietly(self, step: Callable[[], None]) -> None:
        try:
            step()
        except TunesmithError as error:
            log.warning("leases are looked at again in a second: %s", error.message)
        except Exception:  # this thread must outlive whatever happens, or no trial would ever come back
            log.exception("leases are looked at again in a second")

    def _write_down(self) -> None:
        """Write the leases that began, or began anew, since the last look."""
        with self._lock:
            due = {i: held for i, held in self._held.items() if held.touched}
            for held in due.values():
                held.touched = False
        if not due:
            return
        try:
            with self._store.write() as tx:
                kept = _prolong(tx, due)
        except BaseException:
            for held in due.values():
                held.touched = True
            raise
        with self._lock:
            for trial_id, held in due.items():
                if trial_id not in kept and self._held.get(trial_id) is held:  # somebody else disposed of it
                    self._lose(trial_id)

    def _put_back(self) -> None:
        """Let others have the trials whose lease ended: same number, same parameters, one attempt more."""
        with self._store.read() as tx:
            expired = tx.expired_remotely()
        with self._lock:
            lost = [i for i in expired if not (i in self._held and self._held[i].touched)]
            for trial_id in lost:  # from here on nobody may write to them, and nobody can take them before SQL says so
                self._lose(trial_id)
        if not lost:
            return
        self._backend.flush()
        with self._store.write() as tx:
            for experiment_id in sorted({expired[i].experiment_id for i in lost}):
                tx.lock_experiment(experiment_id)
                still = tx.expired_remotely()
                found = [still[i] for i in lost if i in still and still[i].experiment_id == experiment_id]
                tx.put_back(tx.experiment(experiment_id), found)
        self._backend.forget(lost)
        log.info("nobody was heard of: trials %s wait for other workers", sorted(expired[i].number for i in lost))

    def _lose(self, trial_id: int) -> None:
        self._held.pop(trial_id, None)
        self._back.add(trial_id)


def _prolong(tx: Tx, due: Mapping[int, Held]) -> set[int]:
    """Let these leases begin anew; which of the trials are still their callers'."""
    of: dict[Caller, list[int]] = defaultdict(list)
    for trial_id, held in due.items():
        of[held.caller].append(trial_id)
    return {i for caller, ids in of.items() for i in tx.prolong_remotely(caller.worker, ids, caller.lease_s)}
