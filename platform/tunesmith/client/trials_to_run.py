"""A worker's loop: trials one after the other, their leases kept alive meanwhile, and what is open given back."""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

from tunesmith.client.asking import AWAY, Desk, TrialToRun, is_pruned
from tunesmith.client.retry import Patience
from tunesmith.client.unwinding import Raised, interrupts_show, raised_in
from tunesmith.errors import Exhausted, TunesmithError

BEATS = 3
"""Heartbeats of a lease."""
SOON_S = 1.0
"""Seconds after which a heartbeat that found no server is tried again."""
FAREWELL_S = 10.0
"""Seconds that a loop which is left waits, at most, until what it held is given back."""
UNTOLD = "its worker went on to the next trial without telling a result: call trial.tell(value) or trial.fail(error)"


def new_worker() -> str:
    """A name that no other loop has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class TrialsToRun(Iterator[TrialToRun]):
    """An iterator of trials to evaluate; see `Experiment.trials_to_run`. For one thread, but for `stop` and `close`."""

    def __init__(self, desk: Desk, count: int = 1, optimizer: Any = None, max_trials: int | None = None) -> None:
        self._desk, self._optimizer = desk, optimizer
        self._count, self._left = count, max_trials
        self._batch: deque[TrialToRun] = deque()
        self._current: TrialToRun | None = None
        self._over = threading.Event()
        self._leases = Leases(desk.lease_s / BEATS)
        interrupts_show(True)
        _loops.add(self)

    @property
    def worker(self) -> str | None:
        """What it calls itself."""
        return self._desk.worker

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TrialToRun:
        if self._current is not None and self._current.open:
            with suppress(TunesmithError):
                self._current.fail(UNTOLD)
        self._current = None
        while not self._over.is_set():
            while self._batch:
                trial = self._batch.popleft()
                if trial.open:
                    self._current = trial
                    return trial
            if not self._fill():
                break
        self.close()
        raise StopIteration

    def stop(self) -> None:
        """Let no more trials follow; what waits for one ends. From any thread."""
        self._over.set()

    def close(self) -> None:
        """Give back what is held, and end. From any thread; `break` does it too."""
        self._close(None)

    def __del__(self) -> None:
        if hasattr(self, "_leases"):
            self._close(raised_in(sys._getframe(1)) if self._leases.open else None)

    def _close(self, raised: Raised | None) -> None:
        self._over.set()
        _loops.discard(self)
        if not _loops:
            interrupts_show(False)
        self._leases.close(None if raised is None or raised.leaving else (self._current, raised))

    def _fill(self) -> bool:
        """Wait for further trials; False when there are none."""
        count = self._count if self._left is None else min(self._count, self._left)
        if count == 0 and self._left == 0:
            return False
        patience, key = Patience(self._desk.patience_s), uuid.uuid4().hex
        while not self._over.is_set():
            try:
                found, again_s = self._desk.ask(count, self._optimizer, key)
            except AWAY as error:
                patience.bear(error)
                continue
            except Exhausted:
                return False
            self._optimizer = None  # it is chosen: somebody else may choose another way meanwhile
            if found:
                self._leases.add(found)
                self._batch.extend(found)
                self._left = None if self._left is None else self._left - len(found)
                return True
            patience, key = Patience(self._desk.patience_s), uuid.uuid4().hex
            self._over.wait(again_s)
        return False


class Leases:
    """Keeps trials by heartbeats from a thread of its own, which in the end gives back those that are open.

    The thread does not know the loop, so that a loop that is left is dropped at once. It is the thread too that says
    goodbye: Python may drop a loop in the middle of anything, a request among it.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._lock = threading.Lock()
        self._trials: list[TrialToRun] = []
        self._over = threading.Event()
        self._failed: tuple[TrialToRun | None, Raised] | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    @property
    def open(self) -> list[TrialToRun]:
        """The trials that are held."""
        return [trial for trial in self._trials if trial.open]

    def add(self, trials: Sequence[TrialToRun]) -> None:
        """Keep these too."""
        with self._lock:
            self._trials = [*self.open, *trials]
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tunesmith-heartbeats", daemon=True)
            self._thread.start()

    def close(self, failed: tuple[TrialToRun | None, Raised] | None = None) -> None:
        """End; wait until what is open is given back, and a trial that `failed` has failed."""
        if self._thread is None or os.getpid() != self._pid:  # a forked child holds nothing of its parent's
            return
        if not self._over.is_set():
            self._failed = failed
            self._over.set()
        self._thread.join(FAREWELL_S)

    def _run(self) -> None:
        pause_s = self._every_s
        while not self._over.wait(pause_s):
            begun = time.monotonic()
            complete = all(map(self._beat, self.open))
            pause_s = max(0.0, self._every_s - (time.monotonic() - begun)) if complete else min(SOON_S, self._every_s)
        trial, raised = self._failed or (None, None)
        if trial is not None and raised is not None and trial.open:
            with suppress(TunesmithError, RuntimeError):
                trial.prune() if is_pruned(raised.error) else trial.fail(raised.text)
        for trial in self.open:
            with suppress(TunesmithError, RuntimeError):
                trial.release()

    def _beat(self, trial: TrialToRun) -> bool:
        """Send a heartbeat, unless the trial is told meanwhile; whether to go on to the next."""
        if self._over.is_set():
            return True
        with suppress(TunesmithError, RuntimeError):  # RuntimeError: the client was closed
            trial.heartbeat()
            return True
        return not trial.open


_loops: weakref.WeakSet[TrialsToRun] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for loop in list(_loops):
        loop.close()
